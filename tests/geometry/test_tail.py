"""What follows the last layer: the factor of the noise level at every level, and where the entries land."""

import threading

import pytest
import torch

from scoregrain._errors import ScoregrainError
from scoregrain._random import stream
from scoregrain.geometry.find_head import find_head
from scoregrain.geometry.tail import DenseMap, Selection, Tail, fit_scale
from scoregrain.models import NetworkFamily, verify_laws
from tests import networks

F64 = torch.float64
SHAPE = (1, 6, 6)


class Scaled(networks.Tiny):
    """out = x + factor(t) o, counting how often it runs."""

    def __init__(self, factor):
        super().__init__()
        self.factor, self.runs = factor, 0

    def forward(self, x, t):
        self.runs += len(t)
        return x + super().forward(x, t) * self.factor(t.to(x.dtype))[:, None, None, None]


def tail_of(factor):
    family = NetworkFamily(lambda: Scaled(factor), SHAPE)
    head, why = find_head(family.construct(0, 0), family.construct(0, 1), SHAPE, verify_laws(family))
    assert head is not None, why
    return head.tail


def edm(t):
    sigma = 0.01 + (t / 100) ** 2
    return sigma / (1 + sigma**2).sqrt()


def test_the_factor_of_every_level_is_the_networks():
    """c_out of EDM at all 1000 levels, in any order and shape, although three levels were looked at before."""
    tail = tail_of(edm)
    t = torch.randperm(1000, generator=stream(0, "t")).reshape(20, 50)
    torch.testing.assert_close(tail.scale(t), edm(t.double()), rtol=1e-9, atol=0)
    assert tail.scale(t).dtype == F64
    assert tail.scaled
    assert not tail.trivial


def test_a_level_is_run_once():
    tail = tail_of(edm)
    network = tail.level_scale._network
    tail.scale(torch.tensor([5, 5, 9]))
    before = network.runs
    tail.scale(torch.tensor([9, 5, 9, 9]))
    assert network.runs == before
    tail.scale(torch.tensor([9, 11]))
    assert network.runs == before + 2  # with the layer's output zero and random


def test_threads_may_ask_at_once():
    """The hook that replaces the layer's output is on one network: threads take turns."""
    tail, found = tail_of(edm), {}
    t = torch.arange(0, 1000, 25)
    threads = [threading.Thread(target=lambda i=i: found.update({i: tail.scale(t)})) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    for scale in found.values():
        torch.testing.assert_close(scale, edm(t.double()), rtol=1e-9, atol=0)


def test_factors_may_vanish_at_some_levels():
    tail = tail_of(lambda t: t / 1000)
    torch.testing.assert_close(tail.scale(torch.tensor([0, 1, 500])), torch.tensor([0, 1e-3, 0.5], dtype=F64))


@pytest.mark.parametrize(("factor", "scaled"), [(1.0, False), (-1.0, True), (2**-0.5, True)])
def test_constant_factors_need_no_run(factor, scaled):
    tail = tail_of(lambda t: torch.full_like(t, factor))
    assert tail.scaled == scaled
    assert tail.level_scale is None
    assert torch.equal(tail.scale(torch.tensor([[3, 4]])), torch.full((1, 2), tail.constant, dtype=F64))
    assert tail.constant == pytest.approx(factor, rel=1e-12)


def test_a_map_that_changes_at_a_level_not_looked_at_before_is_refused_there():
    class Switches(Scaled):
        def forward(self, x, t):
            out = super().forward(x, t)
            return torch.where((t == 77)[:, None, None, None], out.flip(2), out)

    family = NetworkFamily(lambda: Switches(edm), SHAPE)
    head, _ = find_head(family.construct(0, 0), family.construct(0, 1), SHAPE, verify_laws(family))
    head.tail.scale(torch.tensor([76, 78]))
    with pytest.raises(ScoregrainError, match="changes with the noise level by more than a factor"):
        head.tail.scale(torch.tensor([76, 77]))


def test_a_selection_is_the_matrix_of_its_ones():
    """On layer outputs of another shape and dtype, float64 out."""
    selection = Selection(torch.tensor([5, 0, 3]))
    o = torch.randn(4, 2, 3, generator=stream(0, "o"))
    assert torch.equal(selection(o), o.reshape(4, 6)[:, [5, 0, 3]].double())
    torch.testing.assert_close(DenseMap(selection.dense(6))(o), selection(o))
    assert torch.equal(Tail(selection).place(o), selection(o))
    assert Tail(selection).trivial


def test_fit_scale_is_least_squares():
    """Against the normal equations: 2·p + r with r ⊥ p leaves the scale 2 and the distance ‖r‖."""
    placed, rest = torch.tensor([[3.0, 4.0, 0.0]], dtype=F64), torch.tensor([[-4.0, 3.0, 1.0]], dtype=F64)
    scale, error = fit_scale(2 * placed + rest, placed)
    torch.testing.assert_close(scale, torch.tensor([2.0], dtype=F64))
    torch.testing.assert_close(error, torch.tensor([26.0], dtype=F64).sqrt())


def test_convolutions_without_time_have_a_trivial_tail():
    family = NetworkFamily(networks.Tiny, SHAPE)
    head, _ = find_head(family.construct(0, 0), family.construct(0, 1), SHAPE, verify_laws(family))
    assert head.tail.trivial
    assert isinstance(head.tail.mapping, Selection)
