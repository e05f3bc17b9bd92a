"""Any number of workers: K4, G5, shards, what is resumed and extended, and what does not add up."""

import itertools
import random

import pytest
import torch

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain._random import stream
from scoregrain.geometry import (
    GaussianProbe,
    Geometry,
    MeasurementFailedError,
    MeasurementInterruptedError,
    data_geometry,
    measure_geometry,
    merge_geometries,
)
from scoregrain.geometry.distributed import Team
from scoregrain.geometry.journal import holds_networks
from scoregrain.geometry.moments import LEAF, Group, Moments
from scoregrain.geometry.running import Measurement
from scoregrain.geometry.structure import DenseStructure
from scoregrain.models import NetworkFamily
from tests import networks

pytestmark = pytest.mark.filterwarnings("ignore::scoregrain.TimeBlindWarning")
F64 = torch.float64
TINY = NetworkFamily(networks.Tiny, (1, 6, 6), name="tiny")


def same(first, second):
    """Two geometries are equal to the bit, error bars and all."""
    assert [(g.start, g.stop) for g in first.groups] == [(g.start, g.stop) for g in second.groups]
    assert all(torch.equal(a.total, b.total) for a, b in zip(first.groups, second.groups, strict=True))
    assert torch.equal(first.eigenvalues, second.eigenvalues)
    assert torch.equal(first.eigenvectors, second.eigenvectors)
    assert first.relative_error == second.relative_error
    assert described(first) == described(second)


def described(geometry):
    return {key: value for key, value in geometry.info.items() if key != "seconds"}


class Numbers:
    """A plan whose networks are random matrices: thousands of leaves in no time."""

    def measure(self, start, stop):
        rows = [torch.randn(3, generator=stream(0, "number", i), dtype=F64) for i in range(start, stop)]
        return torch.stack(rows).T @ torch.stack(rows)


def numbers(start, stop, workers=1):
    measurement = Measurement(Numbers(), Team(), workers=workers)
    measurement.reach(range(start, stop))
    return measurement.moments


def equal(first, second):
    assert [(g.start, g.stop) for g in first.groups] == [(g.start, g.stop) for g in second.groups]
    assert all(torch.equal(a.total, b.total) for a, b in zip(first.groups, second.groups, strict=True))
    assert torch.equal(first.mean(), second.mean())


# K4 and G5 -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2, 7])
def test_any_number_of_workers_gives_the_same_bits(workers):
    """K4: leaves are finished in any order."""
    equal(numbers(0, 100 * LEAF + 5, workers), numbers(0, 100 * LEAF + 5))


@pytest.mark.parametrize("seed", range(5))
def test_any_partition_of_leaves_merges_to_the_same_bits(seed):
    """K4: shards of random sizes in random order, with all the groups that carry the error bars."""
    rng = random.Random(seed)
    leaves = rng.randint(60, 300)
    cuts = [0, *sorted(rng.sample(range(1, leaves), rng.randint(1, 12))), leaves]
    shards = [numbers(a * LEAF, b * LEAF) for a, b in itertools.pairwise(cuts)]
    rng.shuffle(shards)
    equal(Moments(group for shard in shards for group in shard.groups), numbers(0, leaves * LEAF))


@pytest.mark.parametrize(("leaves", "cut"), [(256, 1), (253, 1), (256, 3), (129, 65)])
def test_a_part_with_a_ragged_start_is_not_summed_further_than_the_whole(leaves, cut):
    """Of 256 leaves the last 255 make 65 groups where all of them make 64."""
    parts = numbers(0, cut * LEAF), numbers(cut * LEAF, leaves * LEAF)
    equal(Moments(group for part in parts for group in part.groups), numbers(0, leaves * LEAF))


def test_counts_weigh_the_merged_mean():
    """G5: shards of 1 and 3 networks with X = 4 and X = 0 have mean 1."""
    four, zero = torch.full((2, 2), 4.0, dtype=F64), torch.zeros(2, 2, dtype=F64)
    info = {"seed": 0, "torch": "2"}
    parts = [
        Geometry("network", DenseStructure((1, 2)), Moments([group]), info=info)
        for group in (Group(0, 1, four), Group(1, 4, 3 * zero))
    ]
    assert merge_geometries(parts).reduced.tolist() == [[1.0, 1.0], [1.0, 1.0]]


# shards --------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole():
    with pytest.warns():
        return measure_geometry(TINY, 600)


@pytest.fixture(scope="module")
def shards():
    with pytest.warns():
        return [measure_geometry(TINY, 600, shard=(i, 3)) for i in (1, 2, 3)]


def test_shards_merge_to_the_unsharded_measurement(whole, shards):
    assert shards[1].info["shard"] == {"indices": [2], "of": 3, "networks": 600, "first": 0}
    assert [shard.count for shard in shards] == [192, 192, 216]
    for order in itertools.permutations(shards):
        same(merge_geometries(order), whole)


