"""The estimator as a whole: oracles R4–R5, R8–R9, G4, dense float64 references and unbiasedness."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from scoregrain._errors import InvalidInputError, ScoregrainError, TimeBlindWarning, ZeroOutputError
from scoregrain.geometry import (
    DataProbe,
    GaussianProbe,
    Geometry,
    MeasurementInterruptedError,
    data_geometry,
    measure_geometry,
    merge_geometries,
    summary,
)
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.structure import ChannelStructure, DenseStructure
from scoregrain.models import NetworkFamily, NetworkStack, verify_laws
from scoregrain.models.dit import position_embedding
from scoregrain.schedules import linear_schedule, score_weight
from tests import networks
from tests.reference.dense_geometry import conv_second_moment, eigen_reference

F64 = torch.float64
OMEGA = 32.05434524985


def tiny(**options):
    return NetworkFamily(partial(networks.Tiny, **options), (options.get("channels", 1), 6, 6), name="tiny")


def blind(name, *args, **options):
    with pytest.warns(TimeBlindWarning):
        return measure_geometry(NetworkFamily.from_preset(name), *args, **options)


# exact geometries ------------------------------------------------------------------------------------------------


def test_token_gram_of_the_position_embedding():
    """R4: LayerNorm of sin-cos positions, g = 2, d = 8."""
    h = nn.functional.layer_norm(position_embedding(2, 8), (8,), eps=1e-6)
    k = h @ h.T
    expected = torch.tensor([7.999968, 6.032863, 6.032863, 3.649505], dtype=F64)
    torch.testing.assert_close(k[0], expected, rtol=0, atol=1e-6)
    assert float(k[1, 2]) == pytest.approx(3.370959, abs=1e-6)
    assert float(k[3, 3]) == pytest.approx(7.999944, abs=1e-6)
    assert int(torch.linalg.matrix_rank(k)) == 3


@pytest.mark.parametrize(
    ("patch", "nonzero", "values"),
    [
        (2, 60, [2642.006457, 292.298346, 282.686764, 196.206994, 186.292327, 89.222230, 87.343845, 6.062980]),
        (4, 112, [629.177858, 59.034769, 58.558320, 11.593493, 10.629273, 0.166209, 0.141139]),
        (8, 192, [104.143907, 3.004772, 2.751446]),
    ],
)
def test_dit_is_exact(patch, nonzero, values):
    """R5 and A10: distinct eigenvalues with multiplicity p², and one null cluster of the rest."""
    geometry = measure_geometry(NetworkFamily.from_preset(f"dit-16/{patch}"))
    assert geometry.exact
    assert geometry.relative_error == 0
    assert summary(geometry)["networks"] == 0
    inner = patch**2
    expected = torch.tensor(values, dtype=F64).repeat_interleave(inner)
    torch.testing.assert_close(geometry.eigenvalues[: len(expected)], expected, rtol=1e-6, atol=1e-6)
    null = geometry.clusters[-1]
    assert null.null
    assert len(null.indices) == 256 - nonzero
    assert all(len(c.indices) == inner and c.identifiable and c.error == 0 for c in geometry.clusters[:-1])
    assert (len(geometry.clusters) - 1) * inner == nonzero
    assert geometry.identifiable == 0


def test_dit_closed_form_equals_a_dense_average():
    """Dense reference: mean over the final layer's weights of o oᵀ, computed column by column in float64."""
    family = NetworkFamily.from_preset("dit-16/8")
    network = family.construct(0, 5).double()
    x, t = torch.zeros(1, 1, 16, 16, dtype=F64), torch.tensor([500])
    weight = network.final.weight
    variance = 2 / (weight.shape[0] + weight.shape[1])

    def output(w):
        return torch.func.functional_call(network, {"final.weight": w}, (x, t)).flatten()

    jacobian = torch.func.jacrev(output)(weight).flatten(1)
    expected = OMEGA * variance * jacobian @ jacobian.T
    torch.testing.assert_close(measure_geometry(family).matrix(), expected, rtol=1e-9, atol=1e-9)


