"""In-place re-initialisation: what is accepted, what is refused and why, and that both ways draw one law."""

import math
import random

import numpy as np
import pytest
import torch
from torch import nn

from scoregrain._errors import ScoregrainError
from scoregrain._random import stream_seed
from scoregrain.models import NetworkFamily, NetworkStack, evaluate, verify_laws
from scoregrain.models.laws import _agrees
from scoregrain.models.named_laws import TensorLaw, candidate_laws
from tests import networks


class Timeless(nn.Sequential):
    """Layers called as f(x, t)."""

    def forward(self, x, t):
        return super().forward(x)


def family(build, shape=(1, 6, 6)):
    return NetworkFamily(build, shape)


def changed(change):
    def build():
        network = networks.Tiny()
        change(network)
        return network

    return build


def test_default_layers_are_drawn_in_place_with_their_variances():
    """v = 1/(3·fan_in) for weights and biases; norm layers are constant (MATH C1.1)."""
    laws = verify_laws(family(lambda: Timeless(nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1))))
    assert laws.in_place
    assert laws.tensors["0.weight"].variance == pytest.approx(1 / 27)
    assert laws.tensors["2.bias"].variance == pytest.approx(1 / 12)
    assert not laws.tensors["1.weight"].random
    assert laws.tensors["1.weight"].value.tolist() == [1.0] * 4


def test_xavier_layers_are_recognised():
    def build():
        layer = nn.Linear(30, 30)
        nn.init.xavier_uniform_(layer.weight)
        nn.init.zeros_(layer.bias)
        return Timeless(layer)

    laws = verify_laws(family(build, (1, 30)))
    assert laws.in_place
    assert laws.tensors["0.weight"].variance == pytest.approx(2 / 60)
    assert laws.tensors["0.bias"].is_zero


def as_normal(draw, **options):
    def change(network):
        draw(network.first.weight, **options)
        nn.init.zeros_(network.first.bias)
        draw(network.last.weight, **options)

    return changed(change)


# fan_in and fan_out of the two layers are (9, 54) and (54, 9)
NORMAL = {
    "Xavier normal": (as_normal(nn.init.xavier_normal_), 2 / 63, 2 / 63),
    "Kaiming normal": (as_normal(nn.init.kaiming_normal_, nonlinearity="relu"), 2 / 9, 2 / 54),
    "LeCun normal": (as_normal(nn.init.kaiming_normal_, nonlinearity="linear"), 1 / 9, 1 / 54),
    "N(0, 0.02²)": (as_normal(nn.init.trunc_normal_, std=0.02), 4e-4, 4e-4),
    "N(0, 0.02²) cut at two standard deviations": (
        as_normal(nn.init.trunc_normal_, std=0.02, a=-0.04, b=0.04),
        4e-4 * 0.7737413,
        4e-4 * 0.7737413,
    ),
    "Kaiming uniform": (as_normal(nn.init.kaiming_uniform_, nonlinearity="relu"), 2 / 9, 2 / 54),
    "LeCun uniform": (as_normal(nn.init.kaiming_uniform_, nonlinearity="linear"), 1 / 9, 1 / 54),
    "Xavier uniform": (as_normal(nn.init.xavier_uniform_), 2 / 63, 2 / 63),
}


@pytest.mark.parametrize("name", NORMAL)
def test_named_laws_are_told_apart_by_their_draws(name):
    """Each of the table's laws on small kernels (54 entries), with its variance; then drawn in place by it."""
    build, first, last = NORMAL[name]
    tiny = family(build)
    laws = verify_laws(tiny)
    found = laws.tensors["first.weight"], laws.tensors["last.weight"]
    assert laws.in_place, laws.reason
    assert name in {law.name for law in candidate_laws(networks.Tiny().first, "weight")}
    assert [law.variance for law in found] == pytest.approx([first, last], rel=1e-6)
    assert {law.distribution for law in found} == {
        "uniform" if "uniform" in name else "truncated" if "cut" in name else "normal"
    }
    stack = NetworkStack(tiny, laws, seed=1)
    drawn = stack.parameters(range(500))["last.weight"].double()
    assert _agrees(drawn, found[1])
    assert not drawn[0].equal(drawn[1])


