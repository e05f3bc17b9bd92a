"""What the name or the object that a user gives as data stands for."""

from __future__ import annotations

import os
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from scoregrain._errors import InvalidInputError, nearest
from scoregrain.datasets.folder import folder_stack, has_images
from scoregrain.datasets.hub import holds_tables, is_hub_name, open_hub, open_tables
from scoregrain.datasets.npz import npz_parts, read_npz
from scoregrain.datasets.parsing import is_law
from scoregrain.datasets.stack import Array, Choose, Opened, Range, Stack, array_stack

Source = str | Path | Array | Tensor

_DIGITS = Path(__file__).with_name("digits.npz")
_DIGITS_RANGE: Range = (0, 16)


def open_source(source: Source, value_range: Range | None, signals: bool) -> Opened:
    """Find a source; ``signals`` says that signals (C, L) are wanted, not images.

    Raises:
        InvalidInputError: There is none, it has no signals, or its range is known and one was given.
    """
    if isinstance(source, np.ndarray | Tensor):
        array = _to_array(source)
        return Opened(lambda part, choose: array_stack(array, "the array", value_range, choose, signals))
    if not isinstance(source, str | Path):
        raise InvalidInputError(f"expected a name, a path, an array or a tensor, got {type(source).__name__}")
    if source != "digits" and os.path.isfile(source) and str(source).lower().endswith(".npz"):
        path = Path(source)
        return Opened(partial(_npz_stack, path, value_range, signals), npz_parts(path))
    opened = _open_images(source, value_range)
    if signals:
        raise InvalidInputError(
            f"'{source}' holds images, so shape must be (C, H, W): signals (C, L) come in .npz files"
        )
    return opened


def is_fetched(source: str | Path) -> bool:
    """Is it no file, folder or law, but of the form of a name on the hub?"""
    return not os.path.exists(source) and not is_law(source) and is_hub_name(str(source))


def _open_images(source: str | Path, value_range: Range | None) -> Opened:
    """Find what holds images only."""
    if source == "digits":
        _refuse_range(value_range, "the embedded digits (0..16)")
        return Opened(partial(_npz_stack, _DIGITS, _DIGITS_RANGE, False))
    if os.path.isdir(source) and not str(source).lower().endswith(".npz"):
        _refuse_range(value_range, "image files (0..255)")
        folder = Path(source)
        if not has_images(folder) and holds_tables(folder):
            return open_tables(folder)
        return Opened(lambda part, choose: folder_stack(folder, choose))
    if is_fetched(source):
        _refuse_range(value_range, "Hugging Face images (0..255)")
        return open_hub(str(source))
    raise InvalidInputError(_explain_unknown(source))


def _npz_stack(path: Path, value_range: Range | None, signals: bool, part: str, choose: Choose) -> Stack:
    found = read_npz(path, part, signals)
    stack = array_stack(found.images, str(path), value_range, choose, signals)
    labels = None if found.labels is None else found.labels[stack.indices]
    return replace(stack, labels=labels, notes=found.notes + stack.notes)


def _refuse_range(value_range: Range | None, what: str) -> None:
    if value_range is not None:
        raise InvalidInputError(f"the range of {what} is known: leave out value_range (--range)")


def _explain_unknown(source: str | Path) -> str:
    accepted = "expected digits, an .npz file or a folder of images, or a Hugging Face name (owner/name)"
    if os.path.isdir(source):
        return f"{source} is a folder, although its name ends in .npz; {accepted}"
    if os.path.exists(source):
        return f"{source} is neither an .npz file nor a folder; {accepted}"
    if is_law(source):
        return f"'{source}' is a law, which is sampled, not read: use parse_law(text, shape); {accepted}"
    hint = nearest(str(source), ["digits"])
    return f"no data named '{source}', and no such file or folder{hint}; {accepted}"


def _to_array(source: Array | Tensor) -> Array:
    if isinstance(source, np.ndarray):
        return source
    if source.is_floating_point() and source.dtype not in (torch.float16, torch.float32, torch.float64):
        source = source.float()  # NumPy has no bfloat16
    try:
        return source.numpy(force=True)
    except (TypeError, RuntimeError) as error:  # sparse, quantised, meta
        raise InvalidInputError(f"a tensor of layout {source.layout} on {source.device} cannot be read") from error