def test_partial_merges_merge_on(whole, shards):
    part = merge_geometries([shards[2], shards[0]], partial=True)
    assert part.info["shard"]["indices"] == [1, 3]
    assert part.moments.ranges == [(0, 192), (384, 600)]
    same(merge_geometries([part, shards[1]]), whole)


def test_a_merge_is_saved_and_loaded_and_merged_on(whole, shards, tmp_path):
    part = merge_geometries(shards[:2], partial=True)
    loaded = Geometry.load(part.save(tmp_path / "g"))
    same(merge_geometries([loaded, shards[2]]), whole)


def test_missing_shards_are_named(shards):
    with pytest.raises(InvalidInputError, match=r"^shard 2/3 is missing; measure that first, or merge without it"):
        merge_geometries([shards[2], shards[0]])
    with pytest.raises(InvalidInputError, match=r"^shards 1/3, 2/3 are missing"):
        merge_geometries(shards[2:])


def test_an_unfinished_shard_is_named(shards):
    def stop(done, planned):
        if done == 64:
            raise KeyboardInterrupt

    with pytest.raises(MeasurementInterruptedError) as caught:
        measure_geometry(TINY, 600, shard=(2, 3), progress=stop)
    unfinished = caught.value.geometry
    with pytest.raises(InvalidInputError, match="shard 2/3 is not finished: networks 256 to 383 are missing"):
        merge_geometries([shards[0], unfinished, shards[2]])
    assert merge_geometries([shards[0], unfinished, shards[2]], partial=True).count == 472


def test_a_shard_twice_is_named(shards):
    with pytest.raises(InvalidInputError, match="shard 2/3 is given twice"):
        merge_geometries([shards[0], shards[1], shards[1], shards[2]])


def test_shards_of_other_wholes_are_refused(shards):
    other = measure_geometry(TINY, 300, shard=(3, 3))
    message = "shard 1/3 of 600 networks and shard 3/3 of 300 networks are not parts of one measurement"
    with pytest.raises(InvalidInputError, match=message):
        merge_geometries([shards[0], other])


def test_a_gap_between_ranges_is_named():
    parts = [measure_geometry(TINY, 32, first=first) for first in (0, 64, 97)]
    with pytest.raises(InvalidInputError, match=r"^networks 32 to 63, network 96 are missing"):
        merge_geometries(parts)
    assert merge_geometries(parts, partial=True).count == 96


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"scoregrain": "9.9"}, r"different scoregrain \('.*' and '9.9'\)"),
        ({"torch": "1.0"}, r"different torch \('.*' and '1.0'\)"),
        ({"seed": 5, "fingerprint": "x"}, r"different seed \(0 and 5\)"),
        ({"fingerprint": "x"}, "different fingerprint"),
        ({"probe": "data, 1"}, r"different probe \('zero' and 'data, 1'\)"),
        ({"noise_levels": "exact"}, "different noise levels"),
        ({"rank": 4}, r"different rank \(None and 4\)"),
    ],
)
def test_workers_that_differ_are_named(shards, changes, message):
    info = shards[1].info | changes
    other = Geometry("network", shards[1].structure, shards[1].moments, symmetry=shards[1].symmetry, info=info)
    with pytest.raises(InvalidInputError, match=message):
        merge_geometries([shards[0], other, shards[2]])


def test_a_local_build_of_torch_is_the_same_version(whole, shards):
    info = shards[1].info | {"torch": shards[1].info["torch"].split("+")[0] + "+cu126"}
    other = Geometry("network", shards[1].structure, shards[1].moments, symmetry=shards[1].symmetry, info=info)
    assert torch.equal(merge_geometries([shards[0], other, shards[2]]).reduced, whole.reduced)


def test_what_has_no_networks_cannot_be_merged(shards):
    for other in (data_geometry(torch.rand(40, 1, 6, 6)), measure_geometry(NetworkFamily.from_preset("dit-16/8"))):
        with pytest.raises(InvalidInputError, match="only sampled network geometries"):
            merge_geometries([shards[0], other])
    with pytest.raises(InvalidInputError, match="at least one"):
        merge_geometries([])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shard": (4, 3)}, "shard 4/3 does not exist"),
        ({"shard": (1, 3), "networks": 64}, "64 networks are 2 leaves of 32, too few for 3 shards: use at most 2"),
        ({"shard": (1, 3), "tolerance": 0.1}, "a shard is a part of a fixed number of networks"),
    ],
)
def test_bad_shards_are_refused(options, message):
    with pytest.raises(InvalidInputError, match=message):
        measure_geometry(TINY, **options)


# what is resumed and extended -----------------------------------------------------------------------------------------


class KilledError(BaseException):
    """The process is gone: nothing is caught, nothing is cleaned up."""


