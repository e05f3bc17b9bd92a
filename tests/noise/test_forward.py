"""The one noise object: law, action, identities, bad input (MATH B1, B2, C5; oracles N1, N2, N4, N10-N13, D12)."""

import math
import pickle
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from scoregrain._errors import IllConditionedNoiseWarning, InvalidInputError
from scoregrain.align import Rotation
from scoregrain.noise import ForwardNoise, PowerLaw, Weight, White
from scoregrain.operators import (
    DenseOperator,
    DiagonalOperator,
    FourierOperator,
    FrequencyGrid,
    IdentityOperator,
    LowRankOperator,
)
from tests.reference import dense_operators as reference


@dataclass(frozen=True)
class Gains(Weight):
    """The extension contract: any numbers, unchecked."""

    values: tuple

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        return torch.tensor(self.values, dtype=torch.float64)


def white(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


SHAPES = [(1, 8), (2, 7), (1, 4, 4), (2, 5, 3), (1, 8, 7), (1, 2, 3, 4)]
ring = Gains((2.0, 1.0, 0.0, 1.0))


def noises(shape):
    size = math.prod(shape)
    dense = reference.random_psd(size, size, seed=1)
    yield ForwardNoise(PowerLaw(-0.5))
    yield ForwardNoise(PowerLaw(0.3), normalize="none")
    yield ForwardNoise(PowerLaw(0.3, dc="zero"))
    yield ForwardNoise(DenseOperator.from_matrix(shape, dense))
    yield ForwardNoise(DenseOperator.from_matrix(shape, reference.random_psd(size, size // 2, seed=2)), "none")
    yield ForwardNoise.in_basis(DenseOperator.from_matrix(shape, dense), gamma=1.0)
    yield ForwardNoise(White())


CASES = [(shape, index) for shape in SHAPES for index in range(7)]


@pytest.fixture(params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def case(request):
    shape, index = request.param
    return shape, list(noises(shape))[index]


def test_every_action_is_the_dense_one(case):
    """colour = Σ^{1/2}, whiten its pseudo-inverse, project their product; log det and xᵀΣ⁺x against dense (N13)."""
    shape, noise = case
    sigma = noise.operator(shape).to_dense()
    values, u = torch.linalg.eigh(sigma)
    u, values = u[:, values > 1e-9 * values[-1]], values[values > 1e-9 * values[-1]]
    x = white(5, *shape)
    flat = x.reshape(5, -1)

    def dense(f):
        return (flat @ ((u * f) @ u.T)).reshape(x.shape)

    torch.testing.assert_close(noise.colour(x), dense(values.sqrt()), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(noise.whiten(x), dense(values.rsqrt()), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(noise.project(x), dense(torch.ones_like(values)), rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(noise.precision(x), dense(1 / values), rtol=1e-8, atol=1e-8)
    assert noise.rank(shape) == len(values)
    assert noise.omits(shape) == (len(values) < math.prod(shape))
    assert noise.log_det(shape) == pytest.approx(values.log().sum().item(), rel=1e-9, abs=1e-9)
    torch.testing.assert_close(noise.mahalanobis(x), ((flat @ u) ** 2 / values).sum(1), rtol=1e-9, atol=1e-9)
    if len(values) == math.prod(shape):
        solved = (flat * torch.linalg.solve(sigma, flat.T).T).sum(1)
        torch.testing.assert_close(noise.mahalanobis(x), solved, rtol=1e-9, atol=1e-9)


def test_unit_noise_has_the_energy_of_white_noise(case):
    shape, noise = case
    mean = noise.operator(shape).trace() / math.prod(shape)
    if noise.normalize == "unit":
        assert mean == pytest.approx(1, rel=1e-12)


def test_samples_have_the_covariance(case):
    """The sampled second moment against Σ, entry by entry, within five standard errors."""
    shape, noise = case
    n = 20_000
    x = noise.sample((n, *shape), torch.Generator().manual_seed(3), dtype=torch.float64).reshape(n, -1)
    sigma = noise.operator(shape).to_dense()
    variance = (sigma.diagonal()[:, None] * sigma.diagonal() + sigma**2) / n
    assert bool(((x.T @ x / n - sigma).abs() <= 5 * variance.sqrt() + 1e-12).all())


def test_a_ring_by_hand():
    """N1: Σ = row (1.5, 1, .5, 1), variance 1.5 per pixel; T = row (1, .5, 0, .5)."""
    noise = ForwardNoise(ring, normalize="none")
    delta = torch.tensor([[[1.0, 0, 0, 0]]], dtype=torch.float64)
    rows = noise.colour(delta)[0, 0], (noise.operator((1, 4)) @ delta)[0, 0]
    torch.testing.assert_close(rows[0], torch.tensor([1, 0.5, 0, 0.5], dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(rows[1], torch.tensor([1.5, 1, 0.5, 1], dtype=torch.float64), atol=1e-12, rtol=0)
    unit = ForwardNoise(ring).operator((1, 4)).to_dense()
    torch.testing.assert_close(unit.diagonal(), torch.ones(4, dtype=torch.float64), atol=1e-12, rtol=0)


def test_power_law_by_hand():
    """N4: the full plane decides mean and determinant, not the half that rfft keeps."""
    raw = ForwardNoise(PowerLaw(-1, eps=0.1, dc="formula"), normalize="none")
    assert raw.operator((1, 4, 4)).trace() / 16 == pytest.approx(10.524916138537, rel=1e-9)
    unit = ForwardNoise(PowerLaw(-1, eps=0.1, dc="formula"))
    assert unit.operator((1, 4, 4)).eigenvalues[0].sqrt().item() == pytest.approx(3.082411937583, rel=1e-9)
    assert unit.log_det((1, 4, 4)) == pytest.approx(-12.523092364977, rel=1e-9)
    assert unit.log_det((3, 4, 4)) == pytest.approx(3 * -12.523092364977, rel=1e-9)


def test_white_is_randn_bit_for_bit():
    """D12: not another path, yet the same numbers."""
    expected = torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(1))
    drawn = ForwardNoise(White()).sample((3, 2, 5, 4), torch.Generator().manual_seed(1))
    assert torch.equal(drawn, expected)


def test_one_generator_for_each_array():
    noise = ForwardNoise(PowerLaw(-0.3))
    many = noise.sample((3, 1, 6, 6), [torch.Generator().manual_seed(i) for i in range(3)])
    for i in range(3):
        one = noise.sample((1, 1, 6, 6), torch.Generator().manual_seed(i))
        torch.testing.assert_close(many[i : i + 1], one)
    with pytest.raises(InvalidInputError, match="one generator or 3 of them, got 2"):
        noise.sample((3, 1, 6, 6), [torch.Generator(), torch.Generator()])


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_noise_draws_the_same_whatever_the_default_device_is(device):
    """Gains are built on the CPU even where new tensors are born elsewhere."""
    noise, x = ForwardNoise(PowerLaw(-0.5) * White()), white(2, 1, 4, 4)
    basis = DenseOperator.from_matrix((1, 4, 4), reference.random_psd(16, 16, seed=1))
    with torch.device("meta"):
        assert torch.equal(ForwardNoise(PowerLaw(-0.5) * White()).colour(x), noise.colour(x))
        aside = ForwardNoise.in_basis(basis, 1.0)
    assert torch.equal(aside.colour(x), ForwardNoise.in_basis(basis, 1.0).colour(x))
    assert noise.sample((1, 1, 4, 4), torch.Generator(), device=device).device.type == "cpu"


def test_the_precision_does_not_overflow_half_numbers():
    """MATH B6: Σ⁻¹ is not formed in float16, whose largest number is 65504."""
    noise, x = ForwardNoise(PowerLaw(-2.0)), 300 * white(1, 1, 32, 32, dtype=torch.float16)
    answer, exact = noise.precision(x), noise.precision(x.double())
    assert answer.dtype == torch.float32
    assert float(exact.abs().max()) > 65504
    assert float((answer - exact).abs().max() / exact.abs().max()) < 1e-5


@pytest.mark.parametrize("index", range(7))
def test_a_noise_goes_to_another_process(index):
    """As to the workers of a data loader that are spawned."""
    shape = (1, 4, 4)
    rotation = Rotation(reference.random_orthonormal(16, 16, seed=5), shape, "minimize")
    for noise in (given := list(noises(shape))[index], given.rotated(rotation)):
        x = white(2, *shape)
        expected = noise.colour(x), noise.whiten(x)
        again = pickle.loads(pickle.dumps(noise))  # noqa: S301 (our own)
        assert again == noise
        assert torch.equal(again.colour(x), expected[0])
        assert torch.equal(again.whiten(x), expected[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_shaped_in_float32(dtype):
    """The error is one rounding of the result, not one of a half-precision FFT."""
    noise = ForwardNoise(PowerLaw(-0.5))
    x = white(2, 1, 8, 7, dtype=dtype)
    exact = noise.colour(x.double())
    answer = noise.colour(x)
    assert answer.dtype == dtype
    assert float((answer.double() - exact).abs().max() / exact.abs().max()) <= max(torch.finfo(dtype).eps, 1e-6)


def test_autocast_does_not_reach_the_noise():
    noise = ForwardNoise.in_basis(DenseOperator.from_matrix((1, 4, 4), reference.random_psd(16, 16, seed=1)), 0.5)
    x = white(2, 1, 4, 4, dtype=torch.float32)
    plain = noise.colour(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(noise.colour(x), plain)


@pytest.mark.parametrize("warm", [False, True])
@pytest.mark.parametrize("kind", ["weight", "singular", "basis"])
def test_compiles_into_one_graph(warm, kind):
    """No break, the first time a size is seen either."""
    if kind != "basis":
        noise = ForwardNoise(PowerLaw(0.5, dc="floor" if kind == "weight" else "zero"))
    else:
        noise = ForwardNoise.in_basis(DenseOperator.from_matrix((1, 4, 6), reference.random_psd(24, 24, seed=1)), 1.0)
    x = white(2, 1, 4, 6)

    def act(x):
        return noise.colour(2 * x) + noise.whiten(x) + noise.project(x) + noise.precision(x)

    if warm:
        expected = act(x)
    torch._dynamo.reset()
    answer = torch.compile(act, fullgraph=True, backend="eager")(x)
    torch.testing.assert_close(answer, expected if warm else act(x))


def test_compiles_into_one_graph_of_any_size():
    """Batches of any size share it; a size of images not seen before is another."""
    noise = ForwardNoise(PowerLaw(-0.5))

    def act(x):
        return noise.colour(x) + 0 * noise.sample(x.shape, dtype=x.dtype)

    torch._dynamo.reset()
    compiled = torch.compile(act, fullgraph=True, backend="eager", dynamic=True)
    for shape in [(2, 1, 4, 6), (3, 1, 4, 6), (5, 1, 7, 3), (2, 2, 8, 8)]:
        torch.testing.assert_close(compiled(x := white(*shape)), noise.colour(x))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")  # torch.func.jvp itself
def test_gradients_and_transforms_pass_through():
    noise = ForwardNoise(PowerLaw(-0.5))
    x = white(2, 1, 3, 4).requires_grad_()
    assert torch.autograd.gradcheck(noise.colour, x)
    assert torch.autograd.gradcheck(noise.whiten, x)
    rows = torch.func.vmap(lambda row: noise.colour(row[None])[0])(x)
    torch.testing.assert_close(rows, noise.colour(x))
    _, tangent = torch.func.jvp(noise.colour, (x.detach(),), (torch.ones_like(x),))
    torch.testing.assert_close(tangent, noise.colour(torch.ones_like(x)))


def test_a_noise_made_in_inference_mode_trains():
    noise = ForwardNoise(PowerLaw(-0.5))
    with torch.inference_mode():
        noise.colour(torch.ones(1, 1, 4, 4))
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    noise.colour(x).sum().backward()
    assert x.grad is not None


# In a basis -----------------------------------------------------------------------------------------------


def test_noise_in_a_basis_is_the_design_rule():
    """T6: λ = (4, 1), γ = 1: s = (.4, 1.6), mean 1, rates λ s alike."""
    geometry = DiagonalOperator((1, 2), torch.tensor([4.0, 1.0]))
    sigma = ForwardNoise.in_basis(geometry, gamma=1.0).operator((1, 2)).to_dense()
    torch.testing.assert_close(sigma, torch.diag(torch.tensor([0.4, 1.6], dtype=torch.float64)), atol=1e-12, rtol=0)


@pytest.mark.parametrize("gamma", [-2.0, -0.5, -0.01, 0.0, 0.01, 0.7, 1.0, 3.0])
def test_the_condition_number_is_clipped(gamma):
    """A null space does not make the noise infinite, nor zero."""
    values = torch.tensor([1e6, 3.0, 1.0, 1e-3, 0.0, 0.0], dtype=torch.float64)
    geometry = DiagonalOperator((1, 6), values, reference.random_orthonormal(6, 6, seed=3))
    noise = ForwardNoise.in_basis(geometry, gamma, max_condition=1e4)
    assert noise.condition_number((1, 6)) == pytest.approx(1e4 if gamma else 1.0, rel=1e-9)
    assert noise.rank((1, 6)) == 6
    order = torch.linalg.eigh(noise.operator((1, 6)).to_dense()).eigenvalues.flip(0)
    expected = ((values / 1e6) ** -gamma).clamp(1e-4, 1e4)
    torch.testing.assert_close(order, (expected / expected.mean()).sort(descending=True).values, rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("ignore::scoregrain._errors.IllConditionedNoiseWarning")
@pytest.mark.parametrize("kind", ["weight", "operator", "rotated", "basis"])
def test_small_variances_that_are_meant_are_kept(kind):
    """Gains and the design rule are formulas: nothing is omitted down to the largest condition number, 1e12."""
    shape, power = (1, 4), torch.tensor([1.0, 1e-11, 1.0, 1e-11], dtype=torch.float64)
    rotation = Rotation(reference.random_orthonormal(4, 4, seed=5), shape, "minimize")
    noise = {
        "weight": lambda: ForwardNoise(Gains(tuple(power.sqrt().tolist()))),
        "operator": lambda: ForwardNoise(FourierOperator(shape, power)),
        "rotated": lambda: ForwardNoise(FourierOperator(shape, power)).rotated(rotation),
        "basis": lambda: ForwardNoise.in_basis(DiagonalOperator(shape, power), 1.0, max_condition=1e11),
    }[kind]()
    x = white(3, *shape)
    assert not noise.omits(shape)
    assert noise.condition_number(shape) == pytest.approx(1e11, rel=1e-9)
    torch.testing.assert_close(noise.whiten(noise.colour(x)), x, rtol=1e-4, atol=1e-4)


def test_a_low_rank_geometry_far_beyond_dense_sizes():
    """D = 12,288: the leading directions get less noise, the rest alike."""
    shape = (3, 64, 64)
    u = reference.random_orthonormal(12_288, 2, seed=4)
    geometry = LowRankOperator(shape, torch.tensor([8.0, 2.0], dtype=torch.float64), u, 1.0)
    noise = ForwardNoise.in_basis(geometry, gamma=1.0)
    x = torch.stack([u[:, 0], u[:, 1]]).reshape(2, *shape)
    scale = 12_288 / (12_286 + 1 / 2 + 1 / 8)
    factors = torch.tensor([scale / 8, scale / 2], dtype=torch.float64).sqrt().reshape(2, 1, 1, 1)
    torch.testing.assert_close(noise.colour(x), factors * x, rtol=1e-8, atol=1e-10)


def test_rotated_noise_is_the_same_training():
    """C5: W Σ_rotated Wᵀ = Σ, so noise drawn after the rotation is the rotated noise drawn before."""
    shape = (1, 3, 4)
    rotation = Rotation(reference.random_orthonormal(12, 12, seed=5), shape, "minimize")
    noise = ForwardNoise(PowerLaw(-0.7))
    turned = noise.rotated(rotation)
    w = rotation.matrix
    expected = w.T @ noise.operator(shape).to_dense() @ w
    torch.testing.assert_close(turned.operator(shape).to_dense(), expected, rtol=1e-9, atol=1e-9)
    x = white(4, *shape)
    torch.testing.assert_close(rotation(turned.colour(x)), noise.colour(rotation(x)), rtol=1e-9, atol=1e-9)
    assert turned.log_det(shape) == pytest.approx(noise.log_det(shape), rel=1e-9)
    white_turned = ForwardNoise(White()).rotated(rotation).operator(shape).to_dense()
    torch.testing.assert_close(white_turned, torch.eye(12, dtype=torch.float64), rtol=1e-9, atol=1e-9)


# Bad input ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        ((1.0, 2.0, 1.0, 1.0), r"gains must be even.* at index \(1,\) the gain 2 has the mirror 1"),  # N2
        ((1.0, -1.0, 1.0, -1.0), "must be non-negative"),
        ((0.0, 0.0, 0.0, 0.0), "zero at every frequency"),
        ((1.0, math.inf, 1.0, math.inf), "overflow"),
        ((1.0, math.nan, 1.0, math.nan), "not finite|overflow"),
        ((1e200, 1.0, 1.0, 1.0), "overflow"),
        ((1e154, 1e154, 1e154, 1e154), "overflow"),  # their squares are numbers, the sum of these is not
        ((1.0, 1e-170, 1.0, 1e-170), "underflow"),  # their squares are zero: not an omitted band
        ((1e7, 1.0, 1.0, 1.0), "condition number 1.0e.14.* let its gains span fewer orders of magnitude"),
        ((1.0, 1.0, 1.0), "shape"),
    ],
)
def test_gains_no_noise_can_have(gains, message):
    noise = ForwardNoise(Gains(gains))
    with pytest.raises(InvalidInputError, match=message):
        noise.sample((2, 1, 4))
    with pytest.raises(InvalidInputError, match=message):  # again: nothing half-built is kept
        noise.operator((1, 4))


@pytest.mark.parametrize("text", ["exponential:beta=1e6", "power-law:alpha=1e5,radius=corner", "power-law:alpha=1030"])
def test_gains_too_small_for_a_number_are_no_omission(text):
    noise = ForwardNoise.parse(text)
    with pytest.raises(InvalidInputError, match="overflow or underflow"):
        noise.omits((1, 32, 32))


@dataclass(frozen=True)
class Returned(Weight):
    """Whatever a weight of the user's may return."""

    gains: object

    def __call__(self, grid: FrequencyGrid) -> Tensor:
        return self.gains


@pytest.mark.parametrize(
    ("gains", "message"),
    [
        (torch.ones(4).numpy(), "returned ndarray"),
        ([1.0, 1.0, 1.0, 1.0], "returned list"),
        (None, "returned NoneType"),
        (torch.ones(4, dtype=torch.complex64), "returned torch.complex64"),
        (torch.ones(2, 2), "shape"),
    ],
)
def test_weights_that_return_no_gains(gains, message):
    with pytest.raises(InvalidInputError, match=message) as caught:
        ForwardNoise(Returned(gains)).sample((2, 1, 4))
    assert "\n" not in str(caught.value)


def test_a_large_condition_number_warns_once():
    noise = ForwardNoise(Gains((1e4, 1.0, 1.0, 1.0)))
    with pytest.warns(IllConditionedNoiseWarning, match=r"condition number 1.0e\+08"):
        noise.sample((2, 1, 4))
    noise.sample((2, 1, 4))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ForwardNoise(PowerLaw(1.0), normalize="units"), "did you mean 'unit'"),
        (lambda: ForwardNoise("power-law:alpha=1"), "ForwardNoise.parse"),
        (lambda: ForwardNoise(White()).sample((4, 4)), r"\(N, C, \*space\)"),
        (lambda: ForwardNoise(White()).sample((1, 1, 2, 2, 2, 2)), r"\(N, C, \*space\)"),
        (
            lambda: ForwardNoise(IdentityOperator((1, 4))).sample((2, 1, 5)),
            r"built for arrays \(N, 1, 4\), got \(N, 1, 5\)",
        ),
        (lambda: ForwardNoise(DiagonalOperator((1, 4), torch.zeros(4))), "zero"),
        (lambda: ForwardNoise(White()).colour(torch.ones(1, 1, 4, dtype=torch.int64)), "floating-point"),
        (lambda: ForwardNoise.in_basis(IdentityOperator((1, 4)), math.nan), "gamma must be finite"),
        (lambda: ForwardNoise.in_basis(IdentityOperator((1, 4)), 1.0, 1e13), "max_condition"),
        (lambda: ForwardNoise.in_basis(IdentityOperator((1, 4)), 1.0, 1.0), "max_condition"),
        (lambda: ForwardNoise.in_basis(DiagonalOperator((1, 4), torch.zeros(4)), 1.0), "operator is zero"),
        (lambda: ForwardNoise.in_basis(torch.eye(4), 1.0), "expected an Operator, such as geometry.operator, got T"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(InvalidInputError, match=message):
        call()


def test_a_noise_of_what_makes_one():
    """A noise stays itself; a weight, an operator and a string make theirs."""
    noise = ForwardNoise(PowerLaw(-0.5), "none")
    assert ForwardNoise.of(noise) is noise
    assert ForwardNoise.of(PowerLaw(-0.5)) == ForwardNoise.of("power-law:alpha=-0.5") == ForwardNoise(PowerLaw(-0.5))
    assert ForwardNoise.of(IdentityOperator((1, 4))).operator((1, 4)).trace() == 4
    with pytest.raises(InvalidInputError, match=r"made from a Weight or an Operator .* got int"):
        ForwardNoise.of(3)
