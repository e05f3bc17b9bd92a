"""The claims of both papers as pre-declared, resumable experiments with intervals (ARCHITECTURE 2)."""

from scoregrain.studies.registry import STUDIES, find_study
from scoregrain.studies.runner import Outcome, load_study, run_study
from scoregrain.studies.study import Cell, Claim, Finding, Material, Row, Rows, Study, Table

__all__ = [
    "STUDIES",
    "Cell",
    "Claim",
    "Finding",
    "Material",
    "Outcome",
    "Row",
    "Rows",
    "Study",
    "Table",
    "find_study",
    "load_study",
    "run_study",
]
