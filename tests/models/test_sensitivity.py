import pytest
from torch import nn

from scoregrain import TimeBlindWarning, timestep_sensitivity
from tests.networks import Tiny

SHAPE = (1, 6, 6)


class Normalised(Tiny):
    """Normalises the sum of features and time embedding, which is one number per channel."""

    def __init__(self, groups):
        super().__init__(timed=True)
        self.norm = nn.GroupNorm(groups, 6)

    def forward(self, x, t):
        embedding = self.time((t[:, None] / 200).repeat(1, 2).to(x))[:, :, None, None]
        return self.last(nn.functional.silu(self.norm(self.first(x) + embedding)))


def said(network, **options):
    with pytest.warns(TimeBlindWarning) as caught:
        timestep_sensitivity(network, SHAPE, **options)
    return str(caught[0].message)


def test_the_warning_names_the_model():
    assert said(Tiny()) == "'Tiny' is time-blind: its output does not depend on the noise level."
    assert said(Tiny(), name="mine").startswith("'mine' is time-blind")


def test_group_norm_is_blamed_only_with_one_channel_in_each_group():
    assert "It has GroupNorm layers with one channel in each group" in said(Normalised(6).double())
    assert timestep_sensitivity(Normalised(2), SHAPE) > 1e-3  # warnings are errors here
    blind = Normalised(2)
    nn.init.constant_(blind.time.weight, 1e-12)  # layers of zeros would be drawn again
    assert "GroupNorm" not in said(blind)
