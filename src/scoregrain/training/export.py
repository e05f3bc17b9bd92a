"""The run folder as a stock diffusers pipeline with a model card (ARCHITECTURE 4, "Artefacts")."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from scoregrain._folders import explained
from scoregrain.noise import White
from scoregrain.training import log
from scoregrain.training.card import model_card
from scoregrain.training.setup import Setup

INDEX = "model_index.json"
PREDICTIONS = ("epsilon", "v_prediction", "sample")
"""What diffusers' ``DDPMScheduler`` can read."""


def export(folder: Path, setup: Setup, network: nn.Module, step: int) -> None:
    """Write what makes a run folder a ``DDPMPipeline`` folder with a model card; an older one is replaced.

    Under white noise without a rotation all its classes are diffusers' own; else ``import scoregrain`` comes before
    loading. Of what no ``DDPMPipeline`` can sample only the card is written, which says why.

    Args:
        folder: The run's.
        setup: What was trained.
        network: The network whose samples count, not wrapped in its rotation.
        step: Updates it has seen.

    Raises:
        ScoregrainError: They cannot be written; half-replaced, the folder is no pipeline.
    """
    reason = no_pipeline(setup, network)
    with explained(folder), _workshop(folder) as new:
        if reason is None:
            _write_pipeline(setup, network, new)
        (new / "README.md").write_text(model_card(folder, setup, log.read(folder), step, reason))
        _replace(new, folder)


def no_pipeline(setup: Setup, network: nn.Module) -> str | None:
    """Return why no ``DDPMPipeline`` can sample from a network; None where one can."""
    kind, prediction = type(network), setup.process.prediction
    if (kind.__name__, kind.__module__.partition(".")[0]) != ("UNet2DModel", "diffusers"):
        return "its network is no diffusers UNet2DModel"
    if prediction not in PREDICTIONS:
        return f"DDPMScheduler does not know the prediction {prediction}"
    return None


@contextmanager
def _workshop(run: Path) -> Iterator[Path]:
    """A folder inside a run that is gone at the end, as is one that a killed process left."""
    new = run / ".export"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        yield new
    finally:
        shutil.rmtree(new, ignore_errors=True)


def _replace(new: Path, run: Path) -> None:
    """Move all in, the index last: what is half-replaced has none, and diffusers loads no mixture."""
    (run / INDEX).unlink(missing_ok=True)
    for path in sorted(new.iterdir(), key=lambda path: path.name == INDEX):
        target = run / path.name
        if target.is_dir():  # a rename does not replace a folder that holds something
            target.rename(new / f"old {path.name}")
        path.replace(target)


def _write_pipeline(setup: Setup, network: nn.Module, folder: Path) -> None:
    from diffusers import DDPMPipeline

    DDPMPipeline(_unet(setup, network), _scheduler(setup)).save_pretrained(folder, safe_serialization=True)
    for file in folder.rglob("*.safetensors"):
        file.chmod(0o644)  # safetensors writes it for the owner alone


def _unet(setup: Setup, network: nn.Module) -> nn.Module:
    """A copy of a U-Net on the CPU, its rotation with it, with nothing in its configuration of where it came from."""
    from diffusers import UNet2DModel

    config: Any = network.config
    channels, *space = setup.family.shape
    arguments = {key: value for key, value in config.items() if not key.startswith("_")}
    arguments |= {"in_channels": channels, "sample_size": space[0] if len(set(space)) == 1 else space}
    copy: nn.Module
    if setup.rotation is None:
        copy = inner = UNet2DModel.from_config(arguments)
    else:
        from scoregrain.training.rotated import RotatedUNet2DModel

        copy = RotatedUNet2DModel.around(arguments, setup.rotation)
        inner = copy.unet
    inner.load_state_dict(network.state_dict())
    return copy.eval()


def _scheduler(setup: Setup) -> Any:
    """The scheduler that draws what ``sampler="ddpm"`` draws; with fewer steps, those visited are rounded, not cut."""
    steps, process = setup.process.num_steps, setup.process
    betas: dict[str, dict[str, Any]] = {
        "linear": {"beta_schedule": "linear", "beta_start": 0.1 / steps, "beta_end": 20 / steps},
        "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    }
    options = betas[process.schedule.name] | {
        "num_train_timesteps": steps,
        "prediction_type": process.prediction,
        "clip_sample": False,
        "timestep_spacing": "linspace",
    }
    if isinstance(process.noise.weight, White):
        from diffusers import DDPMScheduler

        return DDPMScheduler(**options)
    from scoregrain.diffusion.schedulers import ShapedDDPMScheduler

    return ShapedDDPMScheduler(process.noise, **options)
