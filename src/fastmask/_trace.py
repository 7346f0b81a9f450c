"""Where a mask went: one row for each layer that an input passes."""

from __future__ import annotations

from typing import Any, NamedTuple

from ._functional import Functional
from ._mask import Mask, Masked
from ._model import with_mask
from ._table import table
from .layers import Layer
from .layers._calls import flat, separate
from .layers._fate import fate, makes_masks


class TraceRow(NamedTuple):
    """What one layer did with the mask of its inputs."""

    layer: str
    type: str
    mask_in: list[Mask | None]  # of each input
    did: str  # made, kept, changed, used, dropped, or "-" where there was no mask and is none
    mask_out: list[Mask | None]  # of each output
    valid: float | None  # share of valid steps in the masks that came out, or else went in
    fix: str  # for a dropped mask the line of code to add, else ""


class MaskTrace(list[TraceRow]):
    """Rows, and their readable form."""

    def __str__(self) -> str:
        headings = ("layer", "mask in", "what it did", "mask out", "valid steps")
        lines = [
            (
                f"{row.layer} ({row.type})",
                _shapes(row.mask_in),
                row.did,
                _shapes(row.mask_out),
                "-" if row.valid is None else f"{row.valid:.1%}",
            )
            for row in self
        ]
        fixes = [f"{row.layer} dropped the mask; add:\n    {row.fix}" for row in self if row.fix]
        return "\n".join([table(headings, lines, right=[4]), *fixes])

    __repr__ = __str__


def trace_masks(model: Layer, x: Any, mask: Any = None) -> MaskTrace:
    """See what happens to a mask at each layer.

    Args:
        model: a model, with other models inside it or not; or a single layer.
        x: its input, or a list of them, as the model is called.
        mask: mask of the input, instead of one that it carries.

    Returns:
        A list of rows, in the order of the calls, that prints as a table. `row.did` is "made",
        "kept", "changed", "used" (and then gone, as by an LSTM that returns its last output),
        "dropped", "used, kept", "used, changed" or, where there is no mask, "-". For a
        dropped mask `row.fix` is the line of code that keeps it.

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
    rows = MaskTrace()
    if isinstance(model, Functional):
        x = model._each_array(x)
    arrays, carried = separate(x)
    if mask is not None:
        carried = model._explicit(mask, arrays)
    inputs = arrays if carried is None else with_mask(arrays, carried)
    if hasattr(model, "_flow"):
        model._flow(inputs, _noting(rows, ""))
    else:
        _noting(rows, "")(model, inputs, {})
    return rows


def _noting(rows: list[TraceRow], prefix: str) -> Any:
    def apply(layer: Layer, inputs: Any, options: dict[str, Any]) -> Any:
        given = _given(layer, inputs, options)
        if hasattr(layer, "_flow"):
            return layer._flow(given, _noting(rows, f"{prefix}{layer.name}/"))
        outputs = layer(inputs, **options)
        rows.append(_row(layer, given, options, outputs, f"{prefix}{layer.name}"))
        return outputs

    return apply


def _given(layer: Layer, inputs: Any, options: dict[str, Any]) -> Any:
    """The inputs, with the mask that was given for them instead of their own."""
    if options.get("mask") is None:
        return inputs
    arrays, _ = separate(inputs)
    return with_mask(arrays, layer._explicit(options["mask"], arrays))


def _row(layer: Layer, inputs: Any, options: dict[str, Any], outputs: Any, name: str) -> TraceRow:
    others = [value for key, value in options.items() if key != "mask"]
    before = [_mask(one) for one in flat(inputs)]
    also = [_mask(one) for value in others for one in flat(value)]
    before += [mask for mask in also if mask is not None]
    after = [_mask(one) for one in flat(outputs)]
    there = any(mask is not None for mask in before)
    makes = there and makes_masks(layer, layer._cast(separate(inputs)[0]))
    did = fate(layer, before, after, makes)
    shares = _known(after) or _known(before)
    steps = sum(mask.size for mask in shares)
    valid = sum(int(mask.valid.sum()) for mask in shares)
    return TraceRow(
        *(name, type(layer).__name__, before, did, after),
        valid=None if not shares else valid / steps if steps else 1.0,
        fix=_fix(layer, _known(before)[0], outputs) if did == "dropped" else "",
    )


def _fix(layer: Layer, mask: Mask, outputs: Any) -> str:
    """The line that keeps the mask; of which kind depends on whether its steps are still there."""
    shape = next(one.shape for one in flat(outputs))
    kind = type(layer).__name__
    own = not type(layer).__module__.startswith("fastmask.")
    if kind == "Embedding":
        return f"{kind}(..., mask_zero=True)  # or Masked(y, get_mask(x)) to keep that of the ids"
    if kind == "Lambda":
        return "Lambda(..., mask=lambda x, mask: mask)  # or the mask that fits its outputs"
    same = shape[:2] == mask.shape
    if own and same:
        return f"self.supports_masking = True  # in {kind}.__init__"
    if own:
        return f"def compute_mask(self, inputs, mask=None): ...  # in {kind}, for outputs {shape}"
    if same:
        return f"y = fm.Masked(y, fm.get_mask(x))  # after {layer.name}, where steps are the same"
    if len(shape) > 2:
        return f"y = fm.Masked(y, mask)  # after {layer.name}, with a mask of shape {shape[:2]}"
    return f"x = fm.layers.GlobalAveragePooling1D()(x)  # in place of {layer.name}: uses the mask"


def _mask(value: Any) -> Mask | None:
    return value.mask if isinstance(value, Masked) else None


def _known(masks: list[Mask | None]) -> list[Mask]:
    return [mask for mask in masks if mask is not None]


def _shapes(masks: list[Mask | None]) -> str:
    if not _known(masks):
        return "-"
    return ", ".join("-" if mask is None else str(mask.shape) for mask in masks)
