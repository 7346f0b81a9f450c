"""Layers that make, carry, use and change masks."""

from ._layer import Layer
from .activation import Activation
from .batch_normalization import BatchNormalization
from .concatenate import Concatenate
from .dense import Dense
from .dot import Dot
from .dropout import AlphaDropout, Dropout, GaussianDropout, GaussianNoise, SpatialDropout1D
from .embedding import Embedding
from .feature_normalization import GroupNormalization, LayerNormalization, UnitNormalization
from .lambda_layer import Lambda
from .lstm import LSTM
from .masking import Masking
from .merging import Add, Average, Maximum, Minimum, Multiply, Subtract
from .normalization import Normalization
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from .rectifiers import ELU, LeakyReLU, PReLU, ReLU
from .rescaling import Identity, Rescaling
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .resizing import Cropping1D, UpSampling1D, ZeroPadding1D
from .softmax import Softmax
from .time_distributed import TimeDistributed

__all__ = [
    "ELU",
    "LSTM",
    "Activation",
    "Add",
    "AlphaDropout",
    "Average",
    "BatchNormalization",
    "Concatenate",
    "Cropping1D",
    "Dense",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "GroupNormalization",
    "Identity",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Softmax",
    "SpatialDropout1D",
    "Subtract",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "ZeroPadding1D",
]
