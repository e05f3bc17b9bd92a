"""``scoregrain noise preview NOISE``: what a noise looks like, and that draws follow its law, in a folder."""

from __future__ import annotations

import json
import math
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from scoregrain._errors import InvalidInputError, nearest
from scoregrain._folders import check_target, new_folder
from scoregrain.cli.options import progress_bar
from scoregrain.cli.unfinished import free_folder
from scoregrain.datasets import Images, data_name, load_images
from scoregrain.noise import ForwardNoise, Weight
from scoregrain.noise.describing import tensor_fields
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.parsing import FITTED, parse_noise, split
from scoregrain.noise.storage import write_noise
from scoregrain.noise.weights import factors_of
from scoregrain.operators import Operator
from scoregrain.report.noise_preview import NoisePreview, check_preview, preview_noise

ACTIONS = ("preview",)
DEFAULT_SIDE = 32
LONGEST = 80  # letters of a noise in the name of a folder


@dataclass
class Noise:
    """Look at a noise before training with it: its law, a draw, and how draws measure up to the law.

    Writes a folder with preview.png (gain, correlation, draw, radial spectrum) and preview.json (the numbers); with
    --data also the fitted noise, which NOISE may name later: ./FOLDER/noise.
    """

    action: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="preview")]
    """What to do with the noise."""

    noise: Annotated[tyro.conf.Positional[str], tyro.conf.arg(metavar="NOISE")]
    """Such as power-law:alpha=-0.06, band-pass:low=0,high=0.5, white; equal-snr with --data; or a saved noise."""

    size: Annotated[tuple[int, ...] | None, tyro.conf.arg(metavar="N", help_behavior_hint="")] = None
    """Pixels: 32 for 32×32 (the default), 28 20 for 28×20, 16 16 16 in three dimensions."""

    dims: Annotated[int | None, tyro.conf.arg(metavar="D", help_behavior_hint="")] = None
    """Dimensions that a single --size stands for: 1, 2 (the default) or 3."""

    channels: Annotated[int | None, tyro.conf.arg(metavar="C", help_behavior_hint="")] = None
    """Channels, each with noise of its own; 1, or those of the data, by default."""

    samples: Annotated[int, tyro.conf.arg(metavar="N")] = 256
    """Arrays to draw and measure, at least 16."""

    seed: int = 0
    """The draws are a function of this."""

    data: Annotated[str | None, tyro.conf.arg(metavar="DATA", help_behavior_hint="")] = None
    """What equal-snr is fitted to: digits, an .npz file or a folder of images."""

    range: Annotated[tuple[float, float] | None, tyro.conf.arg(metavar="LO HI", help_behavior_hint="")] = None
    """Values of black and white in an .npz file, e.g. 0 1; by default 0 255 for integers, -1 1 for floats."""

    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR", help_behavior_hint="")] = None
    """Folder to write; ./scoregrain-noise-NOISE-N by default."""

    overwrite: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Replace the folder if scoregrain wrote it."""

    json: Annotated[bool, tyro.conf.arg(help_behavior_hint="")] = False
    """Print one JSON object on stdout and nothing else there."""

    command: tyro.conf.Suppress[str] = ""

    def run(self) -> str:
        """Draw, write the folder, return the numbers."""
        check_action(self.action)
        size = self._asked_size()
        target = self.out or free_folder(f"noise-{_stem(self.noise, self.data)}")
        check_target(target, overwrite=self.overwrite)
        noise, shape = self._parsed(size) if self.data is None else self._fitted(self.data, size)
        with progress_bar("arrays") as progress:
            preview = preview_noise(noise, shape, self.samples, self.seed, progress)
        with new_folder(target, overwrite=self.overwrite) as temporary:
            preview.write(temporary)
            if self.data is not None:  # no string gives it back
                (temporary / "noise").mkdir()
                write_noise(noise, temporary / "noise", "config.json")
        if self.json:
            return json.dumps(preview.numbers() | {"out": str(target)})
        return "\n".join([*describe_preview(preview), f"  written to           {target}"])

    def _asked_size(self) -> tuple[int, ...] | None:
        """The size that is asked for, checked before anything is built."""
        dims = 2 if self.dims is None else self.dims
        if not 1 <= dims <= 3:
            raise InvalidInputError(f"--dims is {dims}, expected 1, 2 or 3")
        if self.channels is not None and self.channels < 1:
            raise InvalidInputError(f"--channels is {self.channels}, expected at least 1")
        if self.size is None:
            check_preview((1, 1), self.samples)
            return None if self.dims is None else (DEFAULT_SIDE,) * dims
        text = " ".join(map(str, self.size))
        if not 1 <= len(self.size) <= 3 or min(self.size) < 1:
            given = f"is '{text}'" if text else "has no value"
            raise InvalidInputError(f"--size {given}, expected one to three numbers of pixels, all at least 1")
        if self.dims is not None and len(self.size) not in (1, dims):
            raise InvalidInputError(f"--size is '{text}', --dims is {dims}: leave --dims out, or give one number")
        size = self.size * dims if len(self.size) == 1 else self.size
        check_preview((self.channels or 1, *size), self.samples)
        return size

    def _parsed(self, size: tuple[int, ...] | None) -> tuple[ForwardNoise, tuple[int, ...]]:
        """The noise of the words alone, and the shape to look at it on."""
        if self.range is not None:
            raise InvalidInputError("--range says what the values in --data DATA are: give both or none")
        if FITTED in [factor.name for factor in split(self.noise)[0]]:
            raise InvalidInputError(f"{FITTED} is fitted to data: add --data DATA, such as --data digits")
        noise = ForwardNoise.parse(self.noise)
        if isinstance(noise.weight, Operator):
            own = noise.weight.shape
        else:
            own = (1, *(_own_size(noise.weight) or (DEFAULT_SIDE, DEFAULT_SIDE)))
        return noise, (self.channels or own[0], *(size or own[1:]))

    def _fitted(self, data: str, size: tuple[int, ...] | None) -> tuple[ForwardNoise, tuple[int, ...]]:
        """The noise that gives all frequencies of the data one signal-to-noise ratio."""
        if [factor.name for factor in split(self.noise)[0]].count(FITTED) != 1:
            raise InvalidInputError(f"--data is what one {FITTED} in NOISE is fitted to, '{self.noise}' has not one")
        if size is not None and len(size) != 2:
            raise InvalidInputError(f"images have two dimensions: --size must be such as 32 or 28 20, not {size}")
        images = self._images(data, size)
        for note in images.notes:
            print(f"note: {note}", file=sys.stderr)
        return parse_noise(self.noise, EqualSNR.fit(images.pixels).power), images.shape

    def _images(self, data: str, size: tuple[int, ...] | None) -> Images:
        """The data, resized where another size or number of channels is asked for."""
        images = load_images(data, value_range=self.range, seed=self.seed)
        wanted = (self.channels or images.shape[0], *(size or images.shape[1:]))
        check_preview(wanted, self.samples)
        if wanted == images.shape:
            return images
        return load_images(data, shape=wanted, value_range=self.range, seed=self.seed)


def _own_size(weight: Weight) -> tuple[int, ...] | None:
    """The size that a weight with gains of its own was built for."""
    planes = (plane for factor in factors_of(weight) for plane in tensor_fields(factor).values())
    return next((tuple(plane.shape) for plane in planes), None)


def check_action(word: str) -> None:
    """Fail where a word is nothing that can be done with a noise.

    Raises:
        InvalidInputError: it is not.
    """
    if word not in ACTIONS:
        raise InvalidInputError(
            f"unknown command 'noise {word}'{nearest(word, ACTIONS)}; expected scoregrain noise preview NOISE"
        )


def _stem(noise: str, data: str | None) -> str:
    """How the folder of a preview is called."""
    name = data_name(noise) if noise.startswith((".", "/")) else noise
    return "-".join([name[:LONGEST], *([] if data is None else [data_name(data)])])


def describe_preview(preview: NoisePreview) -> list[str]:
    """The numbers of a preview for a person."""
    numbers, noise = preview.numbers(), preview.noise
    dimension, rank = numbers["dimension"], numbers["rank"]
    left = "no dimension is left without noise" if rank == dimension else f"{dimension - rank} are never noised"
    pixels = "of every pixel" if preview.stationary else "rms over the pixels"
    return [
        f"{noise} on {'×'.join(map(str, preview.shape))}",
        f"  normalisation        {noise.normalize}: standard deviation {preview.pixel_std:.6g} {pixels} (exact)",
        f"  condition number     {numbers['condition_number']:.4g}",
        *_floor_line(preview),
        f"  rank                 {rank} of {dimension}: {left}",
        f"  log det              {numbers['log_det']:.6g}" + (" on its support" if rank < dimension else ""),
        f"  low frequencies      {preview.low_share:.2%} of the power below half the corner's radius; "
        f"white noise has {preview.white_low_share:.2%} there",
        f"  measured             {preview.samples} arrays, {int(preview.noised.sum())} rings of equal radius: at most "
        f"{preview.deviation:.2f} standard errors from the law ({preview.usual_deviation:.2f} is usual)",
        *_slope_line(preview),
    ]


def _floor_line(preview: NoisePreview) -> list[str]:
    if preview.floored_share is None:
        return []
    if preview.floored_share == 0:
        return ["  equal-snr floor      no frequency is held at it"]
    held = f"{preview.floored_share:.2%} of the frequencies are held at it, not at their S^gamma"
    return [f"  equal-snr floor      {held}: a smaller eps lifts it"]


def _slope_line(preview: NoisePreview) -> list[str]:
    slope = preview.slope
    if slope is None or not math.isfinite(slope.error):
        return []
    return [f"  slope                power ∝ radius^{slope.measured:.3f} ± {slope.error:.3f}; the law {slope.law:.3f}"]
