"""How the patch size of a transformer sets its grain: exact geometries, no sampling at all.

python examples/patch_size.py
"""

from __future__ import annotations

import scoregrain as sg


def main() -> dict[str, float]:
    alignments = {}
    for name in ("dit-16/2", "dit-16/4", "dit-16/8"):
        family = sg.NetworkFamily.from_preset(name)
        geometry = sg.measure_geometry(family)  # closed form: exact for adaLN-zero transformers
        null = len(geometry.clusters[-1].indices)
        images = sg.load_images("digits", shape=family.shape)
        alignment = sg.measure_alignment(geometry, sg.data_geometry(images))
        print(f"{name}: {geometry.size - null} directions, null space {null}; {alignment.headline()}")
        alignments[name] = alignment.of_chance
    return alignments


if __name__ == "__main__":
    main()