def test_deterministic_features_that_depend_on_time_are_summed_over_all_levels():
    class Clock(nn.Module):
        def __init__(self):
            super().__init__()
            self.last = nn.Linear(2, 3, bias=False)

        def forward(self, x, t):
            h = torch.stack([t / 100 + 1.0, 1.0 + 0 * t], dim=1)[:, None].to(x.dtype)
            return x + self.last(h.expand(-1, 1, 2)) if x.any() else self.last(h)

    class Plain(Clock):
        def forward(self, x, t):
            h = torch.stack([t.double() / 100 + 1, 1.0 + 0 * t], dim=1)[:, None]
            return self.last(h.to(self.last.weight.dtype))

    t = torch.arange(1000, dtype=F64)
    omega = score_weight(linear_schedule(), "epsilon")
    expected = float((omega * ((t / 100 + 1) ** 2 + 1)).mean()) / 6  # v_w = 1/(3·2)
    for build in (Plain, Clock):  # a residual connection adds nothing at x = 0
        geometry = measure_geometry(NetworkFamily(build, (1, 3)))
        assert geometry.exact
        torch.testing.assert_close(geometry.matrix(), expected * torch.eye(3, dtype=F64), rtol=1e-6, atol=0)


# sampled geometries ----------------------------------------------------------------------------------------------


def test_the_iddpm_unet_reproduces_its_golden_spectrum():
    """R8: 400 networks with the last layer and the transposition integrated out."""
    geometry = blind("iddpm-16", 400)
    assert float(geometry.eigenvalues[0]) == pytest.approx(133.4, abs=3)
    assert float(geometry.eigenvalues[1]) == pytest.approx(32.6, abs=1.5)
    assert geometry.trace == pytest.approx(968, abs=10)
    assert float(geometry.eigenvalues[255]) == pytest.approx(0.098, abs=0.012)
    info = geometry.info
    assert (info["draw"], info["execution"], info["symmetry"]) == ("in-place", "vmap", "transposition")
    assert (info["head"], info["noise_levels"]) == ("conv_out", "exact (the networks ignore them)")
    assert geometry.relative_error is None  # 13 groups: no error bars
    assert geometry.eigenvalue_errors is None


def test_circular_padding_leaves_the_constant_direction_only():
    """R9: rank one with eigenvalue n·var(b)·mean ω; the direction is the constant image."""

    def circular():
        network = NetworkFamily.from_preset("iddpm-16").build()
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                module.padding_mode = "circular"
        return network

    with pytest.warns(TimeBlindWarning):
        geometry = measure_geometry(NetworkFamily(circular, (1, 16, 16)), 64)
    assert float(geometry.eigenvalues[0]) == pytest.approx(9.49758378, rel=1e-4)
    assert float(geometry.eigenvalues[1]) < 1e-4
    torch.testing.assert_close(geometry.direction(0), torch.full((1, 16, 16), 1 / 16, dtype=F64), rtol=1e-4, atol=0)


