"""Networks that change themselves or share parts with others."""

import copy

import pytest
import torch
from torch import nn

from scoregrain._errors import ScoregrainError
from scoregrain.models import NetworkFamily, check_fresh, check_stateless
from tests.configurations import EVERY_KIND
from tests.networks import Tiny

SHAPE = (1, 6, 6)


class Counts(Tiny):
    """Counts its calls in a buffer."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x, t):
        self.calls += 1
        return super().forward(x, t)


class Numbers(Tiny):
    """Counts its calls in a plain number of a part."""

    def forward(self, x, t):
        self.last.calls = getattr(self.last, "calls", 0) + 1
        return super().forward(x, t)


class Averages(Tiny):
    """Keeps a running average of its inputs."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(1)

    def train(self, mode=True):
        super().train(mode)
        self.norm.train()
        return self

    def forward(self, x, t):
        return super().forward(self.norm(x), t)


class Remembers(Tiny):
    """Adds its last input to the next one."""

    memory = 0.0

    def forward(self, x, t):
        output = super().forward(x + self.memory, t)
        object.__setattr__(self, "memory", x)
        return output


class Learns(Tiny):
    """Changes a weight."""

    def forward(self, x, t):
        self.first.weight.data *= 0.99
        return super().forward(x, t)


class SetsUp(Tiny):
    """Prepares a table at its first call and keeps its features to look at."""

    table = None

    def forward(self, x, t):
        if self.table is None:
            self.table, self.ready = torch.arange(6.0), 1
        self.features = self.first(x)
        return super().forward(x, t) + self.table


@pytest.mark.parametrize(
    ("build", "what"),
    [
        (Counts, "changes its own 'calls'"),
        (Numbers, "changes its own 'last.calls'"),
        (Averages, "changes its own 'norm.running_mean'"),
        (Learns, "changes its own 'first.weight'"),
        (Remembers, "gives different outputs for equal inputs"),
    ],
)
def test_networks_that_change_themselves_are_named(build, what):
    network = NetworkFamily(build, SHAPE).construct(0, 0)
    with pytest.raises(ScoregrainError, match=f"the forward pass of 'mine' {what}, also in eval mode"):
        check_stateless(network, SHAPE, "mine")


@pytest.mark.parametrize("build", [Tiny, SetsUp, lambda: nn.Sequential(Tiny(), nn.BatchNorm2d(1))[0]])
def test_networks_that_only_prepare_themselves_pass(build):
    check_stateless(NetworkFamily(build, SHAPE).construct(0, 0), SHAPE)


@pytest.mark.parametrize("config", EVERY_KIND.values(), ids=EVERY_KIND)
def test_diffusers_networks_are_stateless(config):
    family = NetworkFamily.from_config(config)
    check_stateless(family.construct(0, 0), family.shape)


def test_one_network_twice_is_refused():
    network = Tiny()
    with pytest.raises(ScoregrainError, match="'mine' returned the same network twice: build\\(\\) must return a new"):
        check_fresh(network, network, "mine")
    check_fresh(network, Tiny())
    check_fresh(network, copy.deepcopy(network))


def test_a_shared_part_is_named():
    body = nn.Conv2d(1, 1, 1)
    with pytest.raises(ScoregrainError, match=r"share the parameter '0.weight'.*copy.deepcopy"):
        check_fresh(nn.Sequential(body, nn.Conv2d(1, 1, 1)), nn.Sequential(body, nn.Conv2d(1, 1, 1)))
