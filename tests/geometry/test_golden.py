"""Paper-scale statistics: the golden spectrum of MATH A10 and the identifiability of C3. Run with `make test-slow`."""

import pytest
import torch

from scoregrain._errors import TimeBlindWarning
from scoregrain.geometry import measure_geometry
from scoregrain.models import NetworkFamily

INDICES = [0, 1, 2, 31, 63, 95, 127, 159, 191, 223, 254, 255]
GOLDEN = [133.35, 32.605, 28.484, 6.786, 3.874, 2.580, 1.803, 1.249, 0.8366, 0.4749, 0.10006, 0.09826]


def measured(networks, seed):
    with pytest.warns(TimeBlindWarning):
        return measure_geometry(NetworkFamily.from_preset("iddpm-16"), networks, seed=seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_golden_spectrum_from_4000_networks(seed):
    """A10: within 1.5 % of the table, 3 % for the smallest eigenvalues; trace 967.96."""
    geometry = measured(4000, seed)
    values, golden = geometry.eigenvalues[INDICES], torch.tensor(GOLDEN, dtype=torch.float64)
    torch.testing.assert_close(values[:-2], golden[:-2], rtol=0.015, atol=0)
    torch.testing.assert_close(values[-2:], golden[-2:], rtol=0.03, atol=0)
    assert geometry.trace == pytest.approx(967.96, rel=0.005)
    assert geometry.effective_rank == pytest.approx(7.26, rel=0.02)
    # standard errors of A10: trace 40/√N, λ_min 0.06/√N; for λ_max see the next test
    errors = geometry.eigenvalue_errors
    assert geometry.trace_error == pytest.approx(40 / 4000**0.5, rel=0.4)
    assert float(errors[255]) == pytest.approx(0.06 / 4000**0.5, rel=0.4)


@pytest.mark.slow
def test_error_of_the_largest_eigenvalue():
    """A10 gives 10/√N; jackknife and the true spread over 40 independent measurements both give about 16/√N."""
    n = 256
    values = torch.stack([measured(n, 100 + seed).eigenvalues[0] for seed in range(40)])
    spread = float(values.std()) * n**0.5
    jackknife = float(measured(4000, 0).eigenvalue_errors[0]) * 4000**0.5
    print(f"λ_max standard error: spread {spread:.1f}/√N, jackknife {jackknife:.1f}/√N")
    assert spread == pytest.approx(16, rel=0.25)
    assert jackknife == pytest.approx(16, rel=0.25)


@pytest.mark.slow
def test_most_directions_are_identifiable_from_10000_networks():
    """C3: at least 230 of 256, and what is called identifiable replicates in an independent measurement."""
    geometry, other = measured(10_000, 0), measured(10_000, 7)
    assert geometry.identifiable >= 230
    alone = [c.indices[0] for c in geometry.clusters if len(c.indices) == 1]
    places = [geometry._places[k] for k in alone]
    cosines = []
    for k, (sector, rank) in zip(alone, places, strict=True):
        partner = other.spectrum.vectors[:, other.spectrum.members(sector)[rank]]
        cosines.append(abs(float(geometry.spectrum.vectors[:, k] @ partner)))
    assert sum(c > 0.85 for c in cosines) / len(cosines) > 0.97
