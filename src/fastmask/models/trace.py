"""What happens to a mask: one row for each layer that an input passes."""

from __future__ import annotations

from typing import Any, NamedTuple

from .._typing import Figure
from ..commands.table import table
from ..layers import Layer
from ..layers._call_graph import CallGraph
from ..layers._counted_steps import but_for_ends
from ..layers._infer import states_kept
from ..layers._operation import Operation
from ..layers._own_mask import advice, counted, steps_counted
from ..layers._shapes import is_shape
from ..layers._types import MaskLike
from ..masks.mask import Mask
from .predict import whole_batch
from .visits import Visit, visits

_INSTEAD = "  # in place of"


class TraceRow(NamedTuple):
    """What one layer did with the mask of its inputs."""

    layer: str  # its name, after those of the layers around it: "encoder/words"
    type: str
    mask_in: list[Mask | None]  # of each input
    did: str  # see `trace_masks`
    mask_out: list[Mask | None]  # of each output
    valid: float | None  # share of valid steps in the masks of the outputs, or else of the inputs
    fix: str  # line of code that keeps a dropped mask, but not in a loaded model; else ""
    calls: int = 1  # how many calls inside another layer were like this one
    note: str = ""  # what a mask that is dropped or replaced means, or what to do about it


class MaskTrace(list[TraceRow]):
    """The rows of a trace; prints as a table."""

    def __str__(self) -> str:
        headings = ("layer", "mask in", "what it did", "mask out", "valid steps")
        lines = [
            (
                f"{row.layer} ({row.type})" + f" x {row.calls}" * (row.calls > 1),
                _shapes(row.mask_in),
                row.did,
                _shapes(row.mask_out),
                "-" if row.valid is None else f"{row.valid:.1%}",
            )
            for row in self
        ]
        fixes = [
            f"{row.layer} {'made its own' if row.did == 'made' else 'dropped the'} mask{row.note}"
            for row in self
            if row.note
        ]
        return "\n".join([table(headings, lines, right=[4]), *fixes])

    __repr__ = __str__

    def plot(self) -> Figure:
        """Draw the mask that each layer passes on, of up to 32 rows; needs Matplotlib.

        Returns:
            A figure, which notebooks show; `figure.savefig("trace.svg")` writes it to a file.

        Raises:
            ImportError: Matplotlib is not installed.
            ValueError: the trace has no rows.
        """
        from .trace_picture import plot_trace

        return plot_trace(self)


def trace_masks(model: Layer, x: Any, mask: MaskLike | None = None) -> MaskTrace:
    """Show what happens to a mask at each layer; stateful layers keep their states.

    Args:
        model: a model of any kind, or a single layer.
        x: input of the model, or a list of inputs; for a `Model(inputs, outputs)` also a dict of
            inputs by name; for it or a `Sequential` also lists of sequences, which are padded as by
            `predict`.
        mask: mask of the input, instead of the one that it carries.

    Returns:
        A list of rows, in the order of the calls, that prints as a table. A layer that calls
        others comes before them; a `Sequential` or a `Model(inputs, outputs)` has no row, only
        its layers have. `row.did` is "made",
        "kept", "changed", "used" (and ended, as by an LSTM that returns its last output),
        "dropped", "used, kept", "used, changed", "used, dropped" or, where there is no mask,
        "-". For a dropped mask `row.fix` is the line of code that keeps it, and `row.note` says
        what that means. `row.fix` is empty where Keras drops the mask, too, in a loaded model,
        which is used as it was trained; and for a `Ragged`, which has no padding. A layer that
        drops the mask of padded batches, such as Conv1D, may have "kept" that of a `Ragged`.

    Raises:
        TypeError: `model` is not a layer.
        ValueError: the model does not take `x`.

    Examples:
        >>> import fastmask as fm
        >>> model = fm.Sequential([
        ...     fm.layers.Embedding(100, 8, mask_zero=True, name="words"),
        ...     fm.layers.LSTM(4, return_sequences=True, name="first"),
        ...     fm.layers.LSTM(4, name="second"),
        ... ])
        >>> fm.trace_masks(model, [[71, 32, 7, 0], [9, 0, 0, 0]])
        layer              mask in  what it did  mask out  valid steps
        -----------------  -------  -----------  --------  -----------
        words (Embedding)  -        made         (2, 4)          50.0%
        first (LSTM)       (2, 4)   used, kept   (2, 4)          50.0%
        second (LSTM)      (2, 4)   used         -               50.0%
    """
    if not isinstance(model, Layer):
        raise TypeError(f"model must be a fastmask model or layer, not {type(model).__name__}")
    if isinstance(model, CallGraph):  # others may take a list of inputs
        x = whole_batch(model, x)
    with states_kept(model):
        return MaskTrace(map(_row, visits(lambda: model(x, mask=mask))))


