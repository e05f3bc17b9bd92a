import pytest

from scoregrain._errors import InvalidInputError, TimeBlindWarning
from scoregrain.models import NetworkFamily, timestep_sensitivity
from scoregrain.studies.families import study_family


@pytest.mark.parametrize(
    "name", ["iddpm-16", "iddpm-28", "unet-16", "dit-16/2", "dit-16/4", "vit-16/4", "mlp-16", "linear-16"]
)
def test_at_the_presets_sizes_they_are_the_presets(name):
    assert study_family(name).fingerprint() == NetworkFamily.from_preset(name).fingerprint()


def test_groups_alone_make_a_network_time_blind():
    blind, aware = (study_family(name).construct(0, 0) for name in ("iddpm-8", "unet-8:groups=16"))
    with pytest.warns(TimeBlindWarning):
        assert timestep_sensitivity(blind, (1, 8, 8)) < 1e-5
    assert timestep_sensitivity(aware, (1, 8, 8)) > 1e-3
    assert {n: p.shape for n, p in blind.named_parameters()} == {n: p.shape for n, p in aware.named_parameters()}


def test_an_unknown_name_is_refused():
    with pytest.raises(InvalidInputError, match="names no family"):
        study_family("unet-")
