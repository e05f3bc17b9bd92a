"""What samples are judged by: a target they should resemble, fresh arrays of its law, what was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError
from scoregrain._random import stream
from scoregrain.datasets import Images, Law, Split, load_split, split_images
from scoregrain.datasets.images import Request
from scoregrain.training import Run

LEAST = 20
"""The fewest samples, and arrays of the target, that are judged."""

MOST = 10_000
"""The largest number of given samples that are judged when ``n`` does not say."""

DRAWN = 1000
"""Samples that are drawn when ``n`` does not say."""

LARGEST = 1e15
"""The largest value that is judged: squares of squares of it are finite."""

UNKNOWN = (
    "Memorisation is not judged: the data do not say what was trained on (a Split does, and an .npz file with arrays "
    "train and test)."
)


@dataclass(frozen=True, eq=False)
class Material:
    """Samples, and what they are judged by.

    Attributes:
        samples: (n, C, *space).
        target: Arrays that nothing was trained on, as many as samples where there are so many, in random order: data
            are often sorted by class, and any first ones of these are a fair choice.
        resample: Others of the same law, as many as samples where there are so many: what a perfect model would give.
        reference: Arrays that moments and directions are taken from, 10,000 at most.
        split: Training and held-out arrays; None where it is not known what was trained on.
        law: Where the data come from, where that is known.
        name: Of the data.
        notes: Plain sentences on the data.
        warnings: On what cannot be judged.
    """

    samples: Tensor
    target: Tensor
    resample: Tensor
    reference: Tensor
    split: Split | None
    law: Law | None
    name: str
    notes: tuple[str, ...]
    warnings: tuple[str, ...]

    @property
    def what(self) -> str:
        """What the target is, in two words."""
        return "held-out arrays" if self.law is None else "fresh draws"


@dataclass(frozen=True, eq=False)
class Source:
    """Where the target of samples comes from: a law, or training and held-out arrays, or both.

    Attributes:
        law: The law of the data, where that is known.
        split: The arrays; None of a law without a run.
        known: Was the training part trained on, and the other not?
    """

    law: Law | None
    split: Split | None
    known: bool

    @classmethod
    def of(cls, run: Run | None, data: Any, shape: tuple[int, ...], seed: int) -> Source:
        """Find it.

        Raises:
            InvalidInputError: There are no data, or too few, or of another shape.
        """
        if run is not None:
            return cls(run.law, _large_enough(run.data(data)), True)
        if isinstance(data, Law):
            if data.shape != shape:
                raise InvalidInputError(f"the samples are arrays {shape}, the law '{data.name}' {data.shape}")
            return cls(data, None, False)
        return cls(None, _large_enough(_split(data, shape, seed)), _says_what_is_held_out(data))

    @property
    def most(self) -> int:
        """The largest number of samples that have a resample as large beside them."""
        return MOST if self.law is not None or self.split is None else min(MOST, len(self.split.train))


def gather(samples: Tensor, source: Source, n: int | None, seed: int) -> Material:
    """Choose what samples are judged by: no more of them than of the resample, for its distance to be the floor."""
    kept, notes = _chosen(samples, min(n or MOST, source.most), seed)
    law, split = source.law, source.split
    if n is not None and n > source.most:
        notes.append(f"At most {source.most:,} samples are judged: there are no more arrays for a fresh resample.")
    warnings = () if source.known else (UNKNOWN,)
    if law is not None:
        target, resample = (law.sample(len(kept), stream(seed, name)) for name in ("target", "resample"))
        reference = law.sample(MOST, stream(seed, "reference")) if split is None else split.train.pixels[:MOST]
        return Material(kept, target, resample, reference, split, law, law.name, (*notes, *law.notes), warnings)
    assert split is not None
    train, held_out = split.train, split.held_out
    target, resample = (some(part.pixels, len(kept), seed) for part in (held_out, train))
    known = split if source.known else None
    notes += held_out.notes
    reference = some(train.pixels, MOST, seed)
    return Material(kept, target, resample, reference, known, None, train.name, tuple(notes), warnings)


def _large_enough(split: Split) -> Split:
    for part, name in ((split.train, "training"), (split.held_out, "held-out")):
        if len(part) < LEAST:
            raise InvalidInputError(
                f"too few {name} arrays of '{part.name}' to judge by: {len(part)}, at least {LEAST} are needed"
            )
    return split


def check_samples(samples: Tensor) -> None:
    """Fail where samples cannot be judged.

    Raises:
        InvalidInputError: They are no finite floating-point arrays (N, C, *space), or too few.
    """
    check_kind(samples, Tensor, "samples")
    if not samples.is_floating_point() or samples.ndim < 3:
        kind = str(samples.dtype).removeprefix("torch.")
        raise InvalidInputError(
            f"samples must be floats (N, C, *space), black -1 and white 1, got {kind} of shape {tuple(samples.shape)}"
        )
    if len(samples) < LEAST:
        raise InvalidInputError(f"too few samples to judge: {len(samples)}, at least {LEAST} are needed")
    bad = (~samples.isfinite()).flatten(1).any(1).nonzero().flatten().tolist()
    if bad:
        raise InvalidInputError(
            f"{len(bad)} of {len(samples)} samples hold a NaN or an infinity, the first is number {bad[0]}: they "
            "cannot be judged; a sampler or a network that diverged is the usual cause"
        )
    if (largest := float(samples.abs().max())) > LARGEST:
        raise InvalidInputError(
            f"the samples hold values up to {largest:.3g}, where white is 1: the sampler or the network diverged"
        )


def _chosen(samples: Tensor, most: int, seed: int) -> tuple[Tensor, list[str]]:
    """The samples that are judged, float32 or wider on the CPU, and what was left out."""
    kept = samples.detach().cpu()
    kept = kept if kept.dtype in (torch.float32, torch.float64) else kept.float()
    if len(kept) <= most:
        return kept, []
    note = f"{most:,} of the {len(kept):,} samples were drawn at random (seed {seed})."
    return some(kept, most, seed), [note]


def some(arrays: Tensor, most: int, seed: int) -> Tensor:
    """At most so many, in random order."""
    return arrays[torch.randperm(len(arrays), generator=stream(seed, "judged"))[:most]]


def _split(data: Any, shape: tuple[int, ...], seed: int) -> Split:
    """Data that users of other libraries name."""
    if data is None:
        raise InvalidInputError("samples without a run need data to judge them by: data=..., such as a file or a Split")
    split = data if isinstance(data, Split) else None
    if isinstance(data, Images):
        split = split_images(data, 0.5, seed)
    if split is None:
        split = load_split(data, shape=shape, seed=seed, held_out=0.5)
    if split.train.shape != shape:
        raise InvalidInputError(f"the samples are arrays {shape}, the data '{split.train.name}' {split.train.shape}")
    return split


def _says_what_is_held_out(data: Any) -> bool:
    """Do the data themselves say what was trained on?"""
    if isinstance(data, Split | Images):
        return isinstance(data, Split)
    return "test" in Request.of(data, None, None, True).opened.parts
