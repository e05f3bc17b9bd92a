import math

import pytest

from scoregrain.geometry import Cluster
from scoregrain.report.wording import describe, index_ranges, kind_of, measured, number, percent


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (429.165, 4.034, "429.2 ± 4.0"),
        (0.0432304, 0.00085, "0.04323 ± 0.00085"),
        (13276.4, 139.8, "13276 ± 140"),
        (4.3232e-5, 8.5e-7, "(4.323 ± 0.085) × 10⁻⁵"),
        (2.5e7, 3e5, "(2.500 ± 0.030) × 10⁷"),
        (0.001, 0.5, "0.00 ± 0.50"),
        (-0.2, 0.1, "-0.20 ± 0.10"),
        (0.0, 0.0, "0 (exact)"),
        (629.1712, 0.0, "629.2 (exact)"),
        (25.74, None, "25.7 (no error bar)"),
        (25.74, math.inf, "25.7 (no error bar)"),
    ],
)
def test_measured(value, error, text):
    assert measured(value, error) == text


def test_number_and_percent():
    assert number(math.nan) == number(math.inf) == percent(math.nan) == "not determined"
    assert number(9999.6, 4) == "10000"
    assert number(240.4, 2) == "240"
    assert number(0.00012345, 2) == "1.2 × 10⁻⁴"
    assert percent(0.82412) == percent(0.82412, 0.0) == "82.4 %"
    assert percent(0.82412, 0.0021) == "(82.41 ± 0.21) %"


def test_index_ranges():
    assert index_ranges([3]) == "3"
    assert index_ranges([4, 5, 6, 9]) == "4–6, 9"
    assert index_ranges(range(0, 60, 2)) == "0, 2, 4, 6, 8, 10, 12, … 58"


@pytest.mark.parametrize(
    ("cluster", "multiplicity", "kind", "text"),
    [
        (Cluster((1,), 2.0, 0.1, 0.9, 0.1, True), 1, "identifiable", "identifiable"),
        (Cluster((0, 1, 2), 2.0, 0.1, 0.9, 0.1, True), 3, "identifiable", "in an identifiable eigenspace of 3"),
        (Cluster((0, 1, 2), 2.0, 0.1, 0.9, 0.1, True), 1, "cluster", "one of 3 mixed"),
        (Cluster((0, 1, 2), 2.0, 0.1, 0.4, 0.1, False), 3, "cluster", "one of 3 mixed"),
        (Cluster((7, 8), 0.0, 0.0, 1.0, 0.1, True, null=True), 1, "null", "zero, one of 2"),
        (Cluster((8,), 0.0, 0.2, 1.0, 0.1, True, null=True), 1, "null", "zero within accuracy"),
        (Cluster((0, 1), 1.0, None, None, 1.0, False), 1, "unknown", "identifiable: unknown"),
    ],
)
def test_clusters_in_words(cluster, multiplicity, kind, text):
    assert kind_of(cluster, multiplicity) == kind
    assert describe(cluster, multiplicity) == text
