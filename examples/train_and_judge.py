"""Train a small network on data whose law is known, and ask two questions that have two different answers.

How far are its samples from the law, beside samples that took no training at all? And how far is the network itself from
the exact one, direction by direction, with no sampler in between?

python examples/train_and_judge.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import scoregrain as sg


def main(steps: int = 400, n: int = 500) -> tuple[float, float]:
    law = "rank-one:basis=dct-ii,index=17"  # x = √D ξ v, v one vector of the cosine basis
    with tempfile.TemporaryDirectory() as folder:
        config = sg.TrainConfig(model="mlp-16", data=law, steps=steps, seed=0, out=Path(folder) / "run")
        run = sg.train(config, progress=False)
        print(f"samples: {sg.evaluate(run, n=n, steps=25).headline}")

    known = run.law
    exact = sg.GaussianScore(known.mean, known.covariance, run.process)
    basis = sg.probing_basis("dct-ii", run.shape)
    errors = sg.direction_error(run.model, run.process, run.data().held_out.pixels[:n], basis, exact=exact)
    along = errors.excess.mean[17].item()
    off = (errors.excess.mean.sum().item() - along) / (len(basis) - 1)
    bayes = errors.bayes.mean[17].item()
    print(f"network: excess denoising error along the data {along:.3f} (unavoidable: {bayes:.3f}), off the data {off:.4f}")
    return along, off


if __name__ == "__main__":
    main()
