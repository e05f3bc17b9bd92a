"""A judgement in sentences and aligned lines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from scoregrain.metrics.baselines import GAUSSIAN, RESAMPLE, WHITE, ZEROS, further, verdict
from scoregrain.metrics.copying import Memorisation
from scoregrain.metrics.directions import DirectionEstimate
from scoregrain.metrics.modes import ModeCoverage
from scoregrain.report.comparison import SAMPLES, Comparison, Score
from scoregrain.report.wording import measured, number, percent

if TYPE_CHECKING:
    from scoregrain.report.evaluation import Evaluation

ORDER = (SAMPLES, RESAMPLE, GAUSSIAN, WHITE, ZEROS)
"""The columns of tables: the samples, then from the best that can be had to nothing."""

MOSTLY_OUTSIDE = 0.5
"""The share of samples outside all modes above which those that are nearest say nothing."""


def headline(evaluation: Evaluation) -> str:
    """The verdict on the first distance; memorisation before it where it is found."""
    first = evaluation.distances[0]
    said = f"{first.name} distance: {judged(first)}"
    found = evaluation.memorisation
    return f"memorised: {_memorised(found)}; {said}" if found is not None and found.memorised else said


def judged(comparison: Comparison) -> str:
    """How the samples do beside the baselines, and how many times the floor their distance is."""
    samples, floor = comparison.samples.measured, comparison.bars[RESAMPLE]
    said = verdict(*samples, comparison.bars)
    if further(samples, floor) and floor[0] > 0:
        return f"{said}; {number(samples[0] / floor[0])} times as far as a fresh resample"
    return said


def _memorised(found: Memorisation) -> str:
    """What shows that samples are memorised."""
    if found.copied:
        expected = percent(found.expected_copies)
        return f"{percent(found.share_copies)} of the samples are near copies of training arrays ({expected} expected)"
    expected = percent(found.expected_closer, found.closer_error)
    return f"{percent(found.share_closer_to_train)} of the samples have a training array nearest ({expected} expected)"


def copied(found: Memorisation) -> str:
    """How near the samples are to the training arrays."""
    closer = percent(found.share_closer_to_train, found.closer_error)
    copies = percent(found.share_copies, found.copies_error)
    return (
        f"{closer} of the samples have a training array nearest ({percent(found.expected_closer)} when nothing is "
        f"memorised), {copies} are as near to one as a copy ({percent(found.expected_copies)})"
    )


def scored(score: Score) -> str:
    """A distance with its error."""
    if math.isinf(score.value):
        return "infinite"
    if score.value == 0:
        return "0"
    return f"{score.value:.3g}" if score.error is None else measured(score.value, score.error)


def lines(evaluation: Evaluation) -> list[str]:
    """All findings, the distances in columns."""
    return [*_table(evaluation), *_findings(evaluation)]


def _table(evaluation: Evaluation) -> list[str]:
    """One line for each distance, the baselines beside the samples."""
    first = evaluation.distances[0]
    counts = [f"{first.scores[name].count:,}" for name in ORDER]
    head = [f"against {first.target:,} {evaluation.what}", *(f"{n} ({c})" for n, c in zip(ORDER, counts, strict=True))]
    rows = [head]
    for each in (*evaluation.distances, *evaluation.directions):
        rows.append([each.name, *(scored(each.scores[name]) for name in ORDER)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _findings(evaluation: Evaluation) -> list[str]:
    found = [f"{each.name}: {judged(each)}" for each in evaluation.distances[1:] if each.decisive]
    found += [denoising_line(evaluation)] if evaluation.along.errors is not None else []
    if evaluation.modes is not None and evaluation.target_modes is not None:
        found.append(f"modes: {modes_line(evaluation.modes, evaluation.target_modes, evaluation.what)}")
    if evaluation.memorisation is not None:
        found.append(f"memorisation: {copied(evaluation.memorisation)}")
    return found


def modes_line(modes: ModeCoverage, target: ModeCoverage, what: str) -> str:
    """How many modes the samples hold, in which shares, and how many samples are in none; beside the target."""
    covered = f"{int(modes.covered.sum())} of {len(modes.counts)} modes are covered"
    off, floor = number(modes.total_variation, 2), number(target.total_variation, 2)
    shares = f"{covered}, total variation {off} from the expected shares ({what}: {floor})"
    if modes.outliers is None:
        return shares
    beside = "" if target.outliers is None else f" ({percent(target.outliers)})"
    far = f"{percent(modes.outliers)} of the samples are outside all{beside}"
    if not tells_modes(modes):
        return f"{far}, so that nothing can be said of their modes"
    return f"{shares}, {far}"


def tells_modes(modes: ModeCoverage) -> bool:
    """Can anything be said of the modes? Not of samples outside all: whatever is generated has a nearest one."""
    return modes.outliers is None or modes.outliers <= MOSTLY_OUTSIDE


def denoising_line(evaluation: Evaluation) -> str:
    """The denoising error, over all directions and levels, and where its excess is largest."""
    along = evaluation.along
    errors = along.errors
    assert errors is not None
    over = f"mean over {len(errors.error.mean)} directions and {len(errors.levels)} noise levels, {errors.count} arrays"
    if errors.bayes is None or errors.excess is None:
        return f"denoising error: {_overall(errors.error)} ({over})"
    values, _ = along.denoising("excess") or (errors.excess.mean, errors.excess.mean_standard_error)
    worst = int(values.argmax())
    return (
        f"denoising error: excess {_overall(errors.excess)} over the Bayes error {_overall(errors.bayes)} ({over}); "
        f"largest along {along.bins.names[worst]}: {float(values[worst]):.3g}"
    )


def _overall(found: DirectionEstimate) -> str:
    """Mean over all directions and levels; the error is an upper bound, as the directions are not independent."""
    return measured(float(found.mean.mean()), float(found.mean_standard_error.mean()))
