"""How real image sets run with the grain of the presets: the table of docs/results/README.md.

python -m benchmarks.alignment_of_data --models iddpm-16 unet-16 dit-16/4 --data digits mnist.npz cifar10.npz
"""

from __future__ import annotations

import argparse
from typing import Any

from benchmarks.common import report
from scoregrain import NetworkFamily, analyze, load_images, measure_geometry
from scoregrain.datasets import data_name


def row(family: NetworkFamily, geometry: Any, source: str) -> dict[str, Any]:
    """Numbers of one analysis."""
    images = load_images(source, shape=family.shape)
    summary = analyze(family, images, geometry=geometry).summary()
    keys = ("of_chance", "of_chance_error", "of_chance_minimum", "of_chance_maximum", "relative", "verdict")
    keys += ("haar_mean", "truncation")
    centred = summary["alignment_mean_removed"]
    return {
        "data": data_name(source),
        "images": len(images),
        **{key: summary["alignment"][key] for key in keys},
        "mean_share": summary["mean_image_share"],
        "mean_share_error": summary["mean_image_share_error"],
        "mean_removed": {key: centred[key] for key in keys},
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=["unet-16"])
    parser.add_argument("--data", nargs="+", default=["digits"])
    parser.add_argument("--networks", type=int, default=4000)
    parser.add_argument("--name", default="alignment_of_data")
    arguments = parser.parse_args()
    result = {}
    for name in arguments.models:
        family = NetworkFamily.from_preset(name)
        geometry = measure_geometry(family, arguments.networks)
        rows = [row(family, geometry, source) for source in arguments.data]
        result[name] = {"networks": geometry.count, "relative_error": geometry.relative_error, "rows": rows}
        for r in rows:
            print(f"| {name} | {r['data']} | {r['of_chance']:.3g} ± {r['of_chance_error']:.2g} | {r['verdict']} |")
    report(arguments.name, {"models": result})


if __name__ == "__main__":
    main()
