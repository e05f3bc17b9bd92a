"""Theorem 1 of the first paper, simulated: what descent and its noise do to a linear score model (MATH A4, C5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from scoregrain.geometry import measure_geometry
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.equivalence import exact
from scoregrain.studies.families import study_family
from scoregrain.studies.linear_chains import (
    LinearProblem,
    gradient_traces,
    measured_rates,
    stationary_closed_form,
    stationary_errors,
    times_to,
)
from scoregrain.studies.linear_claims import controls, of_descent, of_noise
from scoregrain.studies.linear_statistics import (
    EXACT,
    MOST,
    SAMPLED,
    ends,
    lead,
    numbers,
    order,
    outcomes,
    own_error,
    rate_error,
    share_of_few,
    spread_of_others,
    worst_within,
)
from scoregrain.studies.study import Cell, Claim, Finding, Material, Row, Rows, Study, Table
from scoregrain.studies.summaries import with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = 16
"""Directions of the spectra other than the oracle's."""

SPECTRA: dict[str, Callable[[], Tensor]] = {
    "oracle": lambda: torch.tensor([8.0, 5.0, 3.0, 2.0, 1.0], dtype=torch.float64),
    "geometric": lambda: torch.logspace(0, -1.2, SIZE, dtype=torch.float64),
}
"""Spectra by name; any other name is a family, whose measured one is used at ``SIZE`` evenly spaced ranks."""

SHARE, PLACES = 20, 4
"""Stationary errors are simulated along so many directions, of eigenvalues down to the largest over this: the time that
a direction takes to relax is inverse to its eigenvalue."""


