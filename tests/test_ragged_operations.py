"""Operations of loaded models on ragged batches compute each row as if it were alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fastmask as fm
from fastmask.layers._operation import Operation
from fastmask.layers._operations import (
    BY_NUMBER,
    OPERATIONS,
    REVERSED_MASK,
    REVERSED_STEPS,
    WITH_MASK_OF,
)

L = fm.layers
X, Y = {"input": 0}, {"input": 1}


def part(start: int | None = None, stop: int | None = None, step: int | None = None) -> Any:
    return {"slice": [start, stop, step]}


def array(value: Any) -> Any:
    known = np.asarray(value, np.int64 if np.asarray(value).dtype.kind == "i" else np.float32)
    return {"array": known.tolist(), "dtype": known.dtype.name}


def of(operation: str, *arguments: Any, **options: Any) -> tuple[str, list[Any], dict[str, Any]]:
    return operation, [*(arguments or [X])], options


LENGTHS = [3, 7, 3, 5, 9]
ALL, DOTS, TABLE = part(), {"ellipsis": True}, array(np.arange(8.0).reshape(4, 2))
AXES = 1, 2, -1, -2
ALONG = [
    *"mean sum prod max min amax amin any all var std argmax argmin norm median average".split(),
    *"count_nonzero logsumexp".split(),
    *"cumsum cumprod diff flip sort argsort softmax log_softmax normalize".split(),
]
# On rows (T, 4) with any number of steps of at least 3.
ALONE = [
    *(of(name, axis=axis) for name in ALONG for axis in AXES),
    *(of(name, axis=[1, 2]) for name in ("mean", "sum", "max", "norm", "flip", "logsumexp")),
    *(of(name, axis=axis, keepdims=True) for name in ("mean", "argmax") for axis in AXES),
    *(of("roll", X, 1, axis=axis) for axis in AXES),
    of("roll", X, [1, -1], axis=[-2, -1]),
    *(of("repeat", X, 3, axis=axis) for axis in AXES),
    *(of("tile", X, repeats) for repeats in ([1, 2, 3], [2, 1], 2)),
    *(of("pad", X, [[0, 0], more, [0, 1]]) for more in ([0, 0], [2, 1])),
    of("pad", X, [[0, 0], [1, 1], [0, 0]], "reflect"),
    *(of("expand_dims", axis=axis) for axis in (2, 3, -1, -2, [2, -1])),
    *(of("stack", [X, X], axis=axis) for axis in (2, 3, -1, -2)),
    *(of("concatenate", [X, X], axis=axis) for axis in AXES),
    *(of("take", X, 0, axis=axis) for axis in AXES),
    *(of("take", X, array([1, 0]), axis=axis) for axis in (2, -1)),
    *(of("split", X, 2, axis=axis) for axis in (2, -1)),
    *(of("split", X, [1, 3], axis=axis) for axis in AXES),
    *(of("unstack", axis=axis) for axis in (2, -1)),
    of("swapaxes", X, -1, 2),
    of("moveaxis", X, [0, 1], [0, 1]),
    of("transpose", X, [0, 1, 2]),
    of("one_hot", X, 4, axis=-1),
    of("one_hot", X, 4, axis=2),
    *(
        of("get_item", X, key)
        for key in (
            *([ALL, -1], [ALL, part(1)], [ALL, part(None, 5)], [ALL, part(-4)], ALL),
            *([ALL, part(None, None, -1)], [ALL, part(None, None, 2), 1], [ALL, part(30)]),
            *([DOTS, part(1, 3)], [DOTS, -1, ALL], [DOTS, None], [part(0), part(), array([0, 2])]),
        )
    ),
    of("matmul", X, TABLE),
    of("dot", X, TABLE),
    of("glu", axis=-1),
    of("top_k", X, 2),
    *(of(name, X, k) for name in ("tril", "triu") for k in (0, -1, 2)),
    *(of("einsum", X, subscripts=one) for one in ("btf->bt", "...t f->...t", "bt...->bt...")),
    of("einsum", X, TABLE, subscripts="btf,fg->btg"),
    of("einsum", TABLE, X, subscripts="...g,btf->btg..."),
    of("einsum", X, X, subscripts="btf,btg->bgf"),
    of("einsum", X, X, X, subscripts="btf,bsf,bsg->btg"),
    *(of("multiply", X, array(factor)) for factor in ([1.0, 2, 3, 4], [[[1.0, 2, 3, 4]]], 2.0)),
    of("where", array(True), X, 1.0),
]
# What needs some steps.
LONG = [
    *(of("take", X, index, axis=axis) for index in (2, array([1, 0])) for axis in (1, -2)),
    *(of("get_item", X, [ALL, index]) for index in (2, -3, array([0, 2]))),
]
REFUSED = [
    *(of(name, axis=axis) for name in ALONG for axis in (None, 0, -3)),
    *(of(name, axis=[axis, 1]) for name in ("mean", "norm", "flip") for axis in (0, -3)),
    *(of("roll", X, 1, axis=axis) for axis in (None, 0, -3)),
    *(of("repeat", X, 2, axis=axis) for axis in (None, 0)),
    *(of("tile", X, repeats) for repeats in ([2, 1, 1], [1, 1, 1, 1])),
    of("pad", X, [[1, 0], [0, 0], [0, 0]]),
    of("pad", X, 1),
    *(of("expand_dims", axis=axis) for axis in (0, 1, -3, -4, [0, 2])),
    *(of("stack", [X, X], axis=axis) for axis in (0, 1, -3, -4)),
    *(of("concatenate", [X, X], axis=axis) for axis in (0, -3)),
    *(of("take", X, 0, axis=axis) for axis in (None, 0, -3)),
    *(of("split", X, [1], axis=axis) for axis in (0, -3)),
    of("unstack"),
    of("squeeze"),
    of("ravel"),
    *(of("einsum", X, subscripts=one) for one in ("btf", "btf->tbf", "btf->f", "bt...", "...f->f")),
    of("einsum", X, X, subscripts="btf,bsf->bts"),
    of("einsum", X, X, subscripts="btf,asf->bta"),
    of("einsum", TABLE, X, subscripts="bt,b...->b..."),
    of("transpose"),
    *(of("transpose", X, axes) for axes in ([1, 0, 2], [0, 2, 1])),
    *(of("swapaxes", X, *axes) for axes in ((0, 1), (-1, 1))),
    of("moveaxis", X, 0, 1),
    *(of("reshape", X, shape) for shape in ([-1, 4], [None, 8], [1, -1, 4], [-1])),
    *(
        of("get_item", X, key)
        for key in (0, [part(1), 0], [part(None, None, -1)], [None, ALL], [ALL, None])
    ),
    of("get_item", X, [DOTS, part(None, None, -1), ALL, ALL]),
    of("matmul", X, X),
    of("dot", X, array(np.ones((2, 2)))),
    of("add", X, array(np.ones((sum(LENGTHS), 4)))),
    of("add", X, array(np.ones((5, 1, 1)))),
]


def rows_of(lengths: list[int], seed: int = 0, words: bool = False) -> fm.Ragged:
    random = np.random.default_rng(seed)
    shape = sum(lengths), 4
    values = random.integers(0, 4, shape) if words else random.standard_normal(shape, np.float32)
    return fm.Ragged(values, [0, *np.cumsum(lengths, dtype=np.int64)])


def model_of(operation: str, arguments: list[Any], options: dict[str, Any], count: int = 1) -> Any:
    dtype = "int32" if operation == "one_hot" else "float32"
    inputs = [fm.Input((None, 4), dtype) for _ in range(count)]
    return fm.Model(inputs, Operation(operation, arguments, options)(inputs))


def each(outputs: Any) -> list[Any]:
    return outputs if isinstance(outputs, list) else [outputs]


def assert_alone(model: Any, *given: Any) -> None:
    """Assert that the results are those of each row in a batch of its own."""
    x = list(given)
    found = each(model(x))
    for row in range(len(x[0])):
        alone = each(model([one[row][None] for one in x]))
        assert len(found) == len(alone)
        for ours, expected in zip(found, alone, strict=True):
            assert ours.dtype == expected.dtype
            np.testing.assert_allclose(ours[row], expected[0], rtol=0, atol=2e-6)


@pytest.mark.parametrize(("operation", "arguments", "options"), ALONE)
def test_rows_are_computed_alone(operation: str, arguments: Any, options: Any) -> None:
    words = operation == "one_hot"
    model = model_of(operation, arguments, options)
    assert_alone(model, rows_of(LENGTHS, words=words))
    kinds = [type(one) for one in each(model(rows_of(LENGTHS, words=words)))]
    for lengths in ([4, 4], [31, 31], [], [0, 0], [0, 3]):
        found = each(model(rows_of(lengths, words=words)))
        assert [type(one) for one in found] == kinds, "the rows decide on the type"
        assert all(len(one) == len(lengths) for one in found)
        values = [one.values if isinstance(one, fm.Ragged) else one for one in found]
        assert all(np.isfinite(one).all() for one in values)


@pytest.mark.parametrize(("operation", "arguments", "options"), LONG)
def test_steps_that_some_rows_do_not_have(operation: str, arguments: Any, options: Any) -> None:
    model = model_of(operation, arguments, options)
    assert_alone(model, rows_of(LENGTHS))
    for lengths in ([3, 1], [0, 3]):
        with pytest.raises(ValueError, match=rf"\({operation}\) cannot .* out of bounds .* pad it"):
            model(rows_of(lengths))


@pytest.mark.parametrize(("operation", "arguments", "options"), REFUSED)
def test_what_mixes_rows_or_does_not_join_is_refused(
    operation: str, arguments: Any, options: Any
) -> None:
    layer = Operation(operation, arguments, options)
    with pytest.raises(
        ValueError,
        match=rf"'{layer.name}' \({operation}\) cannot compute .*: .*; pad it, x.to_masked",
    ):
        layer(rows_of(LENGTHS))


def test_formulas() -> None:
    """The results are those of plain NumPy."""
    x = rows_of(LENGTHS, 1)

    def found(*what: Any, **options: Any) -> Any:
        return model_of(*of(*what, **options))(x)

    for row, values in enumerate(x):
        powers = np.exp(values - values.max(0))
        assert found("get_item", X, [ALL, -1])[row].tolist() == values[-1].tolist()
        assert found("sort", X, axis=1)[row].tolist() == np.sort(values, 0).tolist()
        assert found("roll", X, 2, axis=-2)[row].tolist() == np.roll(values, 2, 0).tolist()
        np.testing.assert_array_equal(found("tril", X, -1)[row], np.tril(values, -1))
        largest, places = (one[row] for one in found("top_k", X, 2))
        np.testing.assert_array_equal(largest, np.sort(values, 1)[:, :1:-1])
        np.testing.assert_array_equal(np.take_along_axis(values, places, 1), largest)
        np.testing.assert_allclose(
            found("einsum", X, X, subscripts="btf,btg->bgf")[row], values.T @ values, atol=2e-6
        )
        assert found("concatenate", [X, X], axis=1)[row].tolist() == [*values.tolist() * 2]
        np.testing.assert_allclose(found("mean", X, axis=1)[row], values.mean(0), atol=1e-6)
        np.testing.assert_allclose(
            found("softmax", X, axis=1)[row], powers / powers.sum(0), atol=1e-6
        )
    square = rows_of([3, 3], 2)
    turned = Operation("transpose", [X, [0, 2, 1]])(square)
    np.testing.assert_array_equal(turned, square.values.reshape(2, 3, 4).transpose(0, 2, 1))
    flat = Operation("reshape", [X, [-1, 12]])(square)
    np.testing.assert_array_equal(flat, square.values.reshape(2, 12))
    narrow = fm.Ragged(x.values[:, :1], x.offsets)
    assert Operation("squeeze", [X, -1])(narrow).values.tolist() == x.values[:, 0].tolist()


def test_no_operation_is_left_out() -> None:
    tried = {case[0] for case in [*ALONE, *REFUSED]} | {"take_along_axis"}
    of_masks = {REVERSED_MASK, REVERSED_STEPS, WITH_MASK_OF}
    assert set(OPERATIONS) == tried | BY_NUMBER | of_masks


@pytest.mark.parametrize(
    ("operation", "arguments", "options"),
    [
        of("add", X, Y),
        of("where", array(True), X, Y),
        *(of("concatenate", [X, Y, X], axis=axis) for axis in AXES),
        *(of("stack", [X, Y], axis=axis) for axis in (2, -1)),
    ],
)
def test_several_inputs(operation: str, arguments: Any, options: Any) -> None:
    model, x = model_of(operation, arguments, options, 2), rows_of(LENGTHS)
    assert_alone(model, x, rows_of(LENGTHS, 1))
    other = rows_of([7, 3, 1, 0, 5], 2)
    if options.get("axis") in (1, -2):
        assert model([x, other]).lengths.tolist() == [13, 17, 7, 10, 23]
        assert_alone(model, x, other)
    else:
        with pytest.raises(ValueError, match=rf"\({operation}\) cannot compute"):
            model([x, other])


def test_arrays_beside_rows() -> None:
    random = np.random.default_rng(3)
    x = rows_of(LENGTHS)
    product = model_of(*of("multiply", X, Y), 2)
    assert_alone(product, x, random.standard_normal((5, 1, 4), np.float32))
    taken = Operation("take_along_axis", [X, Y], {"axis": 1})
    last = taken([x, x.lengths[:, None, None] - 1])
    np.testing.assert_array_equal(last[:, 0, 0], x.values[x.offsets[1:] - 1, 0])
    equal = rows_of([3] * 5)
    assert_alone(product, equal, random.standard_normal((5, 3, 4), np.float32))
    for other in (np.ones((5, 3, 4), np.float32), np.ones((5, 4), np.float32)):
        with pytest.raises(ValueError, match=r"\(multiply\) cannot compute each row"):
            Operation("multiply", [X, Y])([x, other])
    words = rows_of(LENGTHS, words=True)
    vectors = Operation("take", [TABLE, X], {"axis": 0})(words)
    np.testing.assert_array_equal(vectors.values, np.arange(8.0).reshape(4, 2)[words.values])


@pytest.mark.parametrize(
    ("operation", "arguments", "options"),
    [
        of("einsum", X, subscripts="btf->tbf"),
        of("einsum", X, array(np.ones((2, 3))), subscripts="btf,bg->btg"),
        of("einsum", X, X, subscripts="btf,stf->bt"),
        of("tril"),
    ],
)
def test_rows_in_a_result_of_their_shape(operation: str, arguments: Any, options: Any) -> None:
    """Two rows of two steps: the shape of the result does not tell that rows are mixed."""
    rows = rows_of([2, 2])
    given = fm.Ragged(rows.values[:, 0], rows.offsets) if operation == "tril" else rows
    with pytest.raises(ValueError, match=rf"\({operation}\) cannot .* combines rows"):
        Operation(operation, arguments, options)(given)


@pytest.mark.parametrize(
    ("operation", "other"),
    [("add", (2, 4)), ("matmul", (2, 2, 4, 3)), ("dot", (2, 4, 2)), ("take", (2, 1, 1))],
)
def test_as_many_rows_as_steps(operation: str, other: tuple[int, ...]) -> None:
    """NumPy would take the rows of one input for steps of the other."""
    index = {"axis": 1} if operation == "take" else {}
    second = np.ones(other, np.int32 if index else np.float32)
    with pytest.raises(ValueError, match=rf"\({operation}\) cannot .* combines rows"):
        Operation(operation, [X, Y], index)([rows_of([2, 2]), second])


def attentive() -> Any:
    """A model with products of all pairs of steps, which rows of different lengths cannot join."""
    x = fm.Input((None, 4))
    turned = Operation("transpose", [X, [0, 2, 1]])(x)
    scores = Operation("softmax", [X], {"axis": -1})(Operation("matmul", [X, Y])([x, turned]))
    seen = Operation("matmul", [X, Y])([scores, x])
    return fm.Model(x, Operation("max", [X], {"axis": 1})(seen))


def test_predictions_without_padding_or_as_keras_pads() -> None:
    x = rows_of([2, 5, 3])
    rolled = Operation("roll", [X, 1], {"axis": 1})
    steps = fm.Input((None, 4))
    model = fm.Model(steps, Operation("get_item", [X, [ALL, 0]])(rolled(steps)))
    expected = np.array([row[-1] for row in x])
    np.testing.assert_array_equal(model.predict(x, batch_size=2, verbose=0), expected)
    batch = {"x": x.to_list()}
    np.testing.assert_array_equal(fm.Predictor(model, "x")(batch)["prediction"], expected)
    assert_alone(attentive(), rows_of([4, 4]))
    with pytest.raises(ValueError, match=r"\(transpose\) cannot .*; pad it"):
        attentive().predict(x, verbose=0)
    padded = attentive()(x.to_masked().data)
    words = r"needs padding: layer .* \(transpose\) cannot compute"
    with pytest.warns(UserWarning, match=words):
        found = fm.Predictor(attentive(), "x")(batch)["prediction"]
    np.testing.assert_allclose(found, padded, atol=1e-6)


def test_outputs_of_batches_of_one_kind() -> None:
    """If only some batches give a `Ragged`, an error says so, and no row is lost."""
    model = model_of("get_item", [X, [ALL, part(None, None, 40)]], {})
    with pytest.raises(ValueError, match="all batches must be a Ragged, or none"):
        model.predict(rows_of([2, 3, 50, 90]), batch_size=2, verbose=0)


def test_masks_of_steps_that_exist() -> None:
    """Masked steps within rows count, as in Keras, and the trace says so."""
    values = rows_of([3, 5]).values
    holes = fm.Ragged(values, [0, 3, 8], [1, 0, 1, 1, 1, 1, 0, 0])
    whole = fm.Ragged(values, [0, 3, 8])
    with pytest.warns(UserWarning, match="operation 'flip' drops the mask"):
        turned = Operation("flip", [X], {"axis": 1})(holes)
    assert turned.valid is None
    np.testing.assert_array_equal(turned.values, np.r_[values[2::-1], values[:2:-1]])
    total = Operation("sum", [X], {"axis": 1}, name="total")
    with pytest.warns(UserWarning, match="operation 'sum' drops the mask"):
        np.testing.assert_allclose(total(holes)[0], values[:3].sum(0), atol=1e-6)
    noted = str(fm.trace_masks(total, holes))
    assert noted.endswith("as Keras does: masked steps within rows count from here on")
    assert str(fm.trace_masks(total, whole)).endswith("needs none: a Ragged has no padding")
    backwards = [Operation(name, [X]) for name in ("reversed_steps", "reversed_mask")]
    np.testing.assert_array_equal(backwards[0](whole).values, turned.values)
    assert backwards[1](holes).valid.tolist() == [1, 0, 1, 0, 0, 1, 1, 1]
    assert backwards[1](whole).values.tolist() == values.tolist()
    given = Operation("with_mask_of", [X])([whole, holes])
    assert given.valid.tolist() == holes.valid.tolist()
