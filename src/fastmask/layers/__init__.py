"""Layers that make, carry, use and change masks."""

from ._layer import Layer
from .activation import Activation
from .attention import AdditiveAttention, Attention
from .batch_normalization import BatchNormalization
from .bidirectional import Bidirectional
from .category_encoding import CategoryEncoding
from .concatenate import Concatenate
from .convolution import Conv1D
from .dense import Dense
from .discretization import Discretization
from .dot import Dot
from .dropout import AlphaDropout, Dropout, SpatialDropout1D
from .embedding import Embedding
from .feature_normalization import (
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from .gaussian import GaussianDropout, GaussianNoise
from .gru import GRU, GRUCell
from .integer_lookup import IntegerLookup
from .lambda_layer import Lambda
from .lstm import LSTM, LSTMCell
from .masking import Masking
from .merging import Add, Average, Maximum, Minimum, Multiply, Subtract
from .multi_head_attention import MultiHeadAttention
from .normalization import Normalization
from .pooling import GlobalAveragePooling1D, GlobalMaxPooling1D
from .rectifiers import ELU, LeakyReLU, PReLU, ReLU
from .rescaling import Identity, Rescaling
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .resizing import Cropping1D, UpSampling1D, ZeroPadding1D
from .rnn import RNN
from .simple_rnn import SimpleRNN, SimpleRNNCell
from .softmax import Softmax
from .stacked_rnn_cells import StackedRNNCells
from .string_lookup import StringLookup
from .text_vectorization import TextVectorization
from .time_distributed import TimeDistributed
from .window_pooling import AveragePooling1D, MaxPooling1D

__all__ = [
    "ELU",
    "GRU",
    "LSTM",
    "RNN",
    "Activation",
    "Add",
    "AdditiveAttention",
    "AlphaDropout",
    "Attention",
    "Average",
    "AveragePooling1D",
    "BatchNormalization",
    "Bidirectional",
    "CategoryEncoding",
    "Concatenate",
    "Conv1D",
    "Cropping1D",
    "Dense",
    "Discretization",
    "Dot",
    "Dropout",
    "Embedding",
    "Flatten",
    "GRUCell",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalMaxPooling1D",
    "GroupNormalization",
    "Identity",
    "IntegerLookup",
    "LSTMCell",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "Masking",
    "MaxPooling1D",
    "Maximum",
    "Minimum",
    "MultiHeadAttention",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "SimpleRNN",
    "SimpleRNNCell",
    "Softmax",
    "SpatialDropout1D",
    "StackedRNNCells",
    "StringLookup",
    "Subtract",
    "TextVectorization",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "ZeroPadding1D",
]
