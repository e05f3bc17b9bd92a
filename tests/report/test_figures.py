import pytest
import torch

from scoregrain.report.figures import _label, _members
from tests.report import cases


@pytest.mark.parametrize(
    ("geometry", "kind", "text"),
    [
        (cases.dense(), "identifiable", "identifiable: 9"),
        (cases.channels(), "identifiable", "identifiable: 9 eigenspaces of 3"),
        (cases.exact_tokens(), "null", "zero: 1 eigenspace of 4"),
        (cases.given(torch.tensor([2.0, 2.0, 1.0, 0.5])), "cluster", "known only together with others (cluster): 2"),
        (cases.dense(groups=2), "unknown", "no error bars: fewer than 16 groups of networks"),
        (cases.dense(groups=2, trained=True), "unknown", "no error bars: fewer than 16 groups of draws"),
    ],
)
def test_the_legend_of_the_spectrum_counts_as_the_table_does(geometry, kind, text):
    assert _label(geometry, kind, len(_members(geometry, kind))) == text
