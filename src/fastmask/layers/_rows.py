"""Which layers compute each row of a batch by itself."""

from __future__ import annotations

import numpy as np

from ..masks.mask import Mask
from ..masks.masked import Masked
from ._base import BaseLayer
from ._call_graph import CallGraph
from ._calls import flat
from ._elementwise import SameShape
from ._merge import Merge
from .activation import Activation
from .attention import Attention
from .bidirectional import Bidirectional
from .convolution import Conv1D
from .dense import Dense
from .embedding import Embedding
from .masking import Masking
from .multi_head_attention import MultiHeadAttention
from .pooling import GlobalPooling
from .reshaping import Flatten, Permute, RepeatVector, Reshape
from .resizing import Cropping1D, UpSampling1D, ZeroPadding1D
from .rnn import RNN
from .window_pooling import WindowPooling

_ALWAYS = (
    *(Dense, Activation, Embedding, Masking, GlobalPooling, Flatten, Permute, RepeatVector),
    *(Reshape, Cropping1D, UpSampling1D, ZeroPadding1D, Conv1D, WindowPooling),
    *(Attention, MultiHeadAttention),
)
_BY_AXIS = (SameShape, Merge)


def rows_alone(layer: BaseLayer) -> bool:
    """Whether, outside training, the output for a row depends on that row alone.

    If so, rows of several batches may be computed in one. Nothing is known of classes that are not
    this package's.
    """
    if type(layer) in _ALWAYS:
        return True
    if not type(layer).__module__.startswith("fastmask."):
        return False
    if isinstance(layer, _ALWAYS):
        return True
    if isinstance(layer, _BY_AXIS):
        return _leaves_the_batch_axis(layer)
    if isinstance(layer, RNN):
        return not layer.stateful and all(cell._known for cell in layer._cells)
    if isinstance(layer, Bidirectional):
        return rows_alone(layer.forward_layer) and rows_alone(layer.backward_layer)
    inner = getattr(layer, "layer", None)
    if inner is not None:  # TimeDistributed
        return rows_alone(inner)
    return isinstance(layer, CallGraph) and _graph_alone(layer)


def _leaves_the_batch_axis(layer: BaseLayer) -> bool:
    """Whether the axes of the layer certainly leave out the batch axis."""
    axis = getattr(layer, "axis", -1)
    axes = axis if isinstance(axis, list) else [axis]
    return all(one == -1 or one > 0 for one in axes)


def _graph_alone(model: CallGraph) -> bool:
    """Whether this holds for all layers of a model, and their calls take no other arrays."""
    given = flat(model._call_options())
    if any(isinstance(value, (np.ndarray, Mask, Masked)) for value in given):
        return False
    return all(map(rows_alone, model._inner_layers()))
