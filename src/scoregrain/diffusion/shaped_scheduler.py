"""What diffusers' schedulers need to run under any noise: its configuration, its files, and the coloured start."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin
from torch import Tensor

from scoregrain._errors import InvalidInputError, ScoregrainError
from scoregrain.diffusion.recognition import recognise
from scoregrain.diffusion.scheduler_config import PREFIX, shaped_config, stock_entries
from scoregrain.noise import ForwardNoise, White
from scoregrain.noise.storage import read_noise, write_noise

Generator = torch.Generator | Sequence[torch.Generator] | None


class ShapedScheduler:
    """Stands before a stock scheduler among the bases of a shaped one.

    Attributes:
        forward_noise: The noise of the start and of every step.
    """

    timesteps: Tensor
    _internal_dict: Any
    _reusable = True  # whether a second run may use the same timesteps; a multistep method must set them anew
    _start: Tensor | None = None  # the timesteps with the extra first one; None when starts are not coloured here
    _timesteps_set = False
    _unchecked = True

    def __init__(self, noise: ForwardNoise | str | None = None, **stock: Any) -> None:
        self.forward_noise = _as_noise(noise)
        if "beta_schedule" in stock:
            stock["beta_schedule"] = stock["beta_schedule"].removeprefix(PREFIX)
        super().__init__(**stock)

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
            InvalidInputError: Neither names a noise, or it holds tensors that the configuration cannot.
        """
        if kwargs.get("noise") is None:
            kwargs["noise"] = getattr(config_dict, "forward_noise", stock_entries(config_dict).get("noise"))
        if kwargs["noise"] is None:
            raise InvalidInputError(
                f"this configuration names no noise: write {cls.__name__}.from_config(config, noise=noise), with"
                " scoregrain.ForwardNoise(scoregrain.White()) for white"
            )
        return super().extract_init_dict(stock_entries(config_dict), **kwargs)  # type: ignore[misc]

    def save_config(self, save_directory: str | os.PathLike[str], push_to_hub: bool = False, **kwargs: Any) -> None:
        """Write ``scheduler_config.json`` and, for a noise with tensors, its files beside it."""
        if _has_tensors(str(self.forward_noise)):
            Path(save_directory).mkdir(parents=True, exist_ok=True)
            write_noise(self.forward_noise, save_directory)
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
            kwargs["noise"] = _saved_noise(config, Path(pretrained_model_name_or_path, subfolder or ""))
        return cls.from_config(config, return_unused_kwargs=return_unused_kwargs, **kwargs)  # type: ignore[attr-defined]

    # The start ----------------------------------------------------------------------------------------

    def start_noise(
        self,
        shape: Sequence[int],
        generator: Generator = None,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Draw a start x_T = T ξ for a loop of your own, after ``set_timesteps`` and before reading ``timesteps``.

        It takes the extra first timestep away, so that the start is not coloured twice.

        Args:
            shape: (N, C, *space).
            generator: One generator, or one for each of the N arrays.
            device: Defaults to the generator's.
            dtype: Defaults to torch's default dtype.

        Raises:
            InvalidInputError: Before ``set_timesteps``, or when the noise does not fit ``shape``.
        """
        if not self._timesteps_set:
            raise InvalidInputError("start_noise changes the timesteps: call set_timesteps before it")
        self._hide_start()
        self._start = None
        return self._draw(shape, generator, dtype, device)

    def add_noise(self, original_samples: Tensor, noise: Tensor, timesteps: Tensor) -> Tensor:
        """Return √ᾱ x0 + σ ε at each timestep, as in training; ``noise`` is ε, coloured by whoever drew it.

        Draw it with ``scheduler.forward_noise.sample(x0.shape)``.

        Raises:
            InvalidInputError: When ``noise`` is plainly white (looked at once in a run), or does not fit.
        """
        self._check_drawn(noise)
        with self._stock_timesteps():
            return super().add_noise(original_samples, noise, timesteps)  # type: ignore[misc, no-any-return]

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
        if self._unchecked and not is_white(self.forward_noise) and recognise(self.forward_noise, noise) == "white":
            raise InvalidInputError(
                f"this noise is white, the scheduler's is {self.forward_noise}: draw it with"
                " scheduler.forward_noise.sample(x.shape, generator)"
            )
        self._unchecked = False

    def _prepend_start(self) -> None:
        """Repeat the first timestep: its step colours the white start that a pipeline draws."""
        self._timesteps_set, self._unchecked, self._start = True, True, None
        if not is_white(self.forward_noise):
            self._start = self.timesteps = torch.cat([self.timesteps[:1], self.timesteps])

    def _at_start(self) -> bool:
        return self._start is not None and self.timesteps is self._start

    def _hide_start(self) -> None:
        if self._start is not None and self.timesteps is self._start:
            self.timesteps = self._start[1:]

    def _enters(self, timestep: Tensor | int) -> bool:
        """Return whether this step is the extra one; the stock code never sees the timestep of it."""
        first = self._at_start() and int(timestep) == int(self.timesteps[0])
        if first or not self._reusable:
            self._hide_start()
        return first

    def _leaves(self, timestep: Tensor | int) -> None:
        """After the true first step: another run may begin with the same timesteps."""
        if self._start is not None and int(timestep) == int(self._start[0]):
            self.timesteps = self._start

    @contextmanager
    def _stock_timesteps(self) -> Iterator[None]:
        hidden = self._at_start()
        self._hide_start()
        try:
            yield
        finally:
            if hidden and self._start is not None:
                self.timesteps = self._start

    def _colour_start(self, sample: Tensor) -> Tensor:
        if recognise(self.forward_noise, sample) == "shaped":
            raise InvalidInputError(
                f"the start already has the colour of {self.forward_noise} and would get it twice: start from white"
                " noise, or draw with scheduler.start_noise(shape), which takes the extra first timestep away"
            )
        return self.forward_noise.colour(sample)


def then_prepend(set_timesteps: Callable[..., None]) -> Callable[..., None]:
    """Return the stock method with its own signature, which pipelines inspect, and the extra timestep."""

    @functools.wraps(set_timesteps)
    def shaped(self: ShapedScheduler, *args: Any, **kwargs: Any) -> None:
        set_timesteps(self, *args, **kwargs)
        self._prepend_start()

    return shaped


def _as_noise(noise: ForwardNoise | str | None) -> ForwardNoise:
    if noise is None:
        return ForwardNoise(White())
    return ForwardNoise.parse(noise) if isinstance(noise, str) else noise


def is_white(noise: ForwardNoise) -> bool:
    """Return whether colouring would change nothing, so that all stays as in diffusers."""
    return isinstance(noise.weight, White)


def _has_tensors(text: str) -> bool:
    return "@" in text


def _saved_noise(config: Mapping[str, Any], folder: Path) -> ForwardNoise | str | None:
    """The noise of a saved configuration: its string, or what lies beside it."""
    text: str | None = config.get("noise")
    if text is None or not _has_tensors(text):
        return text
    noise = read_noise(folder)
    if str(noise) != text:
        raise ScoregrainError(
            f"the saved noise and the scheduler in '{folder}' disagree: {noise} lies beside a configuration that asks"
            f" for {text}; copy the folder of one run as a whole"
        )
    return noise