@pytest.mark.parametrize("channels", [1, 2])
def test_fast_path_equals_explicit_loops_in_float64(channels):
    """Dense reference of draws, vmap, features, head, weighting and symmetry, on 40 networks (a partial leaf)."""
    family = tiny(channels=channels)
    with pytest.warns(TimeBlindWarning):
        geometry = measure_geometry(family, 40, seed=3)
    stack = NetworkStack(family, verify_laws(family), seed=3)
    network = family.construct(3, 0).double()
    bound = (6 * 9) ** -0.5
    total = torch.zeros(36, 36, dtype=F64)
    for i in range(40):
        state = {name: value[0].double() for name, value in stack.parameters([i]).items()}
        network.load_state_dict(state)
        h = torch.zeros(1, channels, 6, 6, dtype=F64)
        h = network.first(h)
        for layer in network.middle:
            h = layer(nn.functional.silu(h))
        total += conv_second_moment(nn.functional.silu(h)[0], 3, 1, 1, bound**2 / 3, bound**2 / 3)
    image = (OMEGA * total / 40).reshape(6, 6, 6, 6)
    a = (image + image.permute(1, 0, 3, 2)).reshape(36, 36) / 2
    expected = torch.block_diag(*[a] * channels)
    torch.testing.assert_close(geometry.matrix(), expected, rtol=2e-5, atol=1e-6 * float(expected.max()))
    values, vectors = eigen_reference(geometry.matrix())
    torch.testing.assert_close(geometry.eigenvalues, values, rtol=0, atol=1e-12 * float(values[0]))
    u = geometry.eigenvectors
    torch.testing.assert_close(u @ torch.diag(geometry.eigenvalues) @ u.T, geometry.matrix())
    torch.testing.assert_close(geometry.operator.to_dense(), geometry.matrix())
    assert float((vectors[:, 0] @ u[:, :channels]).norm()) == pytest.approx(1)


def test_closed_forms_agree_with_plain_outer_products():
    """The plain estimator of another seed differs by no more than its own error allows, and is far less certain."""
    with pytest.warns(TimeBlindWarning):
        fast = measure_geometry(tiny(width=4), 512)
        plain = measure_geometry(tiny(width=4), 6400, seed=1, estimator="plain")
    assert plain.structure.kind == "dense"
    assert plain.info["head_reason"] == "plain outer products were asked for"
    distance = float((fast.matrix() - plain.matrix()).norm() / fast.matrix().norm())
    expected = math.hypot(fast.relative_error, plain.relative_error)
    assert 0.3 * expected < distance < 2 * expected
    assert plain.relative_error**2 * plain.count > 100 * fast.relative_error**2 * fast.count


def test_sampled_noise_levels_are_unbiased():
    """Importance sampling against the exact sum over 50 levels of the same network law, two probes a network."""
    schedule = linear_schedule(50)
    family = tiny(timed=True)
    sampled = measure_geometry(family, 4096, schedule=schedule, probes_per_network=2)
    assert sampled.info["noise_levels"] == "importance sampled"
    weight = score_weight(schedule, "epsilon")
    network, stack = family.construct(0, 0), NetworkStack(family, verify_laws(family), seed=9)
    variance = 1 / (3 * 6 * 9)
    t = torch.arange(50)
    total = torch.zeros(36, 36, dtype=F64)
    with torch.no_grad():
        for i in range(1024):
            network.load_state_dict({name: value[0] for name, value in stack.parameters([i]).items()})
            phase = 20 * t[:, None] / 200  # the network is told t·1000/T
            h = network.first(torch.zeros(50, 1, 6, 6))
            h = h + 2 * network.time(torch.cat([phase.cos(), phase.sin()], dim=1))[:, :, None, None]
            for layer in network.middle:
                h = layer(nn.functional.silu(h))
            patches = nn.functional.unfold(nn.functional.silu(h), 3, padding=1).double()
            total += torch.einsum("t,tka,tkb->ab", weight / 50, patches, patches)
    exact = variance * (total / 1024 + float(weight.mean()))
    symmetric = (exact.reshape(6, 6, 6, 6) + exact.reshape(6, 6, 6, 6).permute(1, 0, 3, 2)).reshape(36, 36) / 2
    distance = float((sampled.matrix() - symmetric).norm() / symmetric.norm())
    assert distance < 3 * math.hypot(sampled.relative_error, 2 * sampled.relative_error)


def test_relative_error_predicts_the_distance_to_a_better_measurement():
    """Twenty measurements of 512 tiny networks against one of 16,384: rms distance = reported error, 15 %."""
    with pytest.warns(TimeBlindWarning):
        truth = measure_geometry(tiny(), 16_384, seed=99).matrix()
        found = [measure_geometry(tiny(), 512, seed=seed) for seed in range(20)]
    distances = [float((g.matrix() - truth).norm() / truth.norm()) ** 2 for g in found]
    reported = [g.relative_error**2 for g in found]
    assert math.sqrt(sum(distances) / sum(reported)) == pytest.approx(1, abs=0.15)