def _row(visit: Visit) -> TraceRow:
    shares = _known(visit.after) or _known(visit.before)
    steps = sum(mask.size for mask in shares)
    valid = sum(int(mask.lengths.sum()) for mask in shares)
    fix = _fix(visit) if "dropped" in visit.did else ""
    return TraceRow(
        *(visit.path, type(visit.layer).__name__, visit.before, visit.did, visit.after),
        valid=None if not shares else valid / steps if steps else 1.0,
        fix=fix,
        calls=visit.calls,
        note=_note(visit, fix) if "dropped" in visit.did else _note_of_own(visit),
    )


def _note(visit: Visit, fix: str) -> str:
    if fix:
        return f"; {'use' if _INSTEAD in fix else 'add'}:\n    {fix}"
    if _drops_only_ends(visit):
        return ", as Keras does: it masked only ends of rows, and no valid step depends on these"
    if visit.ragged and visit.holes:
        return ", as Keras does: masked steps within rows count from here on"
    if visit.ragged:
        return ", and needs none: a Ragged has no padding"
    return ", as Keras does: padding counts from here on, unless x is a Ragged"


def _drops_only_ends(visit: Visit) -> bool:
    """Whether a dropped mask covers only ends of rows, and returns before any layer reads them."""
    if not isinstance(visit.layer, Operation) or not visit.layer._ends_stay_masked():
        return False
    return all(bool(but_for_ends(mask.valid).all()) for mask in _known(visit.before))


def _note_of_own(visit: Visit) -> str:
    """What a mask means that the layer made in place of the one of its input."""
    if visit.did != "made" or len(visit.before) != 1 or visit.before[0] is None:
        return ""
    steps, of = steps_counted(_known(visit.after)[0], visit.before[0])
    return f": {counted(steps, of)};\n    {advice(visit.layer)}" if steps else ""


def _fix(visit: Visit) -> str:
    """The line of code that keeps the mask, which depends on whether the steps are the same."""
    layer, mask = visit.layer, _known(visit.before)[0]
    shape = visit.shape if is_shape(visit.shape) else visit.shape[0]
    kind = type(layer).__name__
    own = not type(layer).__module__.startswith("fastmask.")
    # Only models from files of Keras have operations. What was trained without masks stays so.
    if isinstance(layer, Operation) or visit.ragged or (layer._loaded and not own):
        return ""
    if kind == "Embedding":
        return f"{kind}(..., mask_zero=True)  # or Masked(y, get_mask(x)) to keep that of the ids"
    if kind == "Lambda":
        return "Lambda(..., mask=lambda x, mask: mask)  # or the mask that fits its outputs"
    same = shape[: mask.ndim] == mask.shape
    if own and same:
        return f"self.supports_masking = True  # in {kind}.__init__"
    if own:
        return f"def compute_mask(self, inputs, mask=None): ...  # in {kind}, for outputs {shape}"
    if same:
        return f"y = fm.Masked(y, fm.get_mask(x))  # after {layer.name}, where steps are the same"
    if len(shape) > 2:
        return f"y = fm.Masked(y, mask)  # after {layer.name}, with a mask of shape {shape[:2]}"
    return f"x = fm.layers.GlobalAveragePooling1D()(x){_INSTEAD} {layer.name}: it uses the mask"


def _known(masks: list[Mask | None]) -> list[Mask]:
    return [mask for mask in masks if mask is not None]


def _shapes(masks: list[Mask | None]) -> str:
    if not _known(masks):
        return "-"
    return ", ".join("-" if mask is None else str(mask.shape) for mask in masks)
