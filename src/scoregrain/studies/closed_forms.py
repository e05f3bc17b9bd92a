"""Propositions 1–3 of the first paper against plain sampling, and where their conditions break (MATH A6, C1.4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from scoregrain._random import stream
from scoregrain.geometry import Geometry, measure_geometry
from scoregrain.metrics.statistics import paired_comparison
from scoregrain.models import DiT, NetworkFamily
from scoregrain.models.presets import build_diffusers, unet_config
from scoregrain.studies.directions import haar
from scoregrain.studies.drawing import COLOURS
from scoregrain.studies.equivalence import within
from scoregrain.studies.families import AWARE_GROUPS, study_family
from scoregrain.studies.last_layers import LAYERS, SHAPE, off_form
from scoregrain.studies.study import Cell, Claim, Finding, Material, Rows, Study, Table, word_for
from scoregrain.studies.summaries import Floats, with_error

if TYPE_CHECKING:
    from matplotlib.figure import Figure


MARGIN = 0.01
"""Of squared deviations, relative to the squared Frobenius norm: a tenth of the matrix."""


@dataclass(frozen=True)
class Subject:
    """A family of networks, measured by plain sampling, and the closed form of its last layer.

    Attributes:
        proposition: Of its last layer.
        words: What it is.
        sampled: The family whose networks are drawn.
        predicted: The family the closed form is of.
        patch: Side of its tokens' patches.
        holds: The closed form applies.
        keeps_form: The eigenspaces are the predicted ones.
        more: Times the networks of the others are drawn: of several channels there is more to estimate.
    """

    proposition: int
    words: str
    sampled: Callable[[], NetworkFamily]
    predicted: Callable[[], NetworkFamily]
    patch: int = 0
    holds: bool = True
    keeps_form: bool = True
    more: int = 1


def colour_unet() -> NetworkFamily:
    """The U-Net of the studies with three channels, for Proposition 2 is about several."""
    config = unet_config(8, 3, 3, 1, AWARE_GROUPS)
    return NetworkFamily(partial(build_diffusers, "UNet2DModel", config), (3, 8, 8), name="unet-8:channels=3")


def changed(name: str, change: Callable[[DiT], object]) -> NetworkFamily:
    """A transformer of the studies, changed after it is built."""
    family = study_family(name)

    def build() -> nn.Module:
        network = family.build()
        assert isinstance(network, DiT)
        with torch.no_grad():
            change(network)
        return network

    return NetworkFamily(build, family.shape, name=f"{name}, changed")


def shallow() -> NetworkFamily:
    """DiT/4 of a single block: blocks start as the identity, so that their number is nothing to the closed form."""
    return NetworkFamily(partial(DiT, size=8, patch=4, depth=1), (1, 8, 8), name="dit-8/4, one block")


def _of(name: str) -> Callable[[], NetworkFamily]:
    return partial(study_family, name)


NETWORKS: dict[str, Subject] = {
    "dit-8/2": Subject(3, "the transformer DiT/2", _of("dit-8/2"), _of("dit-8/2"), 2),
    "dit-8/4:shallow": Subject(3, "DiT/4 of one block", shallow, _of("dit-8/4"), 4),
    "dit-8/4": Subject(3, "the transformer DiT/4", _of("dit-8/4"), _of("dit-8/4"), 4),
    "mlp-8": Subject(1, "a multi-layer perceptron", _of("mlp-8"), _of("mlp-8")),
    "vit-8/4": Subject(3, "a vision transformer", _of("vit-8/4"), _of("vit-8/4"), 4),
    "unet-8:channels=3": Subject(2, "a U-Net of three channels", colour_unet, colour_unet, more=4),
    "dit-8/4:weights": Subject(
        3,
        "DiT/4 whose last weights have a mean, behind a LayerNorm",
        lambda: changed("dit-8/4", lambda network: network.final.weight.add_(0.2)),
        _of("dit-8/4"),
        4,
    ),
    "dit-8/4:bias": Subject(
        3,
        "DiT/4 whose last bias has a mean",
        lambda: changed("dit-8/4", lambda network: network.final.bias.add_(0.5)),
        _of("dit-8/4"),
        4,
        False,
        False,
    ),
}
"""By name; the closed forms of transformers with adaLN-zero are exact, the others need features of sampled networks."""

TINIEST = 1e-6
"""Deviations below it, negative ones among them, count as this where their logarithm is judged."""


@dataclass(frozen=True, kw_only=True)
class ClosedFormsStudy(Study):
    """Deviations are estimated without bias, from two independent halves: ⟨Ĝ_1 - G, Ĝ_2 - G⟩_F / ‖G‖_F².

    It is zero on average where the closed form G is right, however few draws there are. The same product of what the
    halves have besides the form (α I + β 1 1ᵀ; I_C ⊗ A + 1 1ᵀ ⊗ B; A ⊗ I_L) asks for multiplicities alone.

    Attributes:
        layers: Last layers on fixed features, by name.
        networks: Whole families, by name.
        seeds: Features, layers and networks.
        draws: Layers drawn for one cell.
        count: Networks drawn for one cell, and for the closed form where it needs them; :attr:`Subject.more` times.
    """

    name: ClassVar[str] = "closed-forms"
    title: ClassVar[str] = "Propositions 1–3: closed forms of the geometry"
    settings: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "tiny": {"seeds": 4, "draws": 4000, "count": 1024, "networks": ("dit-8/4:shallow",)},
        "small": {},
    }

    layers: tuple[str, ...] = tuple(LAYERS)
    networks: tuple[str, ...] = tuple(NETWORKS)
    seeds: int = 6
    draws: int = 20_000
    count: int = 2048

    def cells(self) -> list[Cell]:
        """Layers and networks by seed."""
        return [{"case": case, "seed": seed} for seed in range(self.seeds) for case in (*self.layers, *self.networks)]

    def claims(self) -> list[Claim]:
        """The propositions where they apply, what remains of them, and every broken condition as a control."""
        paper, ours = "first paper, Proposition {}", "here"
        rule = f"Student's 95 % interval over seeds below {MARGIN:g}"
        deviation = f"squared relative deviation of sampled layers from the formula, the worst case; {rule}"
        texts = {
            "mlp": ("Rows that are iid give α I + β 1 1ᵀ with the α and β of the formula.", paper.format(1), deviation),
            "cnn": (
                "Filters that are iid give I_C ⊗ A + 1 1ᵀ ⊗ B, under any padding.",
                paper.format(2),
                deviation,
            ),
            "tokens": ("Tokens that share weights of mean zero give Q (A ⊗ I_L) Qᵀ.", paper.format(3), deviation),
            "exact": (
                "The geometry of untrained adaLN-zero transformers is the closed form, which no sampling enters.",
                ours,
                f"squared relative deviation of sampled networks from it, the worst family; {rule}",
            ),
            "networks": (
                "Integrating the last layer out gives the geometry that plain sampling of networks gives.",
                ours,
                f"squared relative deviation, from other networks, the worst family; {rule}",
            ),
            "form": (
                "Multiplicities outlive the formulas: where only those break, the eigenspaces stay.",
                ours,
                f"squared relative part besides the form, the worst case of those; {rule}",
            ),
        }
        found = [Claim(key, *texts[key]) for key, cases in self._groups().items() if cases]
        rejected = (
            f"log10 of the squared relative deviation over {MARGIN:g}, seeds below {TINIEST:g} counted as that; fails"
            " only where Student's 95 % interval over seeds is above 0"
        )
        for case in self._broken():
            text = f"The closed form holds for {_words(case)} too."
            found.append(Claim(f"broken-{case}", text, ours, rejected, control=True))
        return found

    def _cases(self) -> tuple[str, ...]:
        return (*self.layers, *self.networks)

    def _broken(self) -> list[str]:
        return [case for case in self._cases() if not _subject(case).holds]

    def _groups(self) -> dict[str, list[str]]:
        """Which cases a claim is about."""
        sound = [case for case in self._cases() if _subject(case).holds]
        found = {
            key: [case for case in sound if case in LAYERS and case.startswith(key)] for key in ("mlp", "cnn", "tokens")
        }
        found["exact"] = [case for case in sound if case.startswith("dit")]
        found["networks"] = [case for case in sound if case in NETWORKS and not case.startswith("dit")]
        found["form"] = [case for case in self._broken() if _subject(case).keeps_form]
        return found

    def run(self, cell: Cell, material: Material) -> dict[str, Any]:
        """Squared deviations from the formula and from the form; of layers also the mean square of z-scores."""
        case, seed = str(cell["case"]), int(cell["seed"])
        if case in LAYERS:
            return self._layer(case, seed)
        subject = NETWORKS[case]
        family = subject.sampled()
        halves = _halves(measure_geometry(family, self.count * subject.more, seed=seed, estimator="plain"))
        predicted = (_predicted(case),) * 2 if case.startswith("dit") else self._closed(subject, seed)
        return compared(halves, predicted, subject.proposition, family.shape, subject.patch)

    def _closed(self, subject: Subject, seed: int) -> tuple[Tensor, Tensor]:
        """The closed form, by features of two sets of networks that the sampled ones are not among."""
        count = self.count * subject.more
        return _halves(measure_geometry(subject.predicted(), count, seed=seed, first=count))

    def _layer(self, case: str, seed: int) -> dict[str, Any]:
        layer = LAYERS[case]
        outputs = layer.draw(self.draws, seed, stream(seed, "layers"))
        first, second = outputs.chunk(2)
        halves = (first.T @ first / len(first), second.T @ second / len(second))
        predicted = layer.predict(seed)
        values = compared(halves, (predicted, predicted), layer.proposition, SHAPE)
        return values | {"z_squared": z_squared(outputs, predicted, seed)}

    def findings(self, rows: Rows) -> list[Finding]:
        """The worst case of each claim; one finding for each control."""
        groups, found = self._groups(), []
        for claim in self.claims():
            if claim.control:
                found.append(
                    _rejected(claim, rows.where(case=claim.key.removeprefix("broken-")).array("deviation", "seed"))
                )
                continue
            name = "besides_form" if claim.key == "form" else "deviation"
            values = {case: rows.where(case=case).array(name, "seed") for case in groups[claim.key]}
            upper = {case: _upper(each) for case, each in values.items()}
            worst = max(upper, key=lambda case, upper=upper: upper[case])  # type: ignore[misc]
            found.append(
                within(claim, values[worst], -math.inf, MARGIN, note=f"worst of {len(upper)}: {_words(worst)}")
            )
        return found

    def tables(self, rows: Rows) -> list[Table]:
        """All cases, those the closed forms apply to first."""
        listed = []
        for case in sorted(self._cases(), key=lambda case: not _subject(case).holds):
            here, subject = rows.where(case=case), _subject(case)
            if not len(here):
                continue
            z = with_error([row["z_squared"] for row in here]) if case in LAYERS else "–"
            listed.append(
                (
                    str(subject.proposition),
                    _words(case),
                    "applies" if subject.holds else "broken",
                    with_error(here.array("deviation", "seed")),
                    with_error(here.array("besides_form", "seed")),
                    z,
                    f"{here[0]['distinct']} of {here[0]['size']}",
                )
            )
        return [
            Table(
                "Sampled geometry against the closed form, mean ± standard error over seeds",
                (
                    *("proposition", "last layer or network", "conditions", "squared deviation", "besides the form"),
                    *("mean z²", "distinct eigenvalues predicted"),
                ),
                tuple(listed),
                "Squared deviations are relative to the squared norm and unbiased, so they may be negative. z: of"
                " sampled energies along random orthonormal directions, in standard errors; about 1 where the formula"
                " is right.",
            )
        ]

    def figure(self, rows: Rows) -> Figure:
        """Deviations from formula and form, with their range over seeds, on a scale that is linear below the margin."""
        from matplotlib.figure import Figure

        cases = sorted(
            (case for case in self._cases() if rows.where(case=case)), key=lambda case: not _subject(case).holds
        )
        figure = Figure(figsize=(9.5, 0.3 * len(cases) + 1.4), layout="constrained")
        axis = figure.subplots()
        for k, (name, label) in enumerate((("deviation", "from the formula"), ("besides_form", "from its form"))):
            many = [rows.where(case=case).array(name, "seed") for case in cases]
            ends = np.array([[each.mean() - each.min(), each.max() - each.mean()] for each in many]).T
            place = np.arange(len(cases)) + 0.2 * (2 * k - 1)
            axis.errorbar(
                [each.mean() for each in many], place, xerr=ends, fmt="os"[k], color=COLOURS[k], ms=4, label=label
            )
        axis.axvline(MARGIN, color="k", lw=0.7, ls=":")
        axis.axvline(0, color="k", lw=0.7)
        axis.axhline(sum(_subject(case).holds for case in cases) - 0.5, color="k", lw=0.5)
        axis.set_xscale("symlog", linthresh=MARGIN)
        axis.set_yticks(range(len(cases)), [_words(case) for case in cases], fontsize=8)
        axis.set(xlabel="squared relative deviation, mean and range over seeds (dotted: margin)")
        axis.invert_yaxis()
        axis.legend(frameon=False)
        axis.set_title("above the line the conditions hold, below it one is broken", fontsize=10)
        return figure


def compared(
    halves: tuple[Tensor, Tensor],
    predicted: tuple[Tensor, Tensor],
    proposition: int,
    shape: tuple[int, ...],
    patch: int = 2,
) -> dict[str, Any]:
    """Return unbiased squared deviations of a second moment from a prediction, and from its form.

    Args:
        halves: The second moment, from independent draws, (D, D) each.
        predicted: The prediction, exact or from independent draws, (D, D) each.
        proposition: 1, 2 or 3.
        shape: (C, *space).
        patch: Side of a token's patch.
    """
    scale = float((predicted[0] * predicted[1]).sum())
    differences = [half - given for half, given in zip(halves, predicted, strict=True)]
    rest = [off_form(half, proposition, shape, patch) for half in halves]
    values = torch.linalg.eigvalsh(predicted[0])
    return {
        "deviation": float((differences[0] * differences[1]).sum()) / scale,
        "besides_form": float((rest[0] * rest[1]).sum()) / float((halves[0] * halves[1]).sum()),
        "distinct": 1 + int((values.diff() > 1e-9 * values[-1]).sum()),
        "size": math.prod(shape),
    }


def z_squared(outputs: Tensor, predicted: Tensor, seed: int) -> float:
    """Mean over an orthonormal basis of the squared distance of E (u·o)² from uᵀ G u, in standard errors."""
    basis = haar(outputs.shape[1], seed)
    energies = (outputs @ basis).square()
    expected = torch.einsum("ik,ij,jk->k", basis, predicted, basis)
    z = (energies.mean(0) - expected) / energies.std(0) * math.sqrt(len(outputs))
    return float(z.square().mean())


def _rejected(claim: Claim, deviations: Floats) -> Finding:
    """A control, which fails only where its deviation is seen to exceed the margin; missing numbers decide nothing."""
    logs = np.log10(np.where(deviations < TINIEST, TINIEST, deviations) / MARGIN)
    found = within(claim, logs, -math.inf, 0)
    if found.interval is None:
        return found
    seen = found.interval[0] > 0
    return replace(found, word=word_for(claim, not seen, seen))


def _subject(case: str) -> Any:
    return LAYERS[case] if case in LAYERS else NETWORKS[case]


def _words(case: str) -> str:
    words: str = _subject(case).words
    return words


def _halves(geometry: Geometry) -> tuple[Tensor, Tensor]:
    first, second = geometry.halves()
    return first.matrix(), second.matrix()


@cache
def _predicted(case: str) -> Tensor:
    """The closed form that is exact, once in a process."""
    return measure_geometry(NETWORKS[case].predicted(), 32).matrix()


def _upper(values: Floats) -> float:
    """Upper end of Student's interval; infinite where there is none, so that nothing missing looks good."""
    if len(values) < 2 or not np.isfinite(values).all():
        return math.inf
    return paired_comparison(values).t_interval[1]