def test_the_input_in_the_score_adds_its_own_moment():
    """v-prediction of an untrained net under P1: G = s²·I + ω_v E[o oᵀ], against ε-prediction's closed form."""
    shape, schedule = (1, 3, 3), linear_schedule(1000)

    def build():
        class Linear(nn.Module):
            def __init__(self):
                super().__init__()
                self.layer = nn.Linear(9, 9, bias=False)

            def forward(self, x, t):
                return self.layer(x.flatten(1)).reshape(x.shape)

        return Linear()

    with pytest.warns(TimeBlindWarning):
        eps = measure_geometry(NetworkFamily(build, shape), 1024, probe=GaussianProbe(shape, 0.5))
        v = measure_geometry(
            NetworkFamily(build, shape, prediction="v_prediction"), 8192, probe=GaussianProbe(shape, 0.5)
        )
    # v_w = 1/27 and E‖x‖² = 9/4: E[o oᵀ] = I/12
    assert eps.info["head"] == "layer"
    assert eps.trace / 9 == pytest.approx(OMEGA / 12, rel=5 * eps.relative_error)
    assert (v.info["head"], v.structure.kind) == ("layer", "dense")
    expected = 0.25 + float(score_weight(schedule, "v_prediction").mean()) / 12
    assert v.trace == pytest.approx(9 * expected, abs=5 * v.trace_error)
    assert v.trace_error < 0.02 * v.trace


def test_data_probe_reaches_the_network():
    """P2 with a network that repeats its input times a random sign: G = mean(ᾱ/σ²) M + I (G3), statistically."""

    class Sign(nn.Module):
        def __init__(self):
            super().__init__()
            self.sign = nn.Parameter(torch.randn(1).sign() * (1 + torch.rand(1) * 1e-9))
            self.noise = nn.Parameter(torch.randn(1))

        def forward(self, x, t):
            return self.sign * x

    m = torch.tensor([[2.0, 0.5], [0.5, 1.0]])
    images = (torch.linalg.cholesky(m).T * 2**0.5).reshape(2, 1, 2)
    with pytest.warns(TimeBlindWarning):
        geometry = measure_geometry(NetworkFamily(Sign, (1, 2)), 6400, probe=DataProbe(images))
    expected = torch.tensor([[63.10869050, 15.52717262], [15.52717262, 32.05434525]], dtype=F64)
    distance = float((geometry.matrix() - expected).norm() / expected.norm())
    assert distance < 4 * geometry.relative_error
    assert geometry.relative_error < 0.03


# counts, ranges, order --------------------------------------------------------------------------------------------


def test_eigenvalues_descend_and_directions_are_columns():
    """G4."""
    law = torch.diag(torch.tensor([1.0, 4.0, 9.0], dtype=F64))
    geometry = Geometry("network", DenseStructure((1, 3)), Moments([Group(0, 1, law)]), exact=True)
    assert geometry.eigenvalues.tolist() == [9.0, 4.0, 1.0]
    assert geometry.direction(0).flatten().abs().tolist() == [0.0, 0.0, 1.0]
    assert geometry.eigenvectors[:, -1].abs().tolist() == [1.0, 0.0, 0.0]


