"""Large geometries by products with one shared test matrix: MATH C4, oracle K2."""

import math

import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import GaussianProbe, Geometry, data_geometry, measure_geometry, merge_geometries
from scoregrain.geometry.form import SketchForm
from scoregrain.geometry.moments import LEAF, Group, Moments
from scoregrain.geometry.sketch import TEST_COLUMNS, Sketch, make_sketch, nystrom
from scoregrain.geometry.spectrum import gram_dual
from scoregrain.geometry.structure import ChannelStructure, DenseStructure, TokenStructure
from scoregrain.geometry.symmetry import Flip, Transposition
from scoregrain.models import NetworkFamily
from tests import networks

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
SHAPE = (1, 16, 16)
R = 256


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def decaying(symmetry=None, power=1.5):
    """A second moment with eigenvalues k^-power in random directions, invariant under the symmetry."""
    q = torch.linalg.qr(normal(R, R)).Q
    s = (q * torch.arange(1, R + 1, dtype=torch.float64) ** -power) @ q.T
    return s if symmetry is None else symmetry.average(s, SHAPE)


def sketch_of(s, rank=8, symmetry=None):
    return make_sketch(DenseStructure(SHAPE), symmetry, rank, lambda x, _: s @ x)


def geometry_of(s, sketch, symmetry=None, groups=1):
    totals = [
        Group(LEAF * j, LEAF * (j + 1), LEAF * sketch.pack(s @ sketch.omega, float(s.trace()))) for j in range(groups)
    ]
    return Geometry("network", DenseStructure(SHAPE), Moments(totals), symmetry=symmetry, sketch=sketch)


# K2 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("columns", [4, 20, 60])
def test_nystrom_never_exceeds_the_second_moment(columns):
    s, omega = decaying(), normal(R, columns, seed=1)
    values, vectors = nystrom(s @ omega, omega)
    approximation = (vectors * values) @ vectors.T
    assert float(torch.linalg.eigvalsh(s - approximation)[0]) >= -1e-12 * float(torch.linalg.eigvalsh(s)[-1])
    torch.testing.assert_close(approximation @ omega, s @ omega, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(columns, dtype=torch.float64), rtol=0, atol=1e-12)
    tail = torch.arange(1, R + 1, dtype=torch.float64) ** -1.5
    bound = min((1 + k / (columns - k - 1)) * float(tail[k:].sum()) for k in range(columns - 1))
    assert float((s - approximation).trace()) <= 1.5 * bound  # the bound is one on the expectation


def test_nystrom_is_exact_where_the_test_matrix_spans_the_range():
    x = normal(R, 5)
    s = x @ x.T
    values, vectors = nystrom(s @ normal(R, 12, seed=1), normal(R, 12, seed=1))
    torch.testing.assert_close((vectors * values) @ vectors.T, s, rtol=0, atol=1e-6 * float(s.norm()))
    torch.testing.assert_close(values[:5], torch.linalg.eigvalsh(s).flip(0)[:5], rtol=1e-9, atol=0)


def test_nystrom_of_zero_is_zero():
    values, vectors = nystrom(torch.zeros(R, 4, dtype=torch.float64), normal(R, 4))
    assert not values.any()
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(4, dtype=torch.float64), rtol=0, atol=1e-12)


def test_merged_shards_are_the_single_pass():
    s = [decaying(power=p) for p in (1.0, 1.5, 2.0, 2.5)]
    sketch = sketch_of(sum(s))
    groups = [
        Group(LEAF * j, LEAF * (j + 1), LEAF * sketch.pack(m @ sketch.omega, float(m.trace()))) for j, m in enumerate(s)
    ]
    once = geometry_of(sum(s) / 4, sketch)
    merged = Geometry("network", DenseStructure(SHAPE), Moments(groups[::-1]), sketch=sketch)
    torch.testing.assert_close(merged.eigenvalues, once.eigenvalues, rtol=1e-12, atol=0)
    assert math.isclose(merged.trace, once.trace, rel_tol=1e-12)


