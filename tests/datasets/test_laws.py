"""Laws: moments, supports, seeds (MATH A7, oracle M6)."""

import math

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.datasets import Gaussian, GaussianMixture, Law, RankOne, Sphere, probing_basis, probing_vector
from scoregrain.diffusion import DiffusionProcess, GaussianMixtureScore, GaussianScore
from scoregrain.operators import DenseOperator, DiagonalOperator, FourierOperator
from scoregrain.schedules import linear_schedule

SHAPE = (2, 3, 4)
SIZE = 24


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def random_columns(size, count, seed=0):
    return torch.linalg.qr(torch.randn(size, count, generator=seeded(seed), dtype=torch.float64)).Q


def dense(seed=0):
    factor = torch.randn(SIZE, SIZE, generator=seeded(seed), dtype=torch.float64)
    return DenseOperator.from_matrix(SHAPE, factor @ factor.T / SIZE)


def means(count, seed=5):
    return torch.randn(count, *SHAPE, generator=seeded(seed), dtype=torch.float64)


LAWS = {
    "rank-one": RankOne(means(1)[0]),
    "rank-one of a scale": RankOne(means(1)[0], scale=0.5),
    "rank-one in a span": RankOne.in_span(random_columns(SIZE, 3), SHAPE, seed=2),
    "sphere": Sphere(random_columns(SIZE, 3), SHAPE),
    "sphere of two": Sphere(random_columns(SIZE, 2), SHAPE),
    "gaussian": Gaussian(means(1)[0], dense()),
    "gaussian of a variance": Gaussian(means(1)[0], 0.25),
    "singular gaussian": Gaussian(means(1)[0], DiagonalOperator(SHAPE, torch.arange(24.0).clamp(min=12) - 12)),
    "mixture": GaussianMixture([0.2, 0.5, 0.3], means(3), [dense(1), 0.1, dense(2)]),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_samples_have_the_mean_and_the_covariance_of_the_law(law: Law):
    """Whitened by the law itself, 40,000 draws have moments within 6 standard errors (kurtosis below 3)."""
    n = 40_000
    x = law.sample(n, seeded(1), torch.float64)
    assert x.shape == (n, *SHAPE)
    centred = (x - law.mean).flatten(1)
    values, vectors = law.covariance.eigh()
    support = values > 1e-10 * values[0]
    off = centred @ vectors[:, ~support]
    assert off.numel() == 0 or off.abs().max() < 1e-6
    white = centred @ vectors[:, support] / values[support].sqrt()
    assert white.mean(0).abs().max() < 6 / math.sqrt(n)
    second = white.T @ white / n
    assert (second - torch.eye(len(second))).abs().max() < 6 * math.sqrt(2 / n)


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_draws_are_a_function_of_the_generator(law: Law):
    first, again, other = (law.sample(5, seeded(seed)) for seed in (3, 3, 4))
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    torch.testing.assert_close(law.sample(5, seeded(3), torch.float64).float(), first, rtol=0, atol=0)
    assert law.sample(0).shape == (0, *SHAPE)
    assert law.sample(2, device="cpu", dtype=torch.float16).dtype == torch.float16


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_the_global_generator_is_the_default(law: Law):
    torch.manual_seed(9)
    first = law.sample(3)
    torch.manual_seed(9)
    assert torch.equal(law.sample(3), first)


@pytest.mark.parametrize("law", [law for law in LAWS.values() if isinstance(law, GaussianMixture)])
def test_gaussian_laws_carry_what_the_exact_model_needs(law):
    count = len(law.covariances)
    assert law.weights.shape == (count,)
    assert law.weights.sum().item() == pytest.approx(1)
    assert law.means.shape == (count, *SHAPE)
    assert law.weights.dtype == law.means.dtype == law.mean.dtype == torch.float64
    assert all(operator.shape == SHAPE for operator in law.covariances)


def test_rank_one_data_lie_along_the_direction_with_the_energy_of_white_noise():
    direction = probing_vector("dct-ii", (3, 8, 8), 5) * 7
    law = RankOne(direction)
    x = law.sample(20_000, seeded(), torch.float64)
    coefficients = (x * law.direction).sum((1, 2, 3))
    torch.testing.assert_close(coefficients.view(-1, 1, 1, 1) * law.direction, x, rtol=0, atol=1e-12)
    assert x.square().flatten(1).sum(1).mean().item() == pytest.approx(192, rel=6 * math.sqrt(2 / 20_000))
    assert (law.scale, law.direction.norm().item()) == (math.sqrt(192), pytest.approx(1, abs=1e-14))
    expected = 192 * torch.outer(law.direction.flatten(), law.direction.flatten())
    torch.testing.assert_close(law.covariance.to_dense(), expected, rtol=0, atol=1e-12)
    assert not hasattr(Sphere, "weights")


def test_a_direction_may_be_tiny_or_flat():
    tiny = torch.tensor([3e-200, 4e-200], dtype=torch.float64)
    assert RankOne(tiny, shape=(1, 2)).direction.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_directions_in_a_span_are_unit_seeded_and_uniform():
    """In a plane the angle is uniform: 400 seeds fill 8 sectors of 50 ± 4.5 standard deviations."""
    plane = random_columns(SIZE, 2)
    drawn = torch.stack([RankOne.in_span(plane, SHAPE, seed).direction.flatten() for seed in range(400)])
    inside = drawn @ plane
    torch.testing.assert_close(inside.norm(dim=1), torch.ones(400, dtype=torch.float64))
    sector = ((torch.atan2(inside[:, 1], inside[:, 0]) / math.pi + 1) * 4).long().clamp(max=7)
    assert (sector.bincount(minlength=8) - 50).abs().max() < 4.5 * math.sqrt(50 * 7 / 8)
    again = RankOne.in_span(plane, SHAPE, 7)
    torch.testing.assert_close(again.direction.flatten(), drawn[7], rtol=0, atol=0)
    assert (again.shape, RankOne.in_span(plane, SHAPE, scale=2.0).scale) == (SHAPE, 2.0)


def test_m6_sphere():
    basis = probing_basis("dct-ii", (1, 8, 8))[:, [3, 9, 20]]
    x = Sphere(basis, (1, 8, 8)).sample(20_000, seeded(), torch.float64).flatten(1)
    assert (x.norm(dim=1) - 8).abs().max() < 1e-6
    inside = x @ basis
    torch.testing.assert_close(inside @ basis.T, x, rtol=0, atol=1e-12)
    second = inside.T @ inside / len(x)
    assert (second - 64 / 3 * torch.eye(3)).abs().max() < 0.02 * 64 / 3
    # on a sphere in three dimensions each coordinate is uniform, not Gaussian: kurtosis 9/5
    kurtosis = inside.pow(4).mean(0) / inside.square().mean(0) ** 2
    assert (kurtosis - 1.8).abs().max() < 0.05


def test_components_come_with_their_weights():
    centres = torch.tensor([[[0.0, 0.0]], [[10.0, 0.0]], [[0.0, 10.0]]])
    law = GaussianMixture([1, 2, 5], centres, [0.01, 0.01, 0.01])
    x = law.sample(8000, seeded(), torch.float64)
    nearest = (x[:, None] - law.means).flatten(2).norm(dim=2).argmin(1)
    shares = nearest.bincount(minlength=3) / 8000
    assert (shares - torch.tensor([1, 2, 5]) / 8).abs().max() < 4.5 * math.sqrt(0.25 / 8000)
    within = (x - law.means[nearest]).flatten(1)
    assert within.var(0).mean().item() == pytest.approx(0.01, rel=0.05)


def test_the_exact_models_take_the_laws():
    """Clean, their moments are the law's."""
    process = DiffusionProcess(linear_schedule(1000))
    mixture = LAWS["mixture"]
    exact = GaussianMixtureScore(mixture.weights, mixture.means, mixture.covariances, process)
    torch.testing.assert_close(exact.mean(-1), mixture.mean)
    torch.testing.assert_close(exact.covariance(-1), mixture.covariance.to_dense())
    for law in (LAWS["rank-one"], LAWS["gaussian"]):
        single = GaussianScore(law.mean, law.covariance, process)
        torch.testing.assert_close(single.covariance(-1), law.covariance.to_dense())


def test_moments_of_a_mixture_by_hand():
    """Shares ¼ and ¾ at 0 and 4 on one axis: mean 3, variance 1 + 3 along it; variance 1 across."""
    law = GaussianMixture([1, 3], torch.tensor([[[0.0, 0.0]], [[4.0, 0.0]]]), [1.0, 1.0])
    assert law.mean.tolist() == [[3, 0]]
    torch.testing.assert_close(law.covariance.to_dense(), torch.diag(torch.tensor([4.0, 1.0]).double()))


def test_a_gaussian_keeps_the_structure_of_its_covariance():
    operator = FourierOperator((1, 4), torch.tensor([4.0, 1.0, 0.0, 1.0]))
    law = Gaussian(torch.zeros(1, 4), operator)
    assert law.covariance is operator
    nyquist = law.sample(100, seeded(), torch.float64) @ torch.tensor([1.0, -1.0, 1.0, -1.0]).double()
    assert nyquist.abs().max() < 1e-12


def test_a_law_shares_no_memory_with_its_arguments():
    direction = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    law = RankOne(direction)
    direction.zero_()
    assert law.direction.tolist() == [[0.6, 0.8]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: RankOne(torch.zeros(SHAPE)), "direction must not be zero"),
        (lambda: RankOne(torch.full(SHAPE, math.nan)), "direction must be finite"),
        (lambda: RankOne(torch.ones(5), SHAPE), r"direction of \(2, 3, 4\) has 24 entries, got \(5,\)"),
        (lambda: RankOne(torch.ones(24)), r"\(C, \*space\)"),
        (lambda: RankOne([1.0, 0.0]), "direction must be of type Tensor, got list"),
        (lambda: RankOne(torch.ones(SHAPE), scale=0.0), "scale must be positive and finite, got 0"),
        (lambda: RankOne(torch.ones(SHAPE), scale=math.inf), "scale must be positive and finite"),
        (lambda: RankOne.in_span(torch.ones(SIZE, 2), SHAPE), "orthonormal columns, got an error of"),
        (lambda: Sphere(random_columns(SIZE, 1), SHAPE), r"\(24, K\) matrix with 2 <= K <= 24, got \(24, 1\)"),
        (lambda: Sphere(random_columns(9, 3), SHAPE), r"\(24, K\) matrix.*got \(9, 3\)"),
        (lambda: Sphere(2 * random_columns(SIZE, 3), SHAPE), "orthonormal"),
        (lambda: Gaussian(means(1)[0], -1.0), "at least 0, got -1"),
        (lambda: Gaussian(means(1)[0], "wide"), "covariance must be of type Operator or float or int, got str"),
        (lambda: Gaussian(torch.zeros(1, 4), dense()), r"must act on the shape \(1, 4\).*got \(2, 3, 4\)"),
        (lambda: Gaussian(torch.full(SHAPE, math.inf), 1.0), "means must be finite"),
        (lambda: GaussianMixture([1, 1], means(3), [1.0] * 3), "one weight, mean and covariance for each component"),
        (lambda: GaussianMixture([1, 1], means(2), [1.0]), "and 1 covariances"),
        (lambda: GaussianMixture([], means(0), []), "one weight, mean and covariance"),
        (lambda: GaussianMixture([1, 0], means(2), [1.0] * 2), "weights of a mixture must be positive, got 0"),
        (lambda: GaussianMixture([1, math.nan], means(2), [1.0] * 2), "weights of a mixture must be finite"),
        (lambda: LAWS["sphere"].sample(-1), "number of samples must be at least 0"),
        (lambda: LAWS["sphere"].sample(2.5), "number of samples must be an integer"),
    ],
)
def test_what_is_no_law_is_refused(make, words):
    with pytest.raises(InvalidInputError, match=words):
        make()


def test_a_law_without_its_moments_cannot_be_made():
    class Half(Law):
        def _draw(self, n, generator):
            return torch.zeros(n, self.size)

    with pytest.raises(TypeError, match="covariance"):
        Half((1, 4), "half", ())
