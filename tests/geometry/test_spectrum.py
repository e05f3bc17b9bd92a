"""Error bars against the laws they estimate: oracles I1–I5 of MATH Part D, and jackknives of known statistics."""

import math

import pytest
import torch

from scoregrain._random import stream
from scoregrain.geometry import Geometry
from scoregrain.geometry.moments import Group, Moments
from scoregrain.geometry.spectrum import chance_overlap, decompose, jackknife, overlap, spectrum_errors
from scoregrain.geometry.structure import DenseStructure
from scoregrain.geometry.symmetry import Transposition

F64 = torch.float64
LAMBDA = torch.tensor([4.0, 2.0, 1.0], dtype=F64)
TAU = torch.tensor([2.4444, 4.0, 2.4444], dtype=F64)


def gaussian_geometry(law, n, seed, groups=20, kind="network"):
    """Second moments of n draws from N(0, diag(law)), in equal groups."""
    x = torch.randn(n, len(law), generator=stream(seed, "gaussian"), dtype=F64) * law.sqrt()
    parts = x.chunk(groups)
    total, out = 0, []
    for part in parts:
        out.append(Group(total, total + len(part), part.T @ part))
        total += len(part)
    return Geometry(kind, DenseStructure((1, len(law))), Moments(out))


def misalignment(geometry):
    """1 - cos² between the estimated and the true eigenvectors."""
    return 1 - geometry.spectrum.vectors.diagonal().square()


def test_first_order_mixing_is_tau():
    """I1: N(1 - cos²) tends to τ = (2.44, 4, 2.44); and the estimated mixing is 4τ/N."""
    n, repeats = 20_000, 300
    geometries = [gaussian_geometry(LAMBDA, n, seed) for seed in range(repeats)]
    mean = torch.stack([misalignment(g) for g in geometries]).mean(0)
    torch.testing.assert_close(n * mean, TAU, rtol=0.15, atol=0)
    mixing = [spectrum_errors(g.spectrum, g._totals, g.counts).mixing.sum(1) for g in geometries[:100]]
    torch.testing.assert_close(n * torch.stack(mixing).mean(0) / 4, TAU, rtol=0.05, atol=0)


def test_frobenius_error_of_gaussian_draws():
    """I2: N E‖Ĝ-G‖² = (tr G)² + ‖G‖² = 49 + 21 = 70; the library's estimate agrees."""
    n, repeats = 400, 2000
    errors, estimates = [], []
    for seed in range(repeats):
        geometry = gaussian_geometry(LAMBDA, n, seed)
        errors.append(float((geometry.reduced - torch.diag(LAMBDA)).square().sum()))
        estimates.append(geometry.relative_error**2 * 21)
    assert n * sum(errors) / repeats == pytest.approx(70, rel=0.05)
    assert n * sum(estimates) / repeats == pytest.approx(70, rel=0.05)


def test_split_halves_mix_four_times_more():
    """I3: two halves of N/2 each disagree by 1 - cos² ≈ 4τ/N."""
    n, repeats = 20_000, 300
    disagreement = torch.zeros(3, dtype=F64)
    for seed in range(repeats):
        first, second = gaussian_geometry(LAMBDA, n, seed).halves()
        assert first.count == second.count == n // 2
        disagreement += 1 - (first.spectrum.vectors * second.spectrum.vectors).sum(0).square()
    torch.testing.assert_close(n * disagreement / repeats / 4, TAU, rtol=0.15, atol=0)


def test_chance_levels():
    """I4: k/D for subspaces, and E|cos| of two vectors in 256 dimensions."""
    assert chance_overlap([256], [(0, k) for k in range(9)]) == pytest.approx(9 / 256, rel=1e-6)
    expected = math.exp(math.lgamma(128) - math.lgamma(128.5)) / math.sqrt(math.pi)
    assert expected == pytest.approx(0.0499165, rel=1e-6)
    u = torch.randn(200_000, 256, generator=stream(0, "u"))
    assert float((u[:, 0] / u.norm(dim=1)).abs().mean()) == pytest.approx(expected, rel=0.01)
    # two sectors of sizes 136 and 120: a cluster of one vector in the small one
    assert chance_overlap([136, 120], [(1, 7)]) == pytest.approx(1 / 120)


def test_overlap_of_random_subspaces_is_the_chance_level():
    """Mean over 400 pairs of random spectra of dimension 12, clusters of 3."""
    places = [(0, k) for k in (2, 5, 7)]
    values = []
    for seed in range(400):
        a, b = (torch.randn(12, 12, generator=stream(seed, n), dtype=F64) for n in ("a", "b"))
        values.append(overlap(decompose(a @ a.T, None), decompose(b @ b.T, None), places))
    assert sum(values) / len(values) == pytest.approx(chance_overlap([12], places), rel=0.1)


