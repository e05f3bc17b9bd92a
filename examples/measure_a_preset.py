"""Measure an untrained network: its directions and how certain each is.

python examples/measure_a_preset.py
"""

from __future__ import annotations

import scoregrain as sg


def main(networks: int = 4000) -> sg.Geometry:
    family = sg.NetworkFamily.from_preset("unet-16")
    geometry = sg.measure_geometry(family, networks=networks, seed=0)
    print(geometry)
    print(f"trace {geometry.trace:.1f} ± {geometry.trace_error or float('nan'):.1f}, D = {geometry.size}")
    print(f"{geometry.identifiable} of {geometry.size} single directions are identifiable; the largest clusters:")
    for cluster in sorted(geometry.clusters, key=lambda c: -len(c.indices))[:3]:
        print(f"  {len(cluster.indices)} directions around λ = {cluster.value:.3g}, halves overlap {cluster.overlap}")
    # the single direction of smallest eigenvalue, (C, H, W): by the paper's conjecture the one modelled best
    alone = [c for c in geometry.clusters if c.identifiable and not c.null and len(c.indices) == 1]
    smallest = geometry.direction(alone[-1].indices[0])
    print(f"smallest identifiable: λ = {alone[-1].value:.3g} ± {alone[-1].error:.1g}, shape {tuple(smallest.shape)}")
    return geometry


if __name__ == "__main__":
    main()