def test_ranges_merge_to_the_bits_of_one_measurement():
    with pytest.warns(TimeBlindWarning):
        whole = measure_geometry(tiny(), 640)
        first, second = measure_geometry(tiny(), 256), measure_geometry(tiny(), 384, first=256)
        ragged = measure_geometry(tiny(), 30), measure_geometry(tiny(), 610, first=30)
        with pytest.raises(InvalidInputError, match="counted twice"):
            merge_geometries([first, measure_geometry(tiny(), 64, first=224)])
        with pytest.raises(InvalidInputError, match="different seed"):
            merge_geometries([first, measure_geometry(tiny(), 64, first=256, seed=1)])
    merged = merge_geometries([second, first])
    assert torch.equal(merged.reduced, whole.reduced)
    assert merged.relative_error == whole.relative_error
    assert merged.moments.ranges == [(0, 640)]
    torch.testing.assert_close(merge_geometries(ragged).reduced, whole.reduced, rtol=1e-6, atol=1e-9)


def test_tolerance_is_reached_and_networks_is_its_limit():
    with pytest.warns(TimeBlindWarning):
        geometry = measure_geometry(tiny(), tolerance=0.05)
        assert geometry.relative_error <= 0.05
        assert geometry.count % 32 == 0
        assert measure_geometry(tiny(), 544, tolerance=1e-4).count == 544


def test_an_interruption_keeps_the_leaves_that_were_measured():
    def stop(done, planned):
        if done >= 96:
            raise KeyboardInterrupt

    with pytest.warns(TimeBlindWarning), pytest.raises(MeasurementInterruptedError) as caught:
        measure_geometry(tiny(), 320, progress=stop)
    with pytest.warns(TimeBlindWarning):
        assert torch.equal(caught.value.geometry.reduced, measure_geometry(tiny(), 96).reduced)


# what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"networks": 0}, "networks is 0"),
        ({"networks": -3}, "networks is -3"),
        ({"tolerance": math.nan}, "tolerance is nan"),
        ({"tolerance": 0.0}, "tolerance is 0.0"),
        ({"first": -1}, "first is -1"),
        ({"probes_per_network": 0}, "probes_per_network is 0"),
        ({"estimator": "fast"}, "unknown estimator 'fast'"),
        ({"probe": GaussianProbe((1, 4, 4))}, "probe has shape"),
    ],
)
def test_bad_numbers_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        measure_geometry(tiny(), **options)


@pytest.mark.parametrize(
    ("family", "options", "message"),
    [
        ("unet-16", {}, r"expected a NetworkFamily, got str: use NetworkFamily.from_preset\('unet-16'\)"),
        (networks.Tiny(), {}, r"expected a NetworkFamily, got Tiny: use NetworkFamily\(build, shape\)"),
        (tiny(), {"device": "gpu"}, "^device 'gpu' cannot be used: "),
        (tiny(), {"device": "cuda:99"}, "^device 'cuda:99' cannot be used: "),
    ],
)
def test_arguments_of_another_kind_are_refused_in_one_line(family, options, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        measure_geometry(family, 32, **options)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool])
def test_pixels_that_are_no_floats_are_not_taken_for_scaled_ones(dtype):
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(InvalidInputError, match=rf"the images are {name}, expected floats in \[-1, 1\]: load_images"):
        data_geometry(torch.ones(4, 1, 2, 2).to(dtype))


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
@pytest.mark.parametrize("scale", [1e60, 1e-60])
def test_large_and_small_outputs_are_measured_alike(scale):
    """The geometry goes with the square of the scale, its relative numbers not at all."""

    class Scaled(networks.Tiny):
        def forward(self, x, t):
            return scale * super().forward(x, t)

    found = measure_geometry(NetworkFamily(lambda: Scaled().double(), (1, 6, 6)), 512, estimator="plain")
    plain = measure_geometry(NetworkFamily(lambda: networks.Tiny().double(), (1, 6, 6)), 512, estimator="plain")
    assert found.relative_error == pytest.approx(plain.relative_error, rel=1e-9)
    assert found.trace == pytest.approx(scale**2 * plain.trace, rel=1e-9)
    assert found.effective_rank == pytest.approx(plain.effective_rank, rel=1e-9)


