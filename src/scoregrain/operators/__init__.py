"""The algebra: symmetric PSD operators on arrays of shape (C, *space)."""

from scoregrain.operators._spectrum import NULL_TOLERANCE, SpectralFunction
from scoregrain.operators.base import FunctionOperator, Operator
from scoregrain.operators.dense import DenseOperator
from scoregrain.operators.diagonal import DiagonalOperator
from scoregrain.operators.fourier import FourierOperator
from scoregrain.operators.frequency import RADIUS_UNITS, FrequencyGrid
from scoregrain.operators.identity import IdentityOperator
from scoregrain.operators.kronecker import ChannelKronecker, TokenKronecker
from scoregrain.operators.low_rank import LowRankOperator
from scoregrain.operators.rings import Rings
from scoregrain.operators.rotated import OrthogonalMap, RotatedOperator

__all__ = [
    "NULL_TOLERANCE",
    "RADIUS_UNITS",
    "ChannelKronecker",
    "DenseOperator",
    "DiagonalOperator",
    "FourierOperator",
    "FrequencyGrid",
    "FunctionOperator",
    "IdentityOperator",
    "LowRankOperator",
    "Operator",
    "OrthogonalMap",
    "Rings",
    "RotatedOperator",
    "SpectralFunction",
    "TokenKronecker",
]
