"""Judge samples: distances, spectra and energy, each with an error, and the trivial baselines beside them."""

from scoregrain.metrics.baselines import Baselines, Judgement, Verdict, decide, judge, make_baselines, verdict
from scoregrain.metrics.copying import Memorisation, memorisation
from scoregrain.metrics.directions import DirectionErrors, DirectionEstimate, direction_error
from scoregrain.metrics.energy import DirectionalEnergy, EnergyRatio, energy_along
from scoregrain.metrics.frechet import FrechetDistance, frechet_distance
from scoregrain.metrics.gaussian import GaussianW2, bures_distance, gaussian_w2
from scoregrain.metrics.modes import ModeCoverage, label_coverage, mode_coverage
from scoregrain.metrics.ranks import (
    PageTest,
    PermutationTest,
    RankCorrelation,
    kendall,
    pages_l,
    permutation_test,
    spearman,
)
from scoregrain.metrics.sliced import SlicedWasserstein, sliced_wasserstein
from scoregrain.metrics.spectra import RadialSpectrum, SpectralDistance, radial_spectrum
from scoregrain.metrics.statistics import PairedComparison, paired_comparison, reliability, two_level_bootstrap

__all__ = [
    "Baselines",
    "DirectionErrors",
    "DirectionEstimate",
    "DirectionalEnergy",
    "EnergyRatio",
    "FrechetDistance",
    "GaussianW2",
    "Judgement",
    "Memorisation",
    "ModeCoverage",
    "PageTest",
    "PairedComparison",
    "PermutationTest",
    "RadialSpectrum",
    "RankCorrelation",
    "SlicedWasserstein",
    "SpectralDistance",
    "Verdict",
    "bures_distance",
    "decide",
    "direction_error",
    "energy_along",
    "frechet_distance",
    "gaussian_w2",
    "judge",
    "kendall",
    "label_coverage",
    "make_baselines",
    "memorisation",
    "mode_coverage",
    "pages_l",
    "paired_comparison",
    "permutation_test",
    "radial_spectrum",
    "reliability",
    "sliced_wasserstein",
    "spearman",
    "two_level_bootstrap",
    "verdict",
]
