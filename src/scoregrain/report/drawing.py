"""One style for all figures: matplotlib without global state, to data URIs."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from scoregrain.datasets import tile

# Okabe and Ito's colours, and ends that stay apart in every common colour blindness
BLUE, ORANGE, GREY, GREEN, INK = "#0072B2", "#D55E00", "#8A8F98", "#009E73", "#1F2328"
DIVERGING = ((33, 102, 172), (247, 247, 247), (178, 24, 43))  # -1, 0, +1

_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "scoregrain",
    "path.simplify": True,
}


def figure(paint: Callable[[Any], None], width: float = 5.6, height: float = 3.4) -> str:
    """Let ``paint`` fill a matplotlib figure of that size in inches; return it as an SVG data URI."""
    return data_uri("image/svg+xml", render(paint, "svg", width, height))


def render(paint: Callable[[Any], None], kind: str, width: float, height: float) -> bytes:
    """Let ``paint`` fill a matplotlib figure of that size in inches; return the ``svg`` or ``png`` file."""
    import matplotlib
    from matplotlib.figure import Figure

    dates = {"Date": None, "Creator": None} if kind == "svg" else {"Software": None}  # the same bytes every time
    with matplotlib.rc_context(_STYLE):
        canvas = Figure(figsize=(width, height), layout="constrained", dpi=150)
        paint(canvas)
        buffer = io.BytesIO()
        canvas.savefig(buffer, format=kind, metadata=dates)
    return buffer.getvalue()


def log_axis(axis: Any, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis, at 1, 2 and 5 where it covers little more than a decade."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    if high < 50 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axis.set_minor_formatter(NullFormatter())


def data_uri(kind: str, content: bytes) -> str:
    """Content as a ``data:`` URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def diverging_map() -> Any:
    """The diverging colour map of directions, for matplotlib."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("grain", np.array(DIVERGING) / 255)


def panels(x: Tensor) -> npt.NDArray[np.float64]:
    """Channels of ``(C, H, W)`` side by side, a column of NaN between them."""
    height = x.shape[-2]
    parts: list[npt.NDArray[np.float64]] = []
    for channel in x.double().numpy():
        parts += [np.full((height, 1), np.nan), channel]
    return np.concatenate(parts[1:], axis=1)


def contact_sheet(pixels: Tensor, columns: int = 8, side: int = 64) -> str:
    """Arrays ``(n, C, *space)`` in [-1, 1] side by side as one PNG data URI (:func:`scoregrain.datasets.tile`)."""
    buffer = io.BytesIO()
    tile(pixels, columns, side).save(buffer, "PNG")
    return data_uri("image/png", buffer.getvalue())
