import html
import re

import pytest

from scoregrain.report.html import render
from scoregrain.report.subject import TRAINED, UNTRAINED, subject
from tests.report import cases


def text_of(page):
    """What a reader sees."""
    return html.unescape(re.sub(r"<[^>]+>", " ", re.sub(r"<(script|style)[\s\S]*?</\1>", "", page)))


@pytest.mark.parametrize("groups", [2, 20])
def test_the_page_of_a_trained_network_speaks_of_draws_and_of_no_other_networks(groups):
    geometry = cases.dense(
        groups=groups,
        trained=True,
        probe="data, 0",
        draw="none: one trained network",
        head_reason="the network is trained",
    )
    page = text_of(render(cases.report(geometry)))
    assert not re.search(r"untrained|random initialisation|drawn anew|Conjecture|\d networks|networks measured", page)
    for words in ("Draws of data and noise level measured", "none: trained weights", "from one half of the draws"):
        assert words in " ".join(page.split())
    assert subject(geometry) is TRAINED
    assert ("64 draws of data and noise level are too few for error bars (16 groups of 32 draws" in page) == (
        groups == 2
    )
    assert ("error unknown: too few draws of data and noise level" in page) == (groups == 2)


def test_the_page_of_untrained_networks_says_so():
    page = text_of(render(cases.report(cases.dense())))
    for words in ("untrained, each drawn anew", "random initialisations", "Conjecture 1", "half of the networks"):
        assert words in " ".join(page.split())
    assert subject(cases.dense()) is UNTRAINED
