"""Network families: presets, foreign networks, their initialisation laws and their stacked evaluation."""

from scoregrain.models.checks import check_fresh, check_stateless
from scoregrain.models.dit import DiT
from scoregrain.models.family import (
    INIT_POLICIES,
    NetworkFamily,
    evaluate,
    last_layer,
    random_input,
    tensor_bytes,
)
from scoregrain.models.laws import InitLaws, verify_laws
from scoregrain.models.mlp import MLP, LinearMap
from scoregrain.models.named_laws import TensorLaw, register_law
from scoregrain.models.presets import preset_names
from scoregrain.models.rebuild import rebuild_family
from scoregrain.models.sensitivity import timestep_sensitivity
from scoregrain.models.stacked import NetworkStack, captured_input, parameter_count, vmappable
from scoregrain.models.vit import ViT
from scoregrain.models.wrappers import AzulaNetwork, SigmaNetwork, TimeNetwork

__all__ = [
    "INIT_POLICIES",
    "MLP",
    "AzulaNetwork",
    "DiT",
    "InitLaws",
    "LinearMap",
    "NetworkFamily",
    "NetworkStack",
    "SigmaNetwork",
    "TensorLaw",
    "TimeNetwork",
    "ViT",
    "captured_input",
    "check_fresh",
    "check_stateless",
    "evaluate",
    "last_layer",
    "parameter_count",
    "preset_names",
    "random_input",
    "rebuild_family",
    "register_law",
    "tensor_bytes",
    "timestep_sensitivity",
    "verify_laws",
    "vmappable",
]