def killed_after(leaves):
    kept = itertools.count(1)

    def stop(done, planned):
        if next(kept) == leaves:
            raise KilledError

    return stop


@pytest.mark.parametrize("options", [{"networks": 600}, {"tolerance": 0.0006}], ids=["networks", "tolerance"])
def test_killed_and_resumed_is_uninterrupted(tmp_path, options):
    """K4, also where an estimated error decides how many networks are drawn."""
    plain = measure_geometry(TINY, **options)
    assert plain.count > 512  # networks before a tolerance is first looked at
    kills = 0
    while True:
        try:
            resumed = measure_geometry(TINY, **options, state=tmp_path / "s", progress=killed_after(7))
            break
        except KilledError:
            kills += 1
    assert kills >= 2
    same(resumed, plain)


def test_only_what_is_missing_is_measured_and_counted(tmp_path):
    with pytest.raises(KilledError):
        measure_geometry(TINY, 600, state=tmp_path / "s", progress=killed_after(12))
    seen = []
    measure_geometry(TINY, 600, state=tmp_path / "s", progress=lambda done, planned: seen.append((done, planned)))
    assert seen == [(min(600, 32 * i), 600) for i in range(13, 20)]


def test_a_state_grows_and_may_hold_more_than_is_asked_for(tmp_path, whole):
    measure_geometry(TINY, 300, state=tmp_path / "s")
    same(measure_geometry(TINY, 600, state=tmp_path / "s"), whole)
    assert measure_geometry(TINY, 96, first=32, state=tmp_path / "s").count >= 96


def test_shards_may_share_a_state(tmp_path, whole):
    shards = [measure_geometry(TINY, 600, shard=(i, 3), state=tmp_path / "s") for i in (2, 3, 1)]
    assert [shard.count for shard in shards] == [192, 216, 192]
    same(merge_geometries(shards), whole)
    same(measure_geometry(TINY, 600, state=tmp_path / "s", progress=lambda *_: pytest.fail("measured")), whole)


def test_an_earlier_measurement_is_extended(whole):
    seen = []
    geometry = measure_geometry(
        TINY, 600, extend=measure_geometry(TINY, 330), progress=lambda done, planned: seen.append(done)
    )
    same(geometry, whole)
    assert seen[0] == 352  # the eleventh leaf was there in part only
    assert len(seen) == 9


def test_an_extension_can_be_killed_too(tmp_path, whole):
    earlier = measure_geometry(TINY, 330)
    with pytest.raises(KilledError):
        measure_geometry(TINY, 600, extend=earlier, state=tmp_path / "s", progress=killed_after(3))
    same(measure_geometry(TINY, 600, extend=earlier, state=tmp_path / "s"), whole)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": 1}, r"another seed \(0 and 1\)"),
        ({"probe": GaussianProbe((1, 6, 6))}, "another probe"),
        ({"estimator": "plain"}, "another (head|structure)"),
    ],
)
def test_an_earlier_measurement_of_other_networks_is_refused(tmp_path, whole, options, message):
    measure_geometry(TINY, 32, state=tmp_path / "s")
    with pytest.raises(InvalidInputError, match=f"the earlier measurement is one of {message}"):
        measure_geometry(TINY, 640, extend=whole, **options)
    with pytest.raises(InvalidInputError, match=f"holds a measurement of {message}"):
        measure_geometry(TINY, 640, state=tmp_path / "s", **options)


def test_a_shard_is_not_extended_to_another(shards):
    message = "the earlier measurement is shard 1/3 of 600 networks, not (no shard|shard 2/3 of 600 networks)"
    for options in ({}, {"shard": (2, 3)}):
        with pytest.raises(InvalidInputError, match=message):
            measure_geometry(TINY, 600, extend=shards[0], **options)


def test_an_exact_geometry_needs_no_state(tmp_path):
    family = NetworkFamily.from_preset("dit-16/8")
    exact = measure_geometry(family, state=tmp_path / "s")
    assert exact.exact
    assert not (tmp_path / "s").exists()
    with pytest.raises(InvalidInputError, match="an exact geometry has no networks"):
        measure_geometry(TINY, extend=exact)


def test_a_late_failure_keeps_what_was_measured(tmp_path):
    class Sometimes(networks.Tiny):
        def forward(self, x, t):
            return super().forward(x, t) / (self.last.bias[0] > -0.134).to(x.dtype)

    family = NetworkFamily(Sometimes, (1, 6, 6), name="sometimes")
    with pytest.raises(MeasurementFailedError, match=r"network \d+ of 'sometimes' gave a non-finite output") as caught:
        measure_geometry(family, 6400, estimator="plain", state=tmp_path / "s")
    kept = caught.value.geometry
    assert isinstance(caught.value, ScoregrainError)
    assert kept.count % 32 == 0
    assert holds_networks(tmp_path / "s")
    same(kept, measure_geometry(family, kept.count, estimator="plain"))