@pytest.mark.parametrize("groups", [20, 23])
def test_jackknife_errors_match_the_true_spread(groups):
    """I5: eigenvalues and gaps, 20 equal groups and 23 unequal ones, within 10 %."""
    geometries = [gaussian_geometry(LAMBDA, 2000, seed, groups) for seed in range(2000)]
    values = torch.stack([geometry.eigenvalues for geometry in geometries])
    found = [spectrum_errors(g.spectrum, g._totals, g.counts) for g in geometries[:400]]
    errors = torch.stack([f.values for f in found]).square().mean(0).sqrt()
    gap_errors = torch.stack([f.gaps[:-1] for f in found]).square().mean(0).sqrt()
    torch.testing.assert_close(errors, values.std(0), rtol=0.1, atol=0)
    torch.testing.assert_close(gap_errors, values.diff().std(0), rtol=0.1, atol=0)


def test_jackknife_of_a_mean_is_its_standard_error():
    """For equal groups of a mean the jackknife is exactly s/√g; unequal ones match √(σ²/n) on average."""
    x = torch.randn(10, 5, generator=stream(0, "x"), dtype=F64)
    without = (x.sum(0) - x) / 9
    se = jackknife(x.mean(0), without, torch.full((10,), 7))
    torch.testing.assert_close(se, x.std(0) / 10**0.5)
    counts = torch.tensor([32.0, 32, 32, 64, 64, 64, 128, 10], dtype=F64)
    squares = []
    for seed in range(4000):
        means = torch.randn(8, 1, generator=stream(seed, "y"), dtype=F64) / counts[:, None].sqrt()
        total = (counts[:, None] * means).sum(0)
        left = (total - counts[:, None] * means) / (counts.sum() - counts)[:, None]
        squares.append(float(jackknife(total / counts.sum(), left, counts)) ** 2)
    assert sum(squares) / len(squares) == pytest.approx(1 / float(counts.sum()), rel=0.05)


def test_sectors_reproduce_the_full_decomposition():
    """Dense reference: eigenvalues and projectors of a symmetric average, with and without sectors."""
    a = torch.randn(16, 16, generator=stream(0, "a"), dtype=F64)
    symmetry = Transposition()
    matrix = symmetry.average(a @ a.T, (4, 4))
    spectrum = decompose(matrix, symmetry.sectors((4, 4)))
    torch.testing.assert_close(spectrum.values, torch.linalg.eigvalsh(matrix).flip(0))
    torch.testing.assert_close(spectrum.vectors @ torch.diag(spectrum.values) @ spectrum.vectors.T, matrix)
    assert (spectrum.sector == 1).sum() == 6
    torch.testing.assert_close(spectrum.vectors.abs().amax(0), spectrum.vectors.amax(0))


def test_clusters_hold_what_cannot_be_told_apart():
    """Well separated directions stand alone; equal ones and the null space are reported together."""
    law = torch.tensor([10.0, 5.0, 5.0, 5.0, 1.0, 0.0, 0.0], dtype=F64)
    geometry = gaussian_geometry(law, 20_000, 0, groups=32)
    clusters = geometry.clusters
    assert [c.indices for c in clusters] == [(0,), (1, 2, 3), (4,), (5, 6)]
    assert [c.null for c in clusters] == [False, False, False, True]
    assert geometry.identifiable == 2
    assert clusters[0].overlap > 0.99
    assert clusters[1].overlap > 0.99
    assert clusters[1].chance == pytest.approx(3 / 7)
    assert clusters[1].value == pytest.approx(5, abs=4 * clusters[1].error)


def test_identifiable_directions_are_those_that_replicate():
    """Of directions the rule calls identifiable at N, at least 95 % agree with an independent measurement."""
    law = torch.logspace(0, -2, 40, dtype=F64)
    kept = agree = 0
    for seed in range(20):
        geometry, other = gaussian_geometry(law, 4000, seed, 32), gaussian_geometry(law, 4000, 1000 + seed, 32)
        alone = [c.indices[0] for c in geometry.clusters if len(c.indices) == 1]
        cosines = (geometry.spectrum.vectors * other.spectrum.vectors).sum(0).abs()
        kept += len(alone)
        agree += int((cosines[alone] > 0.85).sum())
    assert kept > 40
    assert agree / kept > 0.95
