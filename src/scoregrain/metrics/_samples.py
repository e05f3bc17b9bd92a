"""What every metric asks of the samples it is given: finite floating-point arrays of one shape, and enough of them."""

from __future__ import annotations

import torch
from torch import Tensor

from scoregrain._arguments import check_kind
from scoregrain._errors import InvalidInputError


def as_rows(x: Tensor, name: str, least: int = 2) -> Tensor:
    """Return samples (N, C, *space) or (N, D) as rows (N, D), in float32, or in float64 where they are given so.

    Args:
        x: The samples.
        name: What a message calls them.
        least: The fewest that will do.

    Raises:
        InvalidInputError: They are no floating-point tensor of at least two axes, too few, or not all finite.
    """
    check_kind(x, Tensor, name)
    if not x.is_floating_point() or x.ndim < 2 or x[:1].numel() == 0 < len(x):
        kind, shape = str(x.dtype).removeprefix("torch."), tuple(x.shape)
        raise InvalidInputError(f"{name} must be floating-point samples (N, C, *space), got {kind} of shape {shape}")
    if len(x) < least:
        raise InvalidInputError(f"{name} holds too few samples: {len(x)}, at least {least} are needed")
    rows = x.detach().flatten(1)
    rows = rows if rows.dtype in (torch.float32, torch.float64) else rows.float()
    check_finite(rows, name)
    return rows


def check_finite(rows: Tensor, name: str) -> None:
    """Fail where a sample (N, D) holds a NaN or an infinity.

    Raises:
        InvalidInputError: One does; the message says how many and which is the first.
    """
    if bool(torch.isfinite(rows.sum(dtype=torch.float64))):
        return  # without a mask as large as the samples: a sum hides no NaN and no infinity
    bad = (~torch.isfinite(rows)).any(dim=1).nonzero().flatten().tolist()
    if bad:
        raise InvalidInputError(
            f"{name} must be finite: {len(bad)} of {len(rows)} samples hold a NaN or an infinity, the first is "
            f"number {bad[0]}; a sampler or a network that diverged is the usual cause"
        )


def check_pair(x: Tensor, y: Tensor, names: tuple[str, str] = ("x", "y"), least: int = 2) -> tuple[Tensor, Tensor]:
    """Return two sets of samples as rows (N, D) and (M, D) of one dtype, the wider of the two.

    Raises:
        InvalidInputError: One is not what :func:`as_rows` expects, or they differ in shape or device.
    """
    first, second = as_rows(x, names[0], least), as_rows(y, names[1], least)
    shapes = tuple(x.shape[1:]), tuple(y.shape[1:])
    flat = 1 in map(len, shapes)
    if first.shape[1] != second.shape[1] or (not flat and shapes[0] != shapes[1]):
        raise InvalidInputError(
            f"{names[0]} and {names[1]} must be samples of one shape, got {shapes[0]} and {shapes[1]}"
        )
    if first.device != second.device:
        raise InvalidInputError(
            f"{names[0]} and {names[1]} must be on one device, got {first.device} and {second.device}"
        )
    dtype = torch.promote_types(first.dtype, second.dtype)
    return first.to(dtype), second.to(dtype)