def test_uniform_draws_in_place_are_the_generators_own():
    """Bit for bit what uniform_ gives for runs of one bound: results of earlier versions stay."""
    parameters = NetworkStack(family(networks.Tiny), verify_laws(family(networks.Tiny)), seed=3).parameters([4])
    generator = torch.Generator().manual_seed(stream_seed(3, "network", 4))
    for layer, fan_in, count in (("first", 9, 60), ("middle.0", 54, 330 * 2 + 55)):
        row = torch.empty(count).uniform_(-1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in), generator=generator)
        weight = parameters[f"{layer}.weight"].flatten()
        assert torch.equal(row[: len(weight)], weight)
        assert torch.equal(row[len(weight) : len(weight) + 6], parameters[f"{layer}.bias"].flatten())


def test_embeddings_and_transposed_convolutions_are_drawn_in_place():
    class Conditional(networks.Tiny):
        def __init__(self):
            super().__init__()
            self.label, self.up = nn.Embedding(11, 6), nn.ConvTranspose2d(6, 4, 2)

    laws = verify_laws(family(Conditional))
    assert laws.in_place, laws.reason
    assert laws.tensors["label.weight"].variance == 1
    assert laws.tensors["up.bias"].variance == pytest.approx(1 / (3 * 16))


def copied(network):
    network.middle[1].weight = nn.Parameter(network.middle[0].weight.clone())


def last_copied(network):
    network.last.weight = nn.Parameter(network.first.weight.detach().reshape(1, 6, 3, 3))


def negated(network):
    network.middle[1].weight = nn.Parameter(-network.middle[0].weight.detach())


def transposed(network):
    network.middle[1].weight = nn.Parameter(network.middle[0].weight.detach().transpose(0, 1).clone())


def mirrored(network):
    w = network.middle[0].weight
    w.data[1::2] = -w.data[::2]


def small_bias(network):
    nn.init.normal_(network.last.bias, std=1e-3)


def narrow_bias(network):
    nn.init.uniform_(network.last.bias, -0.06, 0.06)


def same_rows(network):
    network.middle[0].weight.data[:] = network.middle[0].weight.data[:1].clone()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda n: nn.init.orthogonal_(n.middle[0].weight, gain=0.3), "middle.0.weight is not a known layer's"),
        (lambda n: nn.init.normal_(n.first.weight, std=(1 / 27) ** 0.5), "first.weight is not"),
        (lambda n: n.last.weight.data.mul_(0.9), "last.weight is not"),
        (lambda n: n.last.weight.data.abs_(), "last.weight is not"),
        (lambda n: torch.nn.utils.parametrizations.weight_norm(n.last), "last.bias and 2 more is not"),
        (last_copied, "last.weight starts as a copy of first.weight"),
        (copied, "middle.1.weight starts as a copy of middle.0.weight"),
        (negated, "middle.1.weight starts as a copy of middle.0.weight"),
        (transposed, "middle.1.weight starts as a copy of middle.0.weight"),
        (mirrored, "middle.0.weight is not"),
        (small_bias, "last.bias is not"),
        (narrow_bias, "last.bias is not"),
        (lambda n: setattr(n, "extra", torch.nn.Linear(1, 1).to(torch.bfloat16)), "several dtypes"),
        (same_rows, "middle.0.weight is not"),
        (lambda n: n.register_buffer("phase", torch.rand(3)), "buffer phase is random"),
        (lambda n: n.register_parameter("scale", nn.Parameter(torch.ones(1))), "scale is not a known layer's"),
        (lambda n: n.last.double(), "several dtypes"),
    ],
)
def test_other_initialisations_go_to_the_constructor(change, reason):
    laws = verify_laws(family(changed(change)))
    assert not laws.in_place
    assert reason in laws.reason


def unit_rows(weight):
    nn.init.normal_(weight)
    weight.data /= weight.data.norm(dim=1, keepdim=True)


