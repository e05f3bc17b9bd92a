"""Do these data run with the grain of a network, and how far could a rotation of the data change that?

python examples/with_or_against_the_grain.py
"""

from __future__ import annotations

import scoregrain as sg


def main(networks: int = 4000) -> sg.Alignment:
    family = sg.NetworkFamily.from_preset("unet-16")
    images = sg.load_images("digits", shape=family.shape)
    geometry = sg.measure_geometry(family, networks=networks)
    data = sg.data_geometry(images, name="digits")
    alignment = sg.measure_alignment(geometry, data)
    print(alignment.headline())

    # choose the rotation on one half of the networks, judge it on the other: the plug-in value flatters itself
    first, second = geometry.halves()
    rotation = sg.find_rotation(first, data, mode="minimize")
    rotated = sg.measure_alignment(second, data, rotation=rotation)
    print(f"rotated to the minimum: {rotated.of_chance:.3g} times chance")
    z = rotation(images.pixels[:4])
    assert rotation.inverse(z).allclose(images.pixels[:4], atol=1e-5)
    return alignment


if __name__ == "__main__":
    main()
