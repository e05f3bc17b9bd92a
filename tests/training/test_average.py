"""The running mean against its closed form."""

import pytest
import torch
from torch import nn

from scoregrain.training.average import Average


class Number(nn.Module):
    def __init__(self, value=0.0):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value, dtype=torch.float64))
        self.register_buffer("count", torch.tensor(0.0))


def averaged(values, decay):
    network = Number(100.0)  # what it starts from must not count
    average = Average(network, decay)
    means = []
    for value in values:
        network.value.data.fill_(value)
        average.update_parameters(network)
        means.append(average.module.value.item())
    return means


def test_the_warm_up_is_the_closed_form():
    """After the first update the mean is the value itself; then the decay is (1+k)/(10+k), here 2/11 and 3/12."""
    first, second, third = averaged([1.0, 4.0, -2.0], decay=0.999)
    assert first == 1.0
    assert second == pytest.approx(2 / 11 * 1 + 9 / 11 * 4, rel=1e-12)
    assert third == pytest.approx(3 / 12 * second + 9 / 12 * -2, rel=1e-12)


def test_a_decay_below_the_warm_up_s_holds_from_the_start():
    assert averaged([1.0, 4.0, -2.0], decay=0.1) == pytest.approx([1, 3.7, -1.43], rel=1e-12)


def test_after_the_warm_up_the_decay_is_the_one_asked_for():
    """(1+k)/(10+k) passes 0.5 at k = 8."""
    means = averaged([0.0] * 20 + [1.0, 1.0], decay=0.5)
    assert means[-2:] == pytest.approx([0.5, 0.75], rel=1e-12)


def test_the_mean_of_what_does_not_change_is_what_it_is():
    assert averaged([0.1] * 50, decay=0.99) == pytest.approx([0.1] * 50, rel=1e-14)


def test_buffers_are_copied_not_averaged():
    network = Number()
    average = Average(network, 0.9)
    for count in (3.0, 5.0):
        network.count.fill_(count)
        average.update_parameters(network)
    assert average.module.count == 5


def test_it_neither_takes_gradients_nor_draws():
    average = Average(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), 0.9)
    assert not any(p.requires_grad for p in average.parameters())
    assert not any(module.training for module in average.modules())


def test_the_network_is_copied():
    network = Number(1.0)
    average = Average(network, 0.9)
    network.value.data.fill_(2.0)
    assert average.module.value == 1
