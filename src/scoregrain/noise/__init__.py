"""The colour of the forward noise: weights and the one object everything that draws noise shares."""

from scoregrain.noise.bands import BandPass, TwoBand
from scoregrain.noise.equal_snr import EqualSNR
from scoregrain.noise.forward import ForwardNoise, draw_white
from scoregrain.noise.linear_theory import decay_rates, gradient_noise
from scoregrain.noise.weight import Weight
from scoregrain.noise.weights import Blue, Brown, Custom, Exponential, Pink, PowerLaw, Product, White

__all__ = [
    "BandPass",
    "Blue",
    "Brown",
    "Custom",
    "EqualSNR",
    "Exponential",
    "ForwardNoise",
    "Pink",
    "PowerLaw",
    "Product",
    "TwoBand",
    "Weight",
    "White",
    "decay_rates",
    "draw_white",
    "gradient_noise",
]