# K3 -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "rank"), [(100, 100), (40, 7)])
def test_the_gram_dual_has_the_spectrum_of_the_second_moment(count, rank):
    """Fewer samples than dimensions: the same nonzero eigenvalues, orthonormal vectors, the right scale."""
    rows = normal(count, rank, seed=3) @ normal(rank, R, seed=4) * torch.linspace(2, 0.1, R)
    values, vectors = gram_dual(rows)
    s = rows.T @ rows / count
    expected = torch.linalg.eigvalsh(s).flip(0)[:rank]
    assert len(values) == rank
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-10 * float(expected[0]))
    torch.testing.assert_close(vectors.T @ vectors, torch.eye(rank, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close(s @ vectors, vectors * values, rtol=0, atol=1e-10 * float(expected[0]))


def test_few_large_images_have_their_exact_leading_directions():
    images = normal(80, 1, 66, 66, seed=5) + 0.3 * normal(1, 1, 66, 66, seed=6)
    geometry = data_geometry(images, rank=12)
    values, vectors = gram_dual(images.flatten(1))
    torch.testing.assert_close(geometry.eigenvalues, values[:12], rtol=1e-8, atol=0)
    cosines = (geometry.eigenvectors * vectors[:, :12]).sum(0).abs()
    torch.testing.assert_close(cosines, torch.ones(12, dtype=torch.float64), rtol=0, atol=1e-8)


# the test matrix ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("symmetry", [None, Transposition(), Flip(-1)])
def test_leading_directions_and_trace_are_those_of_the_matrix(symmetry):
    s = decaying(symmetry)
    geometry = geometry_of(s, sketch_of(s, 8, symmetry), symmetry)
    values, vectors = torch.linalg.eigh(s)
    torch.testing.assert_close(geometry.eigenvalues, values.flip(0)[:8], rtol=5e-3, atol=0)
    cosines = (vectors.flip(1)[:, :8] * geometry.eigenvectors).sum(0).square()
    assert float(cosines.min()) > 0.99
    assert math.isclose(geometry.trace, float(s.trace()), rel_tol=1e-12)
    assert (geometry.known, geometry.complete) == (8, False)
    assert geometry.direction(0).shape == SHAPE
    with pytest.raises(IndexError, match="direction 8 is not known"):
        geometry.direction(8)


@pytest.mark.parametrize("symmetry", [Transposition(), Flip(-1)])
def test_the_symmetry_average_of_a_sketch_is_the_sketch_of_the_average(symmetry):
    s = decaying()
    sketch = sketch_of(symmetry.average(s, SHAPE), 4, symmetry)
    form = SketchForm(DenseStructure(SHAPE), symmetry, sketch)
    averaged = symmetry.average(s, SHAPE)
    expected = sketch.pack(averaged @ sketch.omega, float(averaged.trace()))
    torch.testing.assert_close(form.average(sketch.pack(s @ sketch.omega, float(s.trace()))), expected)
    assert form.sector_sizes() == [part.shape[1] for part in symmetry.sectors(SHAPE)]


def test_columns_of_the_test_matrix_are_orthonormal_and_pure():
    symmetry = Transposition()
    sketch = sketch_of(decaying(symmetry), 6, symmetry)
    torch.testing.assert_close(
        sketch.basis.T @ sketch.basis, torch.eye(sketch.columns, dtype=torch.float64), rtol=0, atol=1e-12
    )
    assert float((sketch.basis.T @ sketch.test).abs().max()) < 1e-12
    sign = 1 - 2 * sketch.sector
    torch.testing.assert_close(sketch.omega[symmetry.permutation(SHAPE)], sign * sketch.omega)
    assert sketch.test.shape[1] == 2 * TEST_COLUMNS


def test_norms_are_exact_where_the_basis_reaches_and_unbiased_elsewhere():
    """The mean over many test matrices is the Frobenius norm; what lies on the basis has no spread at all."""
    s, delta = decaying(), decaying(power=0.3)
    sketch = sketch_of(s)
    q = sketch.basis
    inside = q @ q.T @ delta + delta @ q @ q.T - q @ q.T @ delta @ q @ q.T
    assert math.isclose(sketch.norm_squared(inside @ sketch.omega), float(inside.square().sum()), rel_tol=1e-9)
    estimates = []
    for seed in range(400):
        test = normal(R, TEST_COLUMNS, seed=seed)
        other = type(sketch)(sketch.rank, q, test - q @ (q.T @ test), sketch.sector)
        estimates.append(other.norm_squared(delta @ other.omega))
    estimates = torch.tensor(estimates)
    error = float(estimates.std()) / len(estimates) ** 0.5
    assert abs(float(estimates.mean()) - float(delta.square().sum())) < 4 * error
    assert error < 0.01 * float(delta.square().sum())


def test_truncation_error_is_the_distance_of_the_operator():
    s = decaying(power=1.0)
    geometry = geometry_of(s, sketch_of(s, 8))
    distance = float((geometry.operator.to_dense() - s).norm() / s.norm())
    assert 0.7 * distance < geometry.truncation_error < 1.4 * distance


# structures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "structure",
    [
        ChannelStructure((3, 16, 16)),
        TokenStructure((4, 16, 16), 256, torch.randperm(1024, generator=torch.Generator().manual_seed(0))),
    ],
)
def test_each_reduced_direction_stands_for_its_copies(structure):
    s = decaying()
    sketch = make_sketch(structure, None, 6, lambda x, _: s @ x)
    totals = [Group(0, LEAF, LEAF * sketch.pack(s @ sketch.omega, float(s.trace())))]
    geometry = Geometry("network", structure, Moments(totals), sketch=sketch)
    full = structure.matrix(s)
    assert geometry.known == 6 * structure.multiplicity
    assert math.isclose(geometry.trace, float(full.trace()), rel_tol=1e-12)
    u = geometry.eigenvectors
    torch.testing.assert_close(u.T @ u, torch.eye(geometry.known, dtype=torch.float64), rtol=0, atol=1e-10)
    torch.testing.assert_close((u * (full @ u)).sum(0), geometry.eigenvalues, rtol=1e-2, atol=0)
    torch.testing.assert_close(geometry.direction(4).flatten(), u[:, 4], rtol=0, atol=0)
    leading = geometry.leading()
    rest = (geometry.trace - float(leading.values.sum())) / (structure.size - geometry.known)
    assert math.isclose(leading.residual, rest, rel_tol=1e-12)
    assert math.isclose(geometry.operator.trace(), geometry.trace, rel_tol=1e-10)


# measurements -------------------------------------------------------------------------------------------------------


def family(shape=SHAPE, build=networks.Tiny):
    return NetworkFamily(lambda: build(shape[0]), shape)


@pytest.mark.parametrize("estimator", ["auto", "plain"])
def test_a_sketched_measurement_agrees_with_the_whole_one(estimator):
    options = {"networks": 1024, "estimator": estimator, "probe": GaussianProbe((2, 12, 12))}
    whole = measure_geometry(family((2, 12, 12)), **options)
    part = measure_geometry(family((2, 12, 12)), rank=4, **options)
    assert math.isclose(part.trace, whole.trace, rel_tol=1e-9)
    assert math.isclose(part.trace_error, whole.trace_error, rel_tol=1e-6)
    torch.testing.assert_close(part.eigenvalues, whole.eigenvalues[: part.known], rtol=0.05, atol=0)
    torch.testing.assert_close(part.eigenvalue_errors[:1], whole.eigenvalue_errors[:1], rtol=0.05, atol=0)
    assert math.isclose(part.relative_error, whole.relative_error, rel_tol=0.1)


@pytest.fixture(scope="module")
def unet():
    return NetworkFamily.from_preset("unet-16")


@pytest.mark.parametrize("parts", [2, 3])
def test_shards_of_a_sketch_merge_to_the_same_bits(unet, parts):
    """K4 for sketches: the test matrix depends on the family and the seed alone."""
    plain = measure_geometry(unet, 192, rank=4)
    shards = [measure_geometry(unet, 192 // parts, first=192 // parts * i, rank=4) for i in range(parts)]
    merged = merge_geometries(shards[::-1])
    assert torch.equal(merged.moments.total(), plain.moments.total())
    assert torch.equal(merged.eigenvalues, plain.eigenvalues)
    assert plain.info["rank"] == 4


def test_identifiability_and_errors_of_leading_directions_agree_with_the_whole(unet):
    whole, part = measure_geometry(unet, 512), measure_geometry(unet, 512, rank=12)
    torch.testing.assert_close(part.eigenvalue_errors, whole.eigenvalue_errors[:12], rtol=0.15, atol=0)
    ours = {c.indices: c.identifiable for c in part.clusters if max(c.indices) < 10}
    theirs = {c.indices: c.identifiable for c in whole.clusters}
    assert sum(theirs.get(indices) == found for indices, found in ours.items()) >= len(ours) - 1
    assert all(max(c.indices) < 12 for c in part.clusters)


def test_what_a_sketch_does_not_know_is_refused(unet):
    part = measure_geometry(unet, 64, rank=4)
    for ask in (lambda: part.matrix(), lambda: part.reduced, lambda: part.contract(torch.eye(R))):
        with pytest.raises(InvalidInputError, match="only the"):
            ask()


@pytest.mark.parametrize(
    ("rank", "words"),
    [
        (0, "rank is 0, expected 1 to 24"),
        (25, "rank is 25, expected 1 to 24"),
        ("most", "rank is 'most', expected a number"),
    ],
)
def test_ranks_that_do_not_fit_are_refused(unet, rank, words):
    with pytest.raises(InvalidInputError, match=words):
        measure_geometry(unet, 64, rank=rank)


def test_a_small_geometry_has_no_rank():
    with pytest.raises(InvalidInputError, match="too small for a rank"):
        measure_geometry(family((1, 4, 4)), 64, rank=1)


def test_all_directions_can_be_asked_for(unet):
    assert torch.equal(measure_geometry(unet, 64, rank="all").eigenvalues, measure_geometry(unet, 64).eigenvalues)


def test_data_may_be_sketched():
    images = (normal(500, R) * torch.arange(1, R + 1, dtype=torch.float64) ** -0.75).reshape(500, *SHAPE)
    whole, part = data_geometry(images), data_geometry(images, rank=5)
    assert math.isclose(part.trace, whole.trace, rel_tol=1e-12)
    assert math.isclose(part.trace_error, whole.trace_error, rel_tol=1e-9)
    torch.testing.assert_close(part.eigenvalues, whole.eigenvalues[:5], rtol=0.02, atol=0)


def test_data_beyond_4096_dimensions_are_sketched_by_themselves():
    """A rank-one law: one direction carries everything, the trace is exact."""
    v = normal(1, 3, 40, 40, seed=1)
    images = normal(64, 1, 1, 1) * v / v.norm()
    geometry = data_geometry(images)
    assert geometry.known == 64
    assert math.isclose(float(geometry.eigenvalues[0]), geometry.trace, rel_tol=1e-6)
    assert abs(float((geometry.direction(0) * v[0]).sum() / v.norm())) == pytest.approx(1, abs=1e-9)
    with pytest.raises(InvalidInputError, match="all of them fit up to D = 4096"):
        data_geometry(images, rank="all")


@pytest.mark.parametrize("symmetry", [None, Transposition()])
def test_a_geometry_without_a_group_is_that_of_the_others(symmetry):
    s = [decaying(symmetry, power=p) for p in (1.0, 1.5, 2.0)]
    sketch = sketch_of(sum(s), 4, symmetry)
    groups = [
        Group(LEAF * j, LEAF * (j + 1), LEAF * sketch.pack(m @ sketch.omega, float(m.trace()))) for j, m in enumerate(s)
    ]

    def geometry(moments):
        return Geometry("network", DenseStructure(SHAPE), moments, symmetry=symmetry, sketch=sketch)

    rest, expected = geometry(Moments(groups)).without(1), geometry(Moments([groups[0], groups[2]]))
    torch.testing.assert_close(rest.mean, expected.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(rest.eigenvalues, expected.eigenvalues, rtol=1e-10, atol=0)
    assert math.isclose(rest.trace, expected.trace, rel_tol=1e-12)
    assert rest.count == 2 * LEAF


@pytest.mark.parametrize(
    ("rank", "message"),
    [(0, "rank is 0, expected 1 to 2"), (1.5, "rank is '1.5', expected a number"), ("most", "rank is 'most'")],
)
def test_ranks_that_are_no_number_of_directions_are_refused(rank, message):
    with pytest.raises(InvalidInputError, match=message):
        data_geometry(normal(20, *SHAPE), rank=rank)
    with pytest.raises(InvalidInputError, match=message):
        measure_geometry(NetworkFamily(networks.Tiny, SHAPE), 32, rank=rank)


def test_a_rank_of_a_tiny_geometry_is_refused():
    with pytest.raises(InvalidInputError, match="too small for a rank"):
        data_geometry(normal(20, 1, 4, 4), rank=0)  # there is no number that would do


def test_a_part_measured_elsewhere_shares_its_test_matrix(unet):
    """Another machine's pilot may choose another matrix: parts merge when one takes the other's."""
    first = measure_geometry(unet, 64, rank=4)
    swapped = [1, 0, *range(2, first.sketch.columns)]
    other = Sketch(4, first.sketch.basis[:, swapped], first.sketch.test, first.sketch.sector)
    elsewhere = Geometry(
        "network",
        first.structure,
        first.moments,
        symmetry=first.symmetry,
        sketch=other,
        info=first.info | {"test_matrix": other.digest},
    )
    second = measure_geometry(unet, 64, first=64, rank=4)
    with pytest.raises(InvalidInputError, match=r"test matrix .* measure the parts with --like"):
        merge_geometries([elsewhere, second])
    alike = measure_geometry(unet, 64, first=64, rank=4, like=elsewhere)
    assert merge_geometries([elsewhere, alike]).count == 128
    assert alike.sketch is other


def test_a_test_matrix_that_does_not_fit_is_refused(unet):
    with pytest.raises(InvalidInputError, match="no test matrix to share"):
        measure_geometry(unet, 64, rank=4, like=measure_geometry(unet, 64))
    like = measure_geometry(unet, 64, rank=4)
    for rank in (5, None):
        with pytest.raises(InvalidInputError, match=r"like= measured 4 leading directions .* --directions 4"):
            measure_geometry(unet, 64, rank=rank, like=like)
    with pytest.raises(InvalidInputError, match="known in closed form"):
        measure_geometry(NetworkFamily.from_preset("dit-16/8"), like=like)
