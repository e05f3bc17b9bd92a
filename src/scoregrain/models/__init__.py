"""Network families: presets, foreign networks, their initialisation laws and their stacked evaluation."""

from scoregrain.models.dit import DiT
from scoregrain.models.family import (
    INIT_POLICIES,
    NetworkFamily,
    evaluate,
    last_layer,
    random_input,
    tensor_bytes,
)
from scoregrain.models.laws import InitLaws, TensorLaw, verify_laws
from scoregrain.models.presets import preset_names
from scoregrain.models.sensitivity import timestep_sensitivity
from scoregrain.models.stacked import NetworkStack, captured_input, parameter_count, vmappable

__all__ = [
    "INIT_POLICIES",
    "DiT",
    "InitLaws",
    "NetworkFamily",
    "NetworkStack",
    "TensorLaw",
    "captured_input",
    "evaluate",
    "last_layer",
    "parameter_count",
    "preset_names",
    "random_input",
    "tensor_bytes",
    "timestep_sensitivity",
    "verify_laws",
    "vmappable",
]
