"""Which layers of Keras can be loaded, and what becomes of their arguments; data only."""

from __future__ import annotations

from typing import Any, NamedTuple


class Entry(NamedTuple):
    """The equivalent of a layer of Keras.

    Attributes:
        layer: name of the class in `fastmask.layers`.
        always: arguments that it has in all cases.
        renamed: Keras's names of arguments, and those here.
        dropped: arguments that make no difference here.
    """

    layer: str
    always: dict[str, Any] = {}  # noqa: RUF012 - never changed
    renamed: dict[str, str] = {}  # noqa: RUF012 - never changed
    dropped: tuple[str, ...] = ()


_SAME = """
    Activation Add AdditiveAttention AlphaDropout Attention Average AveragePooling1D
    BatchNormalization Bidirectional CategoryEncoding Concatenate Conv1D Cropping1D Dense
    Discretization Dot Dropout ELU Embedding Flatten GRU GRUCell GaussianDropout GaussianNoise
    GlobalAveragePooling1D GlobalMaxPooling1D GroupNormalization Identity IntegerLookup LSTM
    LSTMCell LayerNormalization Masking MaxPooling1D Maximum Minimum MultiHeadAttention Multiply
    Normalization PReLU Permute RMSNormalization RNN ReLU RepeatVector Rescaling Reshape SimpleRNN
    SimpleRNNCell Softmax SpatialDropout1D StackedRNNCells StringLookup Subtract
    TextVectorization TimeDistributed UnitNormalization UpSampling1D ZeroPadding1D
""".split()

KNOWN: dict[str, Entry] = {
    **{name: Entry(name) for name in _SAME},
    "CuDNNLSTM": Entry("LSTM", {"activation": "tanh", "recurrent_activation": "sigmoid"}),
    "CuDNNGRU": Entry(
        "GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}
    ),
    "LeakyReLU": Entry("LeakyReLU", renamed={"alpha": "negative_slope"}),
    "ThresholdedReLU": Entry("ReLU", renamed={"theta": "threshold"}),
    "ActivityRegularization": Entry("Identity", dropped=("l1", "l2")),
    "GlobalAvgPool1D": Entry("GlobalAveragePooling1D"),
    "GlobalMaxPool1D": Entry("GlobalMaxPooling1D"),
    "MaxPool1D": Entry("MaxPooling1D"),
    "AvgPool1D": Entry("AveragePooling1D"),
    "Convolution1D": Entry("Conv1D"),
}

# Arguments for training, for other backends, and for how something is computed.
DROPPED = frozenset(
    """
    activity_regularizer autocast batch_input_shape implementation input_length input_shape
    lora_alpha lora_rank quantization_config ragged_input shared_object_id unroll use_cudnn
    vocabulary_size has_input_vocabulary invert_output flash_attention seed_generator
    renorm_clipping renorm_momentum fused virtual_batch_size synchronized query_shape key_shape
    value_shape
    """.split()
)
DROPPED_ENDINGS = ("_initializer", "_regularizer", "_constraint")

# Defaults of older versions, for configs that lack these arguments.
DEFAULTS_OF_2: dict[str, dict[str, Any]] = {
    "GRU": {"reset_after": False},
    "GRUCell": {"reset_after": False},
    "LeakyReLU": {"negative_slope": 0.3},
}

REFUSED = {
    "Lambda": (
        "is a Lambda, whose code is not run; give the function, or a layer's class, by the "
        "layer's name: load_model(path, custom_objects={{{name!r}: ...}})"
    ),
    "TFSMLayer": "runs a SavedModel of TensorFlow, which is not loaded: save what is in it",
    "JaxLayer": "runs code of JAX, which is not loaded",
    "FlaxLayer": "runs code of Flax, which is not loaded",
    "TorchModuleWrapper": "holds a pickled module of torch, which is not loaded",
}
UNKNOWN = (
    "is of class {kind}, which is not known; if you write it as a fastmask layer, give it: "
    "load_model(path, custom_objects={{{kind!r}: {kind}}})"
)
