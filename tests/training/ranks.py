"""What each rank of ``test_ranks.py`` runs: the trainings named there, one after the other, into one folder each."""

import sys
import warnings
from pathlib import Path

import torch

from scoregrain._errors import InvalidInputError
from scoregrain.training import train
from tests.training.cases import config, flat, rotation

CASES = {
    "plain": {},
    "accumulated, shaped, rotated": {"accumulation": 2, "noise": "power-law:alpha=-0.5", "rotation": rotation()},
    "cosine": {"lr_schedule": "cosine", "warmup": 3, "mixed_precision": "bf16"},
}


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for name, changes in CASES.items():
        run = train(config(out=folder / name, **changes), progress=False)
        parameters = [torch.empty_like(flat(run.model)) for _ in range(2)]
        torch.distributed.all_gather(parameters, flat(run.model))
        assert torch.equal(*parameters)  # every rank returns the run
    train(config(out=folder / "resumed", steps=5))
    train(config(out=folder / "resumed"), resume=True)
    try:
        train(config(out=folder / "uneven", batch_size=9))
    except InvalidInputError as error:
        (folder / f"refused-{torch.distributed.get_rank()}").write_text(str(error))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
