"""The figure of a noise: gain over the frequencies, correlation of pixels, a draw, radial spectrum."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scoregrain.report.drawing import BLUE, GREY, INK, ORANGE, diverging_map, log_axis, render

if TYPE_CHECKING:
    from scoregrain.report.noise_preview import NoisePreview

_LAGS = 12  # a correlation is shown up to this lag: beyond, it is too small to see
_TITLE = 88  # letters of the noise's name that fit


def noise_figure(preview: NoisePreview) -> bytes:
    """Return the PNG of four panels."""

    def paint(canvas: Any) -> None:
        name, size = str(preview.noise), "×".join(map(str, preview.shape[1:]))
        name = name if len(name) <= _TITLE else name[: _TITLE - 1] + "…"
        canvas.suptitle(f"{name}  ({preview.noise.normalize}, {size})", fontsize=11, color=INK)
        top, bottom = canvas.subfigures(2, 1)
        left, right = top.subfigures(1, 2)
        _paint_gain(left, preview)
        _paint_correlation(right, preview)
        left, right = bottom.subfigures(1, 2)
        _paint_draw(left, preview)
        _paint_spectrum(right.subplots(), preview)

    return render(paint, "png", width=9.2, height=7.4)


def _paint_gain(canvas: Any, preview: NoisePreview) -> None:
    axes = canvas.subplots()
    gain = torch.fft.fftshift(preview.power.sqrt())
    axes.set_title(f"Gain w of each frequency{_slice(preview)}")
    if gain.ndim == 1:
        _line(axes, gain, 1 / len(gain), BLUE)
        axes.set_yscale("log" if bool((gain > 0).all()) else "linear")
        _plain_ticks(axes.yaxis, *axes.get_ylim())
        axes.set_ylabel("gain w")
        axes.set_xlabel("frequency, cycles per pixel")
        return
    plane, scale = _centre(gain), _log_scale(gain)
    image = _image(axes, plane.masked_fill(plane == 0, torch.nan), [1 / side for side in plane.shape], norm=scale)
    axes.set_facecolor(GREY)  # shines through where there is no gain
    bar = canvas.colorbar(image, ax=axes, shrink=0.9)
    _plain_ticks(bar.ax.yaxis, scale.vmin, scale.vmax)
    axes.set_xlabel(
        "horizontal frequency, cycles per pixel" + (" (grey: no noise)" if bool((plane == 0).any()) else "")
    )
    axes.set_ylabel("vertical frequency")


def _paint_correlation(canvas: Any, preview: NoisePreview) -> None:
    axes = canvas.subplots()
    kernel = _crop(torch.fft.fftshift(preview.correlation))
    axes.set_title(f"Correlation of pixels by their lag{_slice(preview)}")
    if kernel.ndim == 1:
        _line(axes, kernel, 1.0, BLUE, marker="o", ms=3)
        axes.axhline(0, color=GREY, lw=0.8)
        axes.set_xlabel("lag, pixels (periodic)")
        axes.set_ylabel("correlation")
        return
    plane = _centre(kernel)
    beside = plane.clone()
    beside[tuple(side // 2 for side in plane.shape)] = 0.0
    limit = beside.abs().max().item()
    limit = limit if limit > 1e-12 else 1.0
    image = _image(axes, plane, [1.0, 1.0], cmap=diverging_map(), vmin=-limit, vmax=limit)
    canvas.colorbar(image, ax=axes, shrink=0.9, extend="max" if limit < 1 else "neither")
    axes.set_xlabel("horizontal lag, pixels" + (" (at lag 0 it is 1)" if limit < 1 else ""))
    axes.set_ylabel("vertical lag")


def _paint_draw(canvas: Any, preview: NoisePreview) -> None:
    """White noise and what the shaping makes of it, on one scale each of three standard deviations."""
    stacked = len(preview.shape) == 2 or preview.shape[-1] > 1.8 * preview.shape[-2]
    rows = canvas.subplots(2, 1) if stacked else canvas.subplots(1, 2)
    titles = ("White noise ξ", "Shaped noise T ξ")
    for axes, title, x, std in zip(
        rows, titles, (preview.white, preview.shaped), (1.0, preview.pixel_std), strict=True
    ):
        axes.set_title(title)
        if len(preview.shape) == 2:
            _line(axes, x[0], 1.0, BLUE, start=0)
            continue
        plane = x[0] if x.ndim == 3 else x[0, 0]
        axes.imshow(plane.numpy(), cmap="gray", vmin=-3 * std, vmax=3 * std, interpolation="nearest")
        axes.set_xticks([])
        axes.set_yticks([])
    shown = [f"channel 0 of {preview.shape[0]}"] * (preview.shape[0] > 1) + ["slice 0"] * (len(preview.shape) == 4)
    rows[-1].set_xlabel("pixel" if len(preview.shape) == 2 else ", ".join(shown))


def _paint_spectrum(axes: Any, preview: NoisePreview) -> None:
    """Power of the rings on two logarithmic axes, the constant (DC) set apart at the left."""
    radius = preview.rings.radius.clone()
    radius[0] = radius[1] / 2 if len(radius) > 1 else 1.0
    noised = preview.noised
    first = 1 if len(radius) > 1 else 0
    axes.set_xscale("log")
    axes.set_yscale("log")
    _shade(axes, radius, noised)
    axes.axhline(preview.power.mean().item(), color=GREY, lw=1, ls=":", label="white noise of this power")
    law = preview.law.masked_fill(~noised, torch.nan)
    axes.plot(radius[first:].numpy(), law[first:].numpy(), color=ORANGE, lw=1.6, label="the law")
    axes.plot(radius[:1], law[:1], "_", color=ORANGE, ms=12, mew=1.6)
    x, y, error = (values[noised] for values in (radius, preview.measured, preview.error))
    bars = torch.stack([torch.minimum(error, 0.9 * y), error])
    axes.errorbar(
        x.numpy(),
        y.numpy(),
        bars.numpy(),
        fmt="o",
        color=BLUE,
        ms=3,
        elinewidth=0.9,
        label=f"{preview.samples} draws, ± 1 s.e.",
    )
    _spectrum_axes(axes, radius, noised)
    axes.set_title(
        f"Radial power spectrum, at most {preview.deviation:.1f} s.e. off (usual: {preview.usual_deviation:.1f})"
    )
    axes.legend(loc="best")


def _spectrum_axes(axes: Any, radius: Tensor, noised: Tensor) -> None:
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0.8 * (low * high) ** 0.5), max(high, 1.25 * (low * high) ** 0.5))
    _plain_ticks(axes.yaxis, *axes.get_ylim())
    ticks = {t: f"{t:g}" for t in (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5) if t > 1.4 * float(radius[0])}
    ticks |= {float(radius[0]): "DC"} if bool(noised[0]) else {}
    axes.set_xticks(list(ticks), ticks.values())
    axes.set_xticks([], minor=True)
    axes.set_xlim(0.75 * float(radius[0]), 1.15 * float(radius[-1]))
    axes.set_xlabel("frequency, cycles per pixel")
    axes.set_ylabel("power")


def _shade(axes: Any, radius: Tensor, noised: Tensor) -> None:
    """Grey where there is no noise, from the middle between one ring and the next."""
    edges = [0.5 * float(radius[0]), *(radius[1:] * radius[:-1]).sqrt().tolist(), 1.5 * float(radius[-1])]
    label = "no noise"
    for ring in (~noised).nonzero().flatten().tolist():
        axes.axvspan(edges[ring], edges[ring + 1], color=GREY, alpha=0.2, lw=0, label=label)
        label = "_nolegend_"


def _line(axes: Any, values: Tensor, step: float, colour: str, start: int | None = None, **style: Any) -> None:
    """Values against k times ``step``, k = 0 in the middle unless they start elsewhere."""
    first = -(len(values) // 2) if start is None else start
    axes.plot(step * (torch.arange(len(values)) + first), values, color=colour, lw=1.2, **style)


def _image(axes: Any, plane: Tensor, step: Sequence[float], **style: Any) -> Any:
    """A plane (rows, columns) with k = 0 in the middle, k times ``step`` along its axes."""
    (top, bottom), (left, right) = (
        ((-(n // 2) - 0.5) * width, (n - n // 2 - 0.5) * width) for n, width in zip(plane.shape, step, strict=True)
    )
    return axes.imshow(plane.numpy(), extent=(left, right, bottom, top), interpolation="nearest", **style)


def _centre(volume: Tensor) -> Tensor:
    """The plane through the middle of three dimensions; a plane as it is."""
    return volume[len(volume) // 2] if volume.ndim == 3 else volume


def _crop(kernel: Tensor) -> Tensor:
    """The lags up to ``_LAGS`` of a kernel whose middle is lag 0."""
    for axis, side in enumerate(kernel.shape):
        low = max(0, side // 2 - _LAGS)
        kernel = kernel.narrow(axis, low, min(side, side // 2 + _LAGS + 1) - low)
    return kernel


def _slice(preview: NoisePreview) -> str:
    return " (middle slice)" if len(preview.shape) == 4 else ""


def _log_scale(gain: Tensor) -> Any:
    """The logarithmic colour scale of positive gains, a tenth around them where all are equal."""
    from matplotlib.colors import LogNorm

    low, high = gain[gain > 0].min().item(), gain.max().item()
    return LogNorm(low, high) if high > 1.001 * low else LogNorm(low / 1.1, high * 1.1)


def _plain_ticks(axis: Any, low: float, high: float) -> None:
    """Plain numbers; even steps where a logarithmic axis covers less than a factor of five."""
    from matplotlib.ticker import MaxNLocator, NullLocator

    log_axis(axis, low, high)
    if high < 5 * low:
        axis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axis.set_minor_locator(NullLocator())
