"""The algebra: symmetric PSD operators on arrays of shape (C, *space)."""

from scoregrain.operators._spectrum import NULL_TOLERANCE, SpectralFunction
from scoregrain.operators.base import FunctionOperator, Operator
from scoregrain.operators.dense import DenseOperator
from scoregrain.operators.diagonal import DiagonalOperator
from scoregrain.operators.identity import IdentityOperator
from scoregrain.operators.kronecker import ChannelKronecker, TokenKronecker
from scoregrain.operators.low_rank import LowRankOperator

__all__ = [
    "NULL_TOLERANCE",
    "ChannelKronecker",
    "DenseOperator",
    "DiagonalOperator",
    "FunctionOperator",
    "IdentityOperator",
    "LowRankOperator",
    "Operator",
    "SpectralFunction",
    "TokenKronecker",
]