@pytest.mark.parametrize(
    ("build", "error", "message"),
    [
        (networks.ZeroHead, ZeroOutputError, "last layer 'last' starts at zero.*unzero-head"),
        (networks.WrongShape, InvalidInputError, r"returned shape \(1, 2, 6, 6\)"),
        (networks.NoParameters, InvalidInputError, "no parameters"),
        (networks.NotFinite, ScoregrainError, "non-finite"),
        (networks.Raises, ScoregrainError, "expected 3 channels"),
        (networks.same_again, ScoregrainError, "'custom' returned the same network twice"),
        (lambda: "network", InvalidInputError, "returned str"),
    ],
)
@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_networks_that_cannot_be_measured_say_why(build, error, message):
    with pytest.raises(error, match=message):
        measure_geometry(NetworkFamily(build, (1, 6, 6)), 64)


def test_a_zero_head_can_be_redrawn():
    """unzero-head gives the family of the same network with the default head."""
    with pytest.warns(TimeBlindWarning):
        geometry = measure_geometry(NetworkFamily(networks.ZeroHead, (1, 6, 6), init="unzero-head"), 512)
        default = measure_geometry(tiny(), 512, seed=1)
    distance = float((geometry.matrix() - default.matrix()).norm() / default.matrix().norm())
    assert distance < 3 * math.hypot(geometry.relative_error, default.relative_error)


def test_what_vmap_cannot_run_is_looped():
    with pytest.warns(TimeBlindWarning):
        geometry = measure_geometry(NetworkFamily(networks.Branching, (1, 6, 6)), 32)
        plain = measure_geometry(tiny(), 32)
    assert geometry.info["execution"].startswith("loop")
    torch.testing.assert_close(geometry.reduced, plain.reduced, rtol=1e-5, atol=1e-6)


def test_channel_structure_expands_and_contracts_like_its_dense_matrix():
    a, b = (torch.randn(n, n, generator=torch.Generator().manual_seed(n), dtype=F64) for n in (4, 12))
    a, b = a @ a.T, b + b.T
    structure = ChannelStructure((3, 2, 2))
    assert float((structure.matrix(a) * b).sum()) == pytest.approx(float((a * structure.reduce(b)).sum()))
    geometry = Geometry("network", structure, Moments([Group(0, 2, 2 * a)]), exact=True)
    torch.testing.assert_close(
        geometry.eigenvectors @ torch.diag(geometry.eigenvalues) @ geometry.eigenvectors.T, structure.matrix(a)
    )
    assert float(geometry.contract(b)[0]) == pytest.approx(float((structure.matrix(a) * b).sum()))


# several threads ---------------------------------------------------------------------------------------------------


@pytest.fixture
def two_threads():
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(1)


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_threads_change_nothing_but_the_time(two_threads):
    """Leaves side by side give the bits of leaves one after the other, and leave torch's setting alone."""
    side_by_side = measure_geometry(tiny(), 330)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
    assert torch.equal(side_by_side.reduced, measure_geometry(tiny(), 330).reduced)


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_an_interruption_of_threads_keeps_a_range_without_holes(two_threads):
    def stop(done, planned):
        if done == 96:
            raise KeyboardInterrupt

    with pytest.raises(MeasurementInterruptedError) as caught:
        measure_geometry(tiny(), 960, progress=stop)
    kept = caught.value.geometry
    assert kept.moments.ranges == [(0, kept.count)]
    assert 96 <= kept.count < 960
    assert torch.equal(kept.reduced, measure_geometry(tiny(), kept.count).reduced)
    assert torch.get_num_threads() == 2


@pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
def test_a_network_that_fails_in_a_thread_is_named(two_threads):
    class Sometimes(networks.Tiny):
        def forward(self, x, t):
            # about one network in fifty divides by zero
            return super().forward(x, t) / (self.last.bias[0] > -0.13).to(x.dtype)

    with pytest.raises(ScoregrainError, match=r"network \d+ of 'custom' gave a non-finite output"):
        measure_geometry(NetworkFamily(Sometimes, (1, 6, 6)), 960, estimator="plain")