def product(weight):
    """Of rank d/2, with entries of variance 1/d."""
    d = len(weight)
    weight.data = torch.randn(d, d // 2) @ torch.randn(d // 2, d) / (d / 2**0.5)


@pytest.mark.parametrize("start", [nn.init.orthogonal_, unit_rows, lambda w: unit_rows(w.mT), product])
@pytest.mark.parametrize("shape", [(64, 64), (128, 128), (320, 64), (64, 320)])
def test_rows_that_depend_on_each_other_go_to_the_constructor(start, shape):
    """Their entries look normal, of variance 1/d, one by one and in sums."""
    if start is product:
        shape = (shape[0], shape[0])

    def build():
        layer = nn.Linear(*shape[::-1], bias=False)
        start(layer.weight)
        return Timeless(layer)

    drawn = torch.stack([build()[0].weight.detach() for _ in range(8)])
    variance = float(drawn.square().mean())
    assert not _agrees(drawn, TensorLaw("normal", variance**0.5))
    assert _agrees(torch.randn(8, *shape), TensorLaw("normal", 1.0))


@pytest.mark.parametrize("kind", ["uniform", "normal", "truncated"])
@pytest.mark.parametrize("shape", [(8, 8), (32, 9), (9, 32), (300, 2), (64, 64), (20, 500)])
def test_independent_entries_agree_with_their_law(kind, shape):
    """Thirty times, where a statistic of the wrong variance would fail some."""
    law, generator = TensorLaw(kind, 1.0), torch.Generator().manual_seed(0)
    assert all(_agrees(law.fill_(torch.empty(8, *shape), generator), law) for _ in range(30))


def test_constructors_may_draw_from_numpy_and_python():
    """Network i is a function of (seed, i) there, too, and the global states are left as they were."""

    def build():
        layer = nn.Linear(4, 4)
        layer.weight.data = torch.from_numpy(np.random.randn(4, 4)).float() * random.random()  # noqa: NPY002
        return Timeless(layer)

    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    one, again, other = (family(build, (1, 4)).construct(0, i)[0].weight for i in (3, 3, 4))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before  # noqa: NPY002


def test_randomness_that_no_seed_reaches_is_refused():
    generator = np.random.default_rng(0)

    def build():
        layer = nn.Linear(4, 4)
        layer.weight.data = torch.from_numpy(generator.standard_normal((4, 4))).float()
        return Timeless(layer)

    with pytest.raises(
        ScoregrainError, match=r"gives '0.weight' other values when it is called again with the same seed"
    ):
        verify_laws(family(build, (1, 4)))


@pytest.mark.parametrize("change", [copied, negated, transposed])
def test_tensors_that_depend_on_another_have_no_law(change):
    """Neither the copy nor its source: a closed form over one of them would take the other for independent."""
    tensors = verify_laws(family(changed(change))).tensors
    assert set(tensors) == {name for name, _ in networks.Tiny().named_parameters()} - {
        "middle.0.weight",
        "middle.1.weight",
    }


def test_both_ways_of_drawing_follow_one_law():
    """Second moments of the outputs of 4,096 networks each, in place and constructed: five standard errors."""
    tiny = family(networks.Tiny)
    laws = verify_laws(tiny)
    x = torch.randn(1, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    t = torch.zeros(32, 1, dtype=torch.long)
    means = {}
    for laws_used, name in ((laws, "in-place"), (type(laws)(laws.tensors, "asked for"), "constructor")):
        stack = NetworkStack(tiny, laws_used, seed=5)
        assert stack.draw == name
        squares = []
        for leaf in range(128):
            parameters = stack.parameters(range(32 * leaf, 32 * leaf + 32))
            output, _ = stack.outputs(parameters, x.expand(32, 1, 1, 6, 6), t, None)
            squares.append(output.double().square().mean((1, 2, 3, 4)))
        values = torch.cat(squares)
        means[name] = (float(values.mean()), float(values.std()) / math.sqrt(len(values)))
    (a, se_a), (b, se_b) = means.values()
    assert abs(a - b) < 5 * math.hypot(se_a, se_b)
    assert se_a < 0.05 * a


def test_network_i_is_a_function_of_seed_and_i_alone():
    tiny = family(networks.Tiny)
    laws = verify_laws(tiny)
    for used in (laws, type(laws)(laws.tensors, "asked for")):
        one, other = NetworkStack(tiny, used, seed=1), NetworkStack(tiny, used, seed=1)
        first = {k: v.clone() for k, v in one.parameters([7]).items()}
        torch.manual_seed(123)
        second = other.parameters([3, 7, 9])
        assert all(torch.equal(value[0], second[name][1]) for name, value in first.items())
        assert not torch.equal(NetworkStack(tiny, used, seed=2).parameters([7])["last.weight"], first["last.weight"])


def test_vmap_equals_one_by_one():
    """Stacked evaluation against the plain module with the same weights, features of a layer included."""
    preset = NetworkFamily.from_preset("unet-16")
    stack = NetworkStack(preset, verify_laws(preset), seed=0)
    parameters = stack.parameters(range(3))
    generator = torch.Generator().manual_seed(0)
    x, t = torch.randn(3, 2, 1, 16, 16, generator=generator), torch.randint(0, 1000, (3, 2), generator=generator)
    output, features = stack.outputs(parameters, x, t, "conv_out")
    assert stack.execution == "vmap"
    network = preset.construct(0, 0)
    for i in range(3):
        network.load_state_dict({name: value[i] for name, value in parameters.items()})
        torch.testing.assert_close(output[i], evaluate(network, x[i], t[i]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(network.conv_out(features[i]), output[i], rtol=1e-4, atol=1e-5)


def test_the_constructor_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    family(networks.Tiny).construct(0, 0)
    assert torch.equal(torch.get_rng_state(), before)


def test_one_network_again_and_again_is_refused():
    with pytest.raises(ScoregrainError, match="the same network twice: build\\(\\) must return a new, randomly"):
        verify_laws(family(networks.same_again))


@pytest.mark.parametrize("repeated", [{5: 2}, {1: 0}, dict.fromkeys(range(8), 0)])
def test_one_pair_of_equal_networks_is_refused(repeated):
    """Among eight calls, two networks that start alike; or an object re-drawn in place and returned again."""
    calls = iter(range(8))

    def build():
        i = next(calls)
        torch.manual_seed(repeated.get(i, i))
        return networks.Tiny()

    with pytest.raises(ScoregrainError, match=r"two of eight networks.*have equal parameters"):
        verify_laws(family(build))
    one = networks.Tiny()

    def redrawn():
        for module in one.modules():
            if isinstance(module, nn.Conv2d):
                module.reset_parameters()
        return one

    with pytest.raises(ScoregrainError, match="the same network twice"):
        verify_laws(family(redrawn))


@pytest.mark.parametrize("policy", ["unzero-head", "unzero-all"])
def test_unzero_redraws_zero_layers_with_the_default_law(policy):
    def build():
        network = networks.ZeroHead()
        nn.init.zeros_(network.middle[0].weight)
        return network

    network = NetworkFamily(build, (1, 6, 6), init=policy).construct(0, 0)
    assert network.last.weight.any()
    assert bool(network.middle[0].weight.any()) == (policy == "unzero-all")
    laws = verify_laws(NetworkFamily(build, (1, 6, 6), init=policy))
    assert laws.tensors["last.weight"].variance == pytest.approx(1 / (3 * 54))


def test_fingerprints_tell_families_apart():
    a, b = family(networks.Tiny), NetworkFamily(networks.Tiny, (1, 6, 6), prediction="v_prediction")
    assert a.fingerprint() == family(networks.Tiny).fingerprint()
    # the same parameters, normalised in other groups: only the output differs
    unets = [NetworkFamily.from_preset(name) for name in ("iddpm-16", "unet-16")]
    assert unets[0].fingerprint() != unets[1].fingerprint()
    assert len({a.fingerprint(), b.fingerprint(), a.fingerprint(seed=1)}) == 3