@dataclass(frozen=True, kw_only=True)
class LinearDSMStudy(Study):
    """Every step and every gradient is simulated with Φ, Θ and examples in bases of their own; formulas only judge.

    Attributes:
        spectra: Of the geometry A = ΦΦᵀ: names of ``SPECTRA``, or families.
        sigmas: Noise levels.
        seeds: Bases, starts and examples.
        networks: Measured for the spectrum of a family.
        draws: Examples for one covariance of gradients.
        chains: SGD chains for one stationary error.
    """

    name: ClassVar[str] = "linear-dsm"
    title: ClassVar[str] = "Theorem 1: linear denoising score matching"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"seeds": 3, "spectra": ("oracle", "unet-8"), "sigmas": (1.0,), "networks": 256, "draws": 10_000},
        "small": {"seeds": 8, "draws": 40_000},
    }

    spectra: tuple[str, ...] = ("oracle", "geometric", "unet-8")
    sigmas: tuple[float, ...] = (0.5, 1.0, 2.0)
    seeds: int = 8
    networks: int = 2000
    draws: int = 20_000
    chains: int = 32

    def cells(self) -> list[Cell]:
        """Spectra, noise levels and seeds."""
        return [
            {"spectrum": spectrum, "sigma": sigma, "seed": seed}
            for seed in range(self.seeds)
            for spectrum in self.spectra
            for sigma in self.sigmas
        ]

    def material(self) -> Material:
        """The spectra, each with its largest eigenvalue one, but for the oracle's."""
        return {name.replace("/", "-"): self._spectrum(name) for name in self.spectra}

    def _spectrum(self, name: str) -> Tensor:
        if name in SPECTRA:
            return SPECTRA[name]()
        values = measure_geometry(study_family(name), self.networks).eigenvalues
        chosen = torch.linspace(0, len(values) - 1, SIZE).round().long()
        return values[chosen] / values[0]

    def claims(self) -> list[Claim]:
        """Theorem 1, what the conjecture makes of it, the noise of SGD, and shaped noise."""
        return [*of_descent(), *of_noise(), *controls()]

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Rates, times, gradients and stationary errors for data along every direction."""
        values, sigma, seed = material[str(cell["spectrum"]).replace("/", "-")], float(cell["sigma"]), int(cell["seed"])
        white = LinearProblem.draw(values, sigma, seed)
        shaped = LinearProblem.draw(values, sigma, seed, (1 / values) / (1 / values).mean())
        tied = LinearProblem.draw(torch.cat([values[:-1], values[-2:-1]]), sigma, seed)
        whole, along = times_to(white, 0.1)
        theta, function = gradient_traces(white, self.draws, seed)
        return {
            "eigenvalues": values.tolist(),
            "rates": _slowest(white).tolist(),
            "rates_tied": _slowest(tied).tolist(),
            "rates_shifted": _slowest(white, white.start(1.0, seed)).tolist(),
            "off_data": _off_data(white),
            "off_data_shaped": _off_data(shaped),
            "times": whole.tolist(),
            "times_along": along.tolist(),
            "traces": theta.tolist(),
            "traces_function": function.tolist(),
            "traces_white": gradient_traces(white, self.draws, seed, "epsilon")[0].tolist(),
            "traces_shaped": gradient_traces(shaped, self.draws, seed, "epsilon")[0].tolist(),
            **self._stationary(white, seed),
        }

    def _stationary(self, problem: LinearProblem, seed: int) -> dict[str, Any]:
        values = problem.eigenvalues
        usable = int((values >= values[0] / SHARE).sum())
        places = sorted({round(k * (usable - 1) / (PLACES - 1)) for k in range(PLACES)})
        rate = 0.05 / (1 + len(values) * problem.sigma**2) / float(values[0])
        found = stationary_errors(problem, places, rate, self.chains, seed, (4, 6))
        return {
            "places": places,
            "stationary": found.tolist(),
            "stationary_predicted": stationary_closed_form(problem, places, rate).tolist(),
        }

    def findings(self, rows: Rows) -> list[Finding]:
        """Worst cases, of what is exact over cells and of what is sampled over spectra and levels."""
        claim = {each.key: each for each in self.claims()}
        cells = len(rows)
        off = [[np.nan if row[name] is None else row[name] for row in rows] for name in ("off_data", "off_data_shaped")]
        note = f"max / min - 1 under white noise at least {min(off[0]) - 1:.3g}"
        worst: dict[str, tuple[float, float, float, str]] = {
            "rates": (_largest(rows, rate_error), 0, EXACT, ""),
            "smallest": (-_largest(rows, lambda row: -lead(row)), EXACT, np.inf, ""),
            "others": (_largest(rows, spread_of_others), 0, EXACT, ""),
            "shaped": (float(np.max(off[1])) - 1, 0, EXACT, note),
            "tied": (_largest(rows, lambda row: lead(row, "rates_tied")), EXACT, np.inf, ""),
            "shifted": (_largest(rows, lambda row: lead(row, "rates_shifted")), EXACT, np.inf, ""),
            "own-eigenvalue": (-_largest(rows, lambda row: -own_error(row)), 0, EXACT, ""),
            "time-few": (-_largest(rows, lambda row: -share_of_few(row)), MOST, np.inf, ""),
        }
        for key, name, least in (("time", "times", 0), ("along", "times_along", EXACT)):
            orders = [order(row, name) for row in rows]
            ratios = [ends(row, name) for row in rows]
            said = f"largest ρ {max(orders):.3g}; time u_1 over u_D {min(ratios):.3g} to {max(ratios):.3g}"
            worst[key] = (float(np.min(orders)), least, 1, said)
        found = {
            key: exact(claim[key], value, low, high, cells, note=note)
            for key, (value, low, high, note) in worst.items()
        }
        for key, statistic, low, high in SAMPLED:
            found[key] = worst_within(claim[key], rows, statistic, low, high)
        return [found[each.key] for each in self.claims()]

    def tables(self, rows: Rows) -> list[Table]:
        """Rates with their conditions broken; noise of SGD; white noise beside shaped noise."""
        where = [(spectrum, sigma) for spectrum in self.spectra for sigma in self.sigmas]
        rates, noise = [], []
        for spectrum, sigma in where:
            here = rows.where(spectrum=spectrum, sigma=sigma)
            if not len(here):
                continue
            row, place = here[0], (spectrum, f"{sigma:g}")
            unit = sigma**2 * numbers(row, "eigenvalues")
            slowest, shifted, tied = (numbers(row, name) for name in ("rates", "rates_shifted", "rates_tied"))
            scaled = [slowest[0] / unit[-1], slowest[-1] / unit[-1], shifted[-1] / unit[-1], tied[-1] / unit[-2]]
            spans = [ends(row, name) for name in ("times", "times_along")]
            spans += [np.nan if row[name] is None else row[name] for name in ("off_data", "off_data_shaped")]
            rates.append((*place, *(f"{each:.3f}" for each in scaled), *(f"{each:.3g}" for each in spans)))
            noise.append((*place, *(with_error([statistic(each) for each in here]) for _, statistic, *_ in SAMPLED)))
        return [
            Table(
                "Rates of gradient descent, in units of σ²λ_D",
                (
                    *("spectrum", "σ", "ρ_1", "ρ_D", "ρ_D, shifted start", "ρ_D, λ_D = λ_{D-1}"),
                    *("time u_1 / u_D", "along data", "off data max / min", "same, s ∝ 1/λ"),
                ),
                tuple(rates),
                "Times are those until a tenth of the mean error, and of its part along the data, is left.",
            ),
            Table(
                "Noise of SGD: slopes on log λ_i and ratios to closed forms, mean ± standard error over seeds",
                (
                    *("spectrum", "σ", "∇_Θ slope", "Φ∇ slope", "∇_Θ / predicted", "stationary / predicted"),
                    *("stationary slope", "log spread, shaped / white", "reversed labels, slope"),
                ),
                tuple(noise),
                f"Stationary errors are simulated along {PLACES} directions at most, of eigenvalues down to 1/{SHARE}"
                f" of the largest: {_places(rows)}.",
            ),
        ]

    def figure(self, rows: Rows) -> Figure:
        """Times, gradients' noise and stationary errors against the eigenvalue, at one noise level."""
        from matplotlib.figure import Figure

        sigma = 1.0 if 1.0 in self.sigmas else self.sigmas[0]
        figure = Figure(figsize=(12, 3.8), layout="constrained")
        times, noise, off = figure.subplots(1, 3)
        for colour, spectrum in zip(COLOURS, self.spectra, strict=False):
            here = rows.where(spectrum=spectrum, sigma=sigma)
            if not len(here):
                continue
            values = np.array(here[0]["eigenvalues"]) / here[0]["eigenvalues"][0]
            for name, style in (("times", "o-"), ("times_along", "^:")):
                many = outcomes(here, name) * here[0]["eigenvalues"][-1] * sigma**2
                times.plot(values, many.mean(0), style, color=colour, ms=4)
            traces = outcomes(here, "traces") / np.array(here[0]["traces"][0])
            ends = outcomes(here, "traces_function") / np.array(here[0]["traces_function"][0])
            noise.errorbar(values, traces.mean(0), 2 * traces.std(0), fmt="o", color=colour, ms=4, label=spectrum)
            noise.errorbar(values, ends.mean(0), 2 * ends.std(0), fmt="^", color=colour, ms=4)
            for name, style in (("traces_white", "o-"), ("traces_shaped", "s:")):
                many = outcomes(here, name)
                off.errorbar(values, many.mean(0), 2 * many.std(0), fmt=style, color=colour, ms=4)
        line = np.array([1e-3, 1.0])
        noise.plot(line, line, "k-", lw=0.7, zorder=0)
        noise.plot(line, line**2, "k:", lw=0.7, zorder=0)
        times.set(ylabel="σ²λ_D × time to a tenth", title="● whole mean error, ▲ along the data")
        noise.set(yscale="log", ylabel="trace of the covariance, over u_1's", title="noise: ● ∇_Θ ∝ λ, ▲ Φ∇ ∝ λ²")
        off.set(yscale="log", ylabel="trace for the target ε", title="● white noise, ■ noise s ∝ 1/λ")
        for axis in (times, noise, off):
            axis.set(xscale="log", xlabel="eigenvalue λ_i / λ_1")
        noise.legend(frameon=False)
        times.set_yscale("log")
        figure.suptitle(
            f"Linear score matching at σ = {sigma:g}; bars: two standard deviations over seeds", fontsize=10
        )
        return figure


def _slowest(problem: LinearProblem, theta: Tensor | None = None, steps: int = 20) -> Tensor:
    """The rate at which the whole error fades, for data along each direction, (D,)."""
    return measured_rates(problem, problem.start() if theta is None else theta, steps).amin((1, 2))


def _off_data(problem: LinearProblem) -> float:
    """Largest over smallest rate along the directions off the data, over all directions of the data."""
    rates = measured_rates(problem, problem.start(), 2).diagonal(dim1=1, dim2=2)
    off = rates[~torch.eye(len(rates), dtype=torch.bool)]
    return float(off.max() / off.min())


def _places(rows: Rows) -> str:
    """How many directions stationary errors were simulated along, by spectrum."""
    found = {row["spectrum"]: len(row["places"]) for row in rows}
    return ", ".join(f"{spectrum} {count}" for spectrum, count in found.items())


def _largest(rows: Rows, statistic: Callable[[Row], float]) -> float:
    """The largest over cells; not a number where one is not."""
    return float(np.max([statistic(row) for row in rows]))
