import pytest
import torch

from scoregrain._errors import InvalidInputError
from scoregrain.geometry import measure_geometry
from scoregrain.studies.directions import direction_at, directions, haar, places
from scoregrain.studies.families import study_family


@pytest.fixture(scope="module")
def geometry():
    return measure_geometry(study_family("dit-8/2"), 32)  # exact: 8 clusters, 28 + 36 directions


def test_places_run_from_the_largest_eigenvalue_to_the_null_space(geometry):
    found = places(geometry, 3)
    assert [(place.index, place.size) for place in found] == [(0, 4), (16, 4), (28, 36)]
    assert found[0].value == pytest.approx(float(geometry.eigenvalues[0]))
    assert 0 <= found[-1].value < 1e-10


def test_there_are_no_more_places_than_clusters(geometry):
    assert len(places(geometry, 8)) == 8
    for count in (9, 1):
        with pytest.raises(InvalidInputError, match=f"8 clusters .* identifiable, {count} are asked for"):
            places(geometry, count)


def test_a_direction_of_a_cluster_has_its_eigenvalue_and_is_drawn_by_the_seed(geometry):
    place = places(geometry, 8)[1]
    g = geometry.matrix()
    drawn = [direction_at(geometry, place, seed).flatten() for seed in range(3)]
    for v in drawn:
        assert float(v.norm()) == pytest.approx(1)
        assert torch.allclose(g @ v, place.value * v, atol=1e-8 * place.value)
        assert float(v[v.abs().argmax()]) > 0
    assert abs(float(drawn[0] @ drawn[1])) < 0.99
    assert torch.equal(drawn[0], direction_at(geometry, place, 0).flatten())


def test_directions_are_stacked_by_place_and_seed(geometry):
    chosen = places(geometry, 3)
    found = directions(geometry, chosen, 2)
    assert found.shape == (3, 2, 1, 8, 8)
    assert torch.equal(found[1, 1], direction_at(geometry, chosen[1], 1))


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(InvalidInputError, match="measure more networks"):
        places(measure_geometry(study_family("unet-8"), 32), 3)


def test_haar_rotations_are_orthogonal_and_uniform():
    w = haar(12, 0)
    assert torch.allclose(w @ w.T, torch.eye(12, dtype=torch.float64), atol=1e-12)
    assert torch.equal(w, haar(12, 0))
    traces = torch.stack([haar(6, seed).trace() for seed in range(2000)])  # Haar: mean 0, variance 1
    assert abs(float(traces.mean())) < 0.08
    assert float(traces.var()) == pytest.approx(1, abs=0.12)
