"""All studies by name; each is imported when it is asked for."""

from __future__ import annotations

import importlib

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.studies.study import Study

STUDIES = {
    "rank-one": "RankOneStudy",
    "intervene": "InterveneStudy",
    "time-blindness": "TimeBlindnessStudy",
    "alignment": "AlignmentStudy",
    "power-law": "PowerLawStudy",
    "noise-in-the-grain": "NoiseInTheGrainStudy",
    "predict": "PredictStudy",
    "linear-dsm": "LinearDSMStudy",
    "closed-forms": "ClosedFormsStudy",
    "omission": "OmissionStudy",
    "score-limit": "ScoreLimitStudy",
    "bases": "BasesStudy",
    "sphere": "SphereStudy",
}
"""Class by name, in the order of the results page; ``noise-in-the-grain`` is in ``noise_in_the_grain.py``."""


def find_study(name: str) -> type[Study]:
    """Return the class of a study.

    Raises:
        InvalidInputError: There is none of this name; the nearest one is named.
    """
    if name not in STUDIES:
        raise InvalidInputError(f"unknown study '{name}'{nearest(name, STUDIES)}; studies: {', '.join(STUDIES)}")
    module = importlib.import_module(f"scoregrain.studies.{name.replace('-', '_')}")
    found: type[Study] = getattr(module, STUDIES[name])
    return found
