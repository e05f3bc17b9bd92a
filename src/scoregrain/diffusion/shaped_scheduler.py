"""What diffusers' schedulers need to run under any noise: its configuration, its files, and the coloured start."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from diffusers.configuration_utils import ConfigMixin
from torch import Tensor

from scoregrain._errors import InvalidInputError, ScoregrainError, nearest
from scoregrain.diffusion.recognition import Evidence, recognise
from scoregrain.diffusion.scheduler_config import PREFIX, named_noise, shaped_config, stock_entries
from scoregrain.noise import ForwardNoise, Weight, White
from scoregrain.noise.storage import check_nameable, forget_noise, read_noise, write_noise
from scoregrain.operators import Operator

ENOUGH = 2**27
"""How many numbers of noise drawn elsewhere are looked at before it is taken for right: seconds in all."""

Generator = torch.Generator | Sequence[torch.Generator] | None


class ShapedScheduler:
    """Stands before a stock scheduler among the bases of a shaped one.

    Where a run stands as to its start, by ``_colours`` and ``_extra``:

    - neither: ``set_timesteps`` was not called, the noise is white, or ``start_noise`` drew the start;
    - both: the next step at the first timestep is the extra one, which colours a white start;
    - ``_colours`` alone: that step was taken, or hidden while the stock code runs.

    Attributes:
        forward_noise: The noise of the start and of every step.
    """

    timesteps: Tensor
    _internal_dict: Any
    _known: ClassVar[Mapping[str, tuple[str, ...]]] = {"prediction_type": ("epsilon", "sample", "v_prediction")}
    _reusable = True  # whether a second run may use the same timesteps; a multistep method must set them anew
    _first: int | None = None  # the first timestep; None before set_timesteps
    _colours = False  # whether starts come white, for an extra first step to colour
    _extra = False  # whether `timesteps` has that step now
    _evidence: Evidence | None  # of noise drawn elsewhere; None when that needs no more looking at

    def __init__(self, noise: ForwardNoise | Weight | Operator | str | None = None, **stock: Any) -> None:
        self.forward_noise = ForwardNoise.of(White() if noise is None else noise)
        self._evidence = Evidence(self.forward_noise)
        if "beta_schedule" in stock:
            stock["beta_schedule"] = stock["beta_schedule"].removeprefix(PREFIX)
        super().__init__(**stock)
        for name, known in self._known.items():
            if (word := self._internal_dict[name]) not in known:
                raise InvalidInputError(
                    f"{type(self).__name__} cannot sample with {name}='{word}'{nearest(word, known)}:"
                    f" use {', '.join(known)}"
                )

    # Configuration and files --------------------------------------------------------------------------

    def register_to_config(self, **kwargs: Any) -> None:
        """Take entries into the configuration, which stays one that no stock class reads."""
        super().register_to_config(**kwargs)  # type: ignore[misc]
        self._internal_dict = shaped_config(self._internal_dict, self.forward_noise, type(self).__name__)

    @staticmethod
    def _get_init_keys(input_class: type) -> set[str]:
        if not issubclass(input_class, ShapedScheduler):
            return set(ConfigMixin._get_init_keys(input_class))
        stock = input_class.__mro__[input_class.__mro__.index(ShapedScheduler) + 1]
        return {"noise", *ConfigMixin._get_init_keys(stock)}

    @classmethod
    def extract_init_dict(cls, config_dict: Mapping[str, Any], **kwargs: Any) -> Any:
        """Read a configuration, stock or shaped; ``noise=`` wins over the noise it names.

        Raises:
            InvalidInputError: Neither names a noise, or it holds tensors that the configuration cannot, or a path.
        """
        if kwargs.get("noise") is None:
            kwargs["noise"] = getattr(config_dict, "forward_noise", None) or named_noise(config_dict)
        if kwargs["noise"] is None:
            raise InvalidInputError(
                f"this configuration names no noise: write {cls.__name__}.from_config(config, noise=noise), with"
                " scoregrain.ForwardNoise(scoregrain.White()) for white"
            )
        return super().extract_init_dict(stock_entries(config_dict), **kwargs)  # type: ignore[misc]

    def save_config(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write ``scheduler_config.json`` and, for a noise with tensors, its files beside it.

        Raises:
            InvalidInputError: The noise is one that no file can hold; nothing is written.
        """
        check_nameable(self.forward_noise.weight)
        if _has_tensors(str(self.forward_noise)):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_noise(self.forward_noise, save_directory)
        else:
            forget_noise(save_directory)
        super().save_config(save_directory, push_to_hub, **kwargs)  # type: ignore[misc]

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        subfolder: str | None = None,
        return_unused_kwargs: bool = False,
        **kwargs: Any,
    ) -> Any:
        """Read a saved scheduler, shaped or, with ``noise=``, stock.

        Raises:
            InvalidInputError: It names no noise and none was given, or the noise's own files are missing.
            ScoregrainError: The noise's own files are damaged, or hold another noise than the configuration names.
        """
        config, kwargs = cls.load_config(  # type: ignore[attr-defined]
            pretrained_model_name_or_path, subfolder=subfolder, return_unused_kwargs=True, **kwargs
        )
        if kwargs.get("noise") is None:
            folder = Path(pretrained_model_name_or_path, subfolder or "")
            kwargs["noise"] = _saved_noise(config, folder.parent if folder.is_file() else folder)
        return cls.from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)  # type: ignore[attr-defined]

    # The start ----------------------------------------------------------------------------------------

    def start_noise(
        self,
        shape: Sequence[int],
        generator: Generator = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Draw a start x_T = T ξ for a loop of your own, after ``set_timesteps`` and before the loop.

        It takes the extra first timestep away, so that the start is not coloured twice; until ``set_timesteps`` is
        called again every run has to begin with a start drawn here.

        Args:
            shape: (N, C, *space).
            generator: One generator, or one for each of the N arrays.
            device: Defaults to the generator's.
            dtype: Defaults to torch's default dtype.

        Raises:
            InvalidInputError: Before ``set_timesteps``, or when the noise does not fit ``shape``.
        """
        if self._first is None:
            raise InvalidInputError("start_noise changes the timesteps: call set_timesteps before it")
        self._colours = False
        if self._extra:
            with torch.inference_mode(self.timesteps.is_inference()):  # of one kind with what replaces it
                self.timesteps.data = self.timesteps[1:].clone()  # in place, for whoever has read them already
            self._extra = False
        return self._draw(shape, generator, dtype, device)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return √ᾱ x0 + σ ε at each timestep, as in training; ``noise`` is ε, coloured by whoever drew it.

        Draw it with ``scheduler.forward_noise.sample(x0.shape)``.

        Raises:
            InvalidInputError: When ``noise`` does not fit; when all noise of this run so far is plainly white (looked
                at until its law is plain); or when the noise leaves a band out that clipping would fill.
        """
        self._check_clipping(noise)
        self._check_drawn(noise)
        shown = self.timesteps, self._extra
        self._hide_extra()
        try:
            return super().add_noise(original_samples, noise, timesteps)  # type: ignore[misc, no-any-return]
        finally:
            self.timesteps, self._extra = shown

    # Shared steps -------------------------------------------------------------------------------------

    def _draw(
        self,
        shape: Sequence[int],
        generator: Generator,
        dtype: torch.dtype | None,
        device: torch.device | str | None,
    ) -> Tensor:
        if isinstance(generator, Sequence) and len(generator) == 1:  # as diffusers reads a list of one
            generator = generator[0]
        return self.forward_noise.sample(shape, generator, dtype, device)

    def _check_drawn(self, noise: Tensor) -> None:
        """Look at noise that someone else drew until its law is plain: one batch may hold too little of it."""
        if self._evidence is None or is_white(self.forward_noise):
            return
        law = self._evidence.add(noise)
        if law == "white":
            self._evidence = Evidence(self.forward_noise)  # for whoever mends it and goes on
            raise InvalidInputError(
                f"this noise is white, the scheduler's is {self.forward_noise}: draw it with"
                " scheduler.forward_noise.sample(x.shape, generator)"
            )
        if law == "shaped" or self._evidence.seen >= ENOUGH:
            self._evidence = None

    def _check_clipping(self, x: Tensor) -> None:
        clips = self._internal_dict.get("clip_sample") or self._internal_dict.get("thresholding")
        if clips and self._omits(x):
            raise InvalidInputError(
                f"{self.forward_noise} leaves a band out, which clipping would fill: set clip_sample=False and"
                " thresholding=False, and clamp the samples"
            )

    def _on_support(self, output: Tensor, sample: Tensor) -> tuple[Tensor, Tensor]:
        """Return both without the band that the noise leaves out: a network leaks into it (MATH B12, m = 0)."""
        if not self._omits(sample):
            return output, sample
        return self.forward_noise.project(output), self.forward_noise.project(sample)

    def _omits(self, x: Tensor) -> bool:
        return not is_white(self.forward_noise) and self.forward_noise.omits(x.shape[1:])

    def _prepend_start(self) -> None:
        """Repeat the first timestep: its step colours the white start that a pipeline draws."""
        if self._evidence is None:  # else a training goes on, which its validation must not make forgotten
            self._evidence = Evidence(self.forward_noise)
        self._extra = False
        self._first, self._colours = int(self.timesteps[0]), not is_white(self.forward_noise)
        self._show_extra(self._first)

    def _show_extra(self, timestep: Tensor | int) -> None:
        """At the first timestep, before its step and after it: another run may begin with the same timesteps."""
        if self._colours and not self._extra and int(timestep) == self._first:
            self.timesteps, self._extra = torch.cat([self.timesteps[:1], self.timesteps]), True

    def _hide_extra(self) -> None:
        if self._extra:
            self.timesteps, self._extra = self.timesteps[1:], False

    def _colour_start(self, timestep: Tensor | int, sample: Tensor) -> Tensor | None:
        """Return T x when this step is the extra one; the stock code never sees the timestep of it."""
        self._check_clipping(sample)
        first = int(timestep) == self._first and not is_white(self.forward_noise)
        law = recognise(self.forward_noise, sample) if first else None
        if first and self._extra:
            if law == "shaped":
                raise InvalidInputError(
                    f"the start already has the colour of {self.forward_noise} and would get it twice: start from white"
                    " noise, or draw with scheduler.start_noise(shape), which takes the extra first timestep away"
                    " (image-to-image: before you read scheduler.timesteps)"
                )
            self._hide_extra()
            return self.forward_noise.colour(sample)
        if law == "white":
            raise InvalidInputError(
                f"the start is white, the scheduler's noise is {self.forward_noise}, and no step is left to colour it:"
                " call set_timesteps before each run, or draw with scheduler.start_noise(shape)"
            )
        if not self._reusable:
            self._hide_extra()
        return None


def then_prepend(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    """Return the stock method with its own signature, which pipelines inspect, and the extra timestep."""

    @functools.wraps(set_timesteps)
    def shaped(self: ShapedScheduler, *args: Any, **kwargs: Any) -> None:
        set_timesteps(self, *args, **kwargs)
        self._prepend_start()

    return shaped


def is_white(noise: ForwardNoise) -> bool:
    """Return whether colouring would change nothing, so that all stays as in diffusers."""
    return isinstance(noise.weight, White)


def _has_tensors(text: str) -> bool:
    return "@" in text


def _saved_noise(config: Mapping[str, Any], folder: Path) -> ForwardNoise | str | None:
    """The noise of a saved configuration: its string, or what lies beside it."""
    text = named_noise(config)
    if text is None or not _has_tensors(text):
        return text
    noise = read_noise(folder)
    if str(noise) != text:
        raise ScoregrainError(
            f"the saved noise and the scheduler in '{folder}' disagree: {noise} lies beside a configuration that asks"
            f" for {text}; copy the folder of one run as a whole"
        )
    return noise
