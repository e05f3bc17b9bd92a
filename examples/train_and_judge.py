"""A short training, judged: the network predicts more than half of the noise, its samples are worse than none at all.

The data follow a law that is known, x = √D ξ v, so the network can be compared with the exact one, direction by
direction, with no sampler in between. A sampler adds those errors up, which the loss does not say: put distances beside
those of generating nothing.

python examples/train_and_judge.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import scoregrain as sg


def main(steps: int = 400, n: int = 500) -> tuple[str, float, float]:
    law = "rank-one:basis=dct-ii,index=17"  # x = √D ξ v, v one vector of the cosine basis
    with tempfile.TemporaryDirectory() as folder:
        config = sg.TrainConfig(model="mlp-16", data=law, steps=steps, seed=0, out=Path(folder) / "run")
        run = sg.train(config, progress=False)
        headline = sg.evaluate(run, n=n, steps=25, features=None).headline
    print(f"samples: {headline}")

    known = run.law
    exact = sg.GaussianScore(known.mean, known.covariance, run.process)
    basis = sg.probing_basis("dct-ii", run.shape)
    errors = sg.direction_error(run.model, run.process, run.data().held_out.pixels[:n], basis, exact=exact)
    along = errors.excess.mean[17].item()
    off = (errors.excess.mean.sum().item() - along) / (len(basis) - 1)
    print(f"network: excess error of the noise it predicts (of 1): {along:.2f} along the data, {off:.2f} off the data")
    return headline, along, off


if __name__ == "__main__":
    main()
