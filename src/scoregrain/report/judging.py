"""``evaluate``: samples of a run, or anyone's, judged beside trivial baselines (MATH A8; ARCHITECTURE 7)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor

from scoregrain._arguments import check_kind, whole
from scoregrain._errors import InvalidInputError
from scoregrain.geometry import Geometry
from scoregrain.metrics.baselines import RESAMPLE
from scoregrain.metrics.copying import Memorisation
from scoregrain.metrics.spectra import radial_spectrum
from scoregrain.report.along import find_bins, measure_along, named_directions
from scoregrain.report.comparison import (
    SAMPLES,
    direction_comparisons,
    frechet_comparison,
    gaussian_comparison,
    judged_sets,
    sliced_comparisons,
    spectral_comparison,
)
from scoregrain.report.evaluation import Evaluation, Pictures
from scoregrain.report.material import DRAWN, LEAST, Material, Source, check_samples, gather
from scoregrain.report.neighbours import find_copies, find_modes
from scoregrain.training import Run

SHOWN, NEIGHBOURS = 32, 8
"""Arrays and nearest neighbours that a page shows."""

SPECTRA = (SAMPLES, "target", RESAMPLE)

Stage = Callable[[str], None]


def evaluate(
    run: Run | None = None,
    samples: Tensor | None = None,
    *,
    data: Any = None,
    n: int | None = None,
    seed: int = 0,
    sampler: str = "ddim",
    steps: int = 50,
    geometry: Geometry | None = None,
    projections: int | Tensor | None = None,
    features: str | Callable[[Tensor], Tensor] | None = "random",
    progress: bool = False,
) -> Evaluation:
    """Judge the samples of a run, or samples from anywhere, with all-zero and other trivial baselines beside them.

    The target is what was held out, or fresh draws where the data are a law; nothing was trained on it. The samples,
    the target and every baseline are equally many, where there are so many. Nothing is clipped.

    Args:
        run: A trained network. Its samples are drawn where none are given, and its denoising error is measured.
        samples: (N, C, *space), black -1 and white 1.
        data: Without a run what the samples should resemble: a :class:`Split`, images, a law, or what
            :func:`load_split` takes. With one, its training data, where they are not where they were.
        n: How many samples are drawn, 1000 when None, or judged: of given ones at most 10,000 when None.
        seed: Of samples, baselines and projections.
        sampler: As of :func:`scoregrain.sample`.
        steps: Of the sampler.
        geometry: Of a network: energy and error are then measured along its directions, else along the data's own.
        projections: As of :func:`scoregrain.sliced_wasserstein`.
        features: Of the Fréchet distance, as of :func:`scoregrain.frechet_distance`; None for none.
        progress: Show bars, on a terminal only.

    Raises:
        InvalidInputError: There is nothing to judge or to judge by, shapes differ, samples are too few or not finite.
        ScoregrainError: The network's output is not finite.
    """
    for value, kind, name in ((run, Run | None, "run"), (geometry, Geometry | None, "geometry")):
        check_kind(value, kind, name)
    n = None if n is None else whole(n, "n", least=LEAST)
    if run is None and samples is None:
        raise InvalidInputError("there is nothing to judge: give a run, or samples and data")
    given = samples is not None
    shape = _shape(run, samples)
    if geometry is not None and geometry.shape != shape:
        raise InvalidInputError(f"the geometry is of arrays {geometry.shape}, the samples are {shape}")
    source = Source.of(run, data, shape, seed)  # before minutes of sampling
    if samples is None:
        assert run is not None
        samples = run.sample(min(n or DRAWN, source.most), sampler, steps, seed, progress=progress)
        check_samples(samples)
    material = gather(samples, source, n, seed)
    drawn = {} if given else {"sampler": str(sampler), "sampler steps": steps}
    method = {**_method(run, material), **drawn, "seed": seed}
    with _stages(progress) as stage:
        return _judged(material, run, method, geometry, projections, features, seed, stage)


def _shape(run: Run | None, samples: Tensor | None) -> tuple[int, ...]:
    """Of one array, checked."""
    if samples is None:
        assert run is not None
        return run.shape
    check_samples(samples)
    shape = tuple(samples.shape[1:])
    if run is not None and shape != run.shape:
        raise InvalidInputError(f"the samples are arrays {shape}, those of the run {run.shape}")
    return shape


def _judged(
    material: Material,
    run: Run | None,
    method: dict[str, Any],
    geometry: Geometry | None,
    projections: int | Tensor | None,
    features: str | Callable[[Tensor], Tensor] | None,
    seed: int,
    stage: Stage,
) -> Evaluation:
    """Measure everything, one kind after another."""
    sets, target = judged_sets(material, seed), material.target
    bins, warnings = find_bins(geometry, material), [*material.warnings]
    stage("sliced distances")
    distances = sliced_comparisons(sets, target, projections, seed)
    if distances[0].verdict == "nearer than resample":
        warnings.append(
            f"The samples seem to hold some of the {material.what} themselves: no fresh arrays are as near."
        )
    if bool((material.samples >= 0).all()) and bool((target < 0).any()):
        warnings.append(f"No sample has a negative value, {material.what} have: is their black 0, and not -1?")
    stage("moments and spectra")
    distances += [gaussian_comparison(sets, target), spectral_comparison(sets, target)]
    spectra = {name: radial_spectrum(x) for name, x in (sets | {"target": target}).items() if name in SPECTRA}
    if features is not None:
        stage("features")
        frechet, note = frechet_comparison(sets, target, features)
        distances += [frechet] if frechet is not None else []
        warnings += [note] if note else []
    stage("directions")
    directions = direction_comparisons(sets, target, named_directions(bins, material.law))
    along = measure_along(bins, material, run, seed)
    stage("modes and neighbours")
    modes, found = find_modes(material), find_copies(material)
    return Evaluation(
        name=run.name if run is not None else "samples",
        data=material.name,
        what=material.what,
        distances=tuple(distances),
        directions=tuple(directions),
        spectra=spectra,
        ratios={name: spectra[name].log_ratio(spectra["target"]) for name in (SAMPLES, RESAMPLE)},
        along=along,
        modes=None if modes is None else modes[0],
        target_modes=None if modes is None else modes[1],
        memorisation=found,
        history=[] if run is None else run.history,
        pictures=_pictures(material, found),
        notes=material.notes,
        warnings=tuple(warnings),
        method=method,
    )


def _pictures(material: Material, found: Memorisation | None) -> Pictures:
    samples, target = material.samples[:SHOWN], material.target[:SHOWN]
    if found is None or material.split is None:
        return Pictures(samples, target)
    order = found.distances.argsort()[:NEIGHBOURS]
    return Pictures(samples, target, material.samples[order], material.split.train.pixels[found.nearest[order]])


def _method(run: Run | None, material: Material) -> dict[str, Any]:
    """What was judged and by what."""
    judged = {"samples": len(material.samples), f"target ({material.what})": len(material.target)}
    judged |= {"fresh resample": len(material.resample)}
    if material.split is not None:
        judged |= {"training arrays": len(material.split.train), "held-out arrays": len(material.split.held_out)}
    if run is None:
        return judged
    rotation = "none" if run.rotation is None else "as in the run"
    trained = {"network": run.family.name, "noise": str(run.process.noise), "rotation": rotation}
    return {"run": str(run.folder), "training step": f"{run.step} of {run.config.steps}"} | trained | judged


@contextmanager
def _stages(shown: bool) -> Iterator[Stage]:
    """A bar that says what is measured, on a terminal only."""
    from tqdm import tqdm

    with tqdm(total=5, unit=" part", disable=None if shown else True, leave=False, delay=1.0) as bar:

        def begin(name: str) -> None:
            bar.set_description(name)
            bar.update()

        yield begin
