import pytest

from scoregrain.report.tables import method_rows, network_rows
from tests.report import cases


def rows(geometry):
    return {row.label: row.value for row in method_rows(geometry, "")}


def test_what_the_adapter_filled_and_cut_is_a_row_each():
    family = {"conditioning": {"class_labels": "class 3", "hint": "zeros"}, "output": "the first 1 of 2 channels"}
    found = rows(cases.dense(family=family))
    assert found["Conditioning, held fixed"] == "class_labels: class 3; hint: zeros"
    assert found["Output used"] == "the first 1 of 2 channels"
    assert not {"Conditioning, held fixed", "Output used"} & set(rows(cases.dense(family={})))


def test_networks_that_were_drawn_are_named_by_their_indices():
    geometry = cases.dense(groups=4)
    assert rows(geometry)["Networks"] == "0 to 127"
    del geometry.groups[1]
    assert rows(geometry)["Networks"] == "0 to 31, 64 to 127"
    assert rows(cases.exact_tokens())["Networks"] == "closed form: no network is drawn"
    assert rows(cases.dense(groups=2, trained=True))["Draws"] == "0 to 63"


@pytest.mark.parametrize(
    ("geometry", "text"),
    [
        (cases.dense(), "9 of 9 directions"),
        (cases.channels(), "9 of 9 eigenspaces of 3 directions each"),
        (cases.exact_tokens(), "3 of 4 eigenspaces of 4 directions each"),
        (cases.leading(), "4 of the leading 4 directions"),
        (cases.dense(groups=3), "unknown"),
    ],
)
def test_what_is_identifiable_is_counted_in_eigenspaces(geometry, text):
    assert {row.label: row.value for row in network_rows(geometry)}["Identifiable"] == text
