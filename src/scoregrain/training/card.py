"""The model card of a run: what was trained on what and how, and how to sample from it; nothing about quality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from scoregrain._errors import InvalidInputError
from scoregrain.align import Rotation
from scoregrain.models import NetworkFamily, rebuild_family
from scoregrain.noise import White
from scoregrain.training.config import TrainConfig
from scoregrain.training.setup import Setup


def model_card(
    folder: Path, setup: Setup, history: Sequence[Mapping[str, Any]], step: int, no_pipeline: str | None
) -> str:
    """Return the text of ``README.md``, Markdown after YAML as the Hugging Face hub reads it.

    Args:
        folder: The run's; of its path only the name is told.
        setup: What was trained.
        history: The lines of the log.
        step: Updates made.
        no_pipeline: Why diffusers cannot load the folder; None where it can.
    """
    title = f"{setup.family.name} on {setup.data_name}"
    rows = "\n".join(f"| {key} | {_cell(value)} |" for key, value in _facts(setup, history, step).items())
    notes = "".join(f"- {_line(note)}\n" for note in setup.split.train.notes)
    return "\n".join(
        [
            _front_matter(setup, no_pipeline),
            f"# {_line(title)}\n",
            "A score network and the noise it was trained with, written by scoregrain.\n",
            f"| | |\n| --- | --- |\n{rows}\n",
            *([f"The data:\n\n{notes}"] if notes else []),
            "## How to sample\n",
            _with_diffusers(folder, setup, no_pipeline),
            _with_scoregrain(folder, setup.family),
            "## Limits\n",
            "Nobody has judged the samples yet: `scoregrain evaluate` compares them with the data, beside trivial"
            " baselines. A low loss does not say that they are good.",
            "",
        ]
    )


def _front_matter(setup: Setup, no_pipeline: str | None) -> str:
    lines = [f"library_name: {'diffusers' if no_pipeline is None else 'scoregrain'}"]
    if len(setup.family.shape) == 3:
        lines.append("pipeline_tag: unconditional-image-generation")
    return "\n".join(["---", *lines, "tags:", "- diffusion", "- scoregrain", "---", ""])


def _facts(setup: Setup, history: Sequence[Mapping[str, Any]], step: int) -> dict[str, str]:
    config, process, family = setup.config, setup.process, setup.family
    shape = " × ".join(map(str, family.shape))
    omission = "" if process.omission is None else f"; the band it leaves out: {process.omission}"
    return {
        "network": f"{family.name}, {shape}, predicts {process.prediction}",
        "data": f"{setup.data_name}: {len(setup.split.train)} arrays; {len(setup.split.held_out)} more held out",
        "noise": f"{process.noise}{omission}",
        "rotation": _rotation(setup.rotation),
        "noise schedule": f"{process.schedule.name}, {process.num_steps} steps",
        "updates": f"{step} of {config.steps}, {config.batch_size} arrays each",
        "optimizer": _optimizer(config),
        "weights": f"running mean (EMA), decay {config.ema:g}" if config.ema else "those of the last update",
        "precision": "float32" if config.mixed_precision == "no" else f"{config.mixed_precision} in the network",
        "seed": str(config.seed),
        "final loss": _loss(history),
    }


def _rotation(rotation: Rotation | None) -> str:
    if rotation is None:
        return "none"
    rank = "" if rotation.rank is None else f", rank {rotation.rank}"
    return f"the network sees W x; W is to {rotation.mode} the alignment{rank}"


def _optimizer(config: TrainConfig) -> str:
    words = [config.optimizer, f"learning rate {config.learning_rate:g} ({config.lr_schedule})"]
    words += [f"warm-up of {config.warmup} updates"] if config.warmup else []
    words += [f"weight decay {config.weight_decay:g}"] if config.optimizer == "adamw" else []
    words += [f"gradient norm at most {config.clip:g}"] if config.clip else []
    return ", ".join([*words, f"{config.weighting} loss"])


def _loss(history: Sequence[Mapping[str, Any]]) -> str:
    last = history[-1] if history else {}
    trained, held_out = (last.get(key) for key in ("loss", "held_out_loss"))
    told = "unknown" if trained is None else f"{trained:.4g}"
    return told if held_out is None else f"{told}, on held-out arrays {held_out:.4g}"


def _with_diffusers(folder: Path, setup: Setup, no_pipeline: str | None) -> str:
    if no_pipeline is not None:
        return f"diffusers cannot load this folder: {no_pipeline}.\n"
    stock = setup.rotation is None and isinstance(setup.process.noise.weight, White)
    lines = [] if stock else ["import scoregrain  # the scheduler or the network is its own"]
    lines += [
        "from diffusers import DDPMPipeline\n",
        f"pipeline = DDPMPipeline.from_pretrained({_name(folder)}, use_safetensors=True)",
        f"images = pipeline(batch_size=4, num_inference_steps={setup.process.num_steps}{_format(setup)}).images",
    ]
    cut = setup.split.train.pixels.abs().max() > 1
    caution = "\nThe pipeline cuts samples to [-1, 1], which these data leave: take scoregrain.\n" if cut else ""
    return _code(lines) + caution


def _with_scoregrain(folder: Path, family: NetworkFamily) -> str:
    known = _rebuildable(family)
    lines = [
        "import scoregrain as sg\n",
        f"run = sg.Run.load({_name(folder)}{'' if known else ', family=family'})",
        'samples = run.sample(4, sampler="ddim", steps=50)',
    ]
    told = "" if known else "\nThe network was built by code of its author's: `family` is its `sg.NetworkFamily`.\n"
    return _code(lines) + told


def _rebuildable(family: NetworkFamily) -> bool:
    """Is the family one that a file can name?"""
    try:
        rebuild_family(family.shape, family.prediction, family.init, family.name, family.config)
    except InvalidInputError:
        return False
    return True


def _format(setup: Setup) -> str:
    """What pillow cannot show comes as an array."""
    return "" if setup.family.shape[0] in (1, 3) else ', output_type="np"'


def _name(folder: Path) -> str:
    return repr(folder.resolve().name)


def _code(lines: Sequence[str]) -> str:
    return "\n".join(["```python", *lines, "```", ""])


def _line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _line(text).replace("|", "\\|")
