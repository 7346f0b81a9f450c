"""`Mask`: valid and invalid arguments, and that a plan is made once."""

from __future__ import annotations

import copy
import gc
import pickle
import threading

import numpy as np
import pytest

import fastmask as fm
from fastmask.backends import plan as _plan
from fastmask.masks import mask as _mask

HOLES = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)


@pytest.mark.parametrize(
    "given",
    [
        HOLES,
        HOLES.tolist(),
        HOLES.astype(np.int8),
        HOLES.astype(np.uint64) * 7,
        HOLES.astype(np.float32),
        HOLES.astype(np.float16) * 1.0,
        np.where(HOLES, 1.0, -0.0),
        HOLES[:, :, None],
        HOLES[:, :, None].tolist(),
        np.asfortranarray(HOLES),
        HOLES.astype(">i4"),
        np.repeat(HOLES, 2, axis=1)[:, ::2],
        fm.Mask(HOLES),
    ],
    ids=lambda given: f"{type(given).__name__}-{np.asarray(given).dtype}-{np.ndim(given)}d",
)
def test_takes_any_kind_of_mask(given: object) -> None:
    mask = fm.Mask(given)
    np.testing.assert_array_equal(mask.valid, HOLES)
    assert mask.valid.dtype == np.bool_
    assert mask.valid.flags.c_contiguous


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ([1, 0, 1], ValueError, r"mask must have shape \(batch, time\).*not \(3,\)"),
        (True, ValueError, r"not \(\)"),
        ([[1, 0], [1]], ValueError, "mask must be an array, but its rows differ"),
        ([["a"]], TypeError, "mask must be bool, integer or float, not dtype <U1"),
        (np.ones((1, 1), complex), TypeError, "complex128"),
        (np.array([[None]]), TypeError, "object such as None"),
        (fm.layers.Dense(2, name="d"), TypeError, "object such as <Dense 'd'>"),
        ([[1.0, np.nan]], ValueError, "NaN"),
        (
            [[0.0, 0.0, -np.inf]],
            ValueError,
            r"True or 1 where .* valid.*-inf.*looks like an additive",
        ),
        ([[0.0, -1e9, 0.0]], ValueError, "looks like an additive attention mask"),
        (np.float16([[0, -3]]), ValueError, r"not -3.0.*pass mask == 0"),
        ([[0.2, 1.0]], ValueError, r"True or 1 .*not 0.2: compare first, as in mask > 0.5"),
        ([[7.0, 1.0]], ValueError, "not 7.0"),
        ([[np.inf, 1.0]], ValueError, "not inf"),
        ([[0, -1]], ValueError, r"not -1: .*labels != -1; or this looks like an additive"),
        (
            np.int64([[5, -100]]),
            ValueError,
            "not -100: .*labels, .* -100 .* pass labels != -100; or",
        ),
        (np.int8([[[0], [-128]]]), ValueError, "not -128"),
        (fm.Masked(np.ones((2, 2)), HOLES[:2, :2]), TypeError, r"\.data"),
        (np.ma.masked_array([[1, 0]]), TypeError, "numpy.ma"),
    ],
)
def test_refuses_what_is_no_mask(given: object, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        fm.Mask(given)


def test_is_read_only_and_independent_of_its_source() -> None:
    source = HOLES.copy()
    mask = fm.Mask(source)
    source[:] = False
    np.testing.assert_array_equal(mask.valid, HOLES)
    with pytest.raises(ValueError, match="read-only"):
        mask.valid[0, 0] = False
    with pytest.raises(AttributeError):
        mask.valid = HOLES  # type: ignore[misc]  # on purpose
    with pytest.raises(AttributeError):
        mask.other = 1  # type: ignore[attr-defined]  # on purpose


def test_is_usable_as_a_bool_array() -> None:
    mask = fm.Mask(HOLES)
    assert (mask.shape, mask.ndim, mask.size, len(mask)) == ((3, 4), 2, 12, 3)
    assert mask.dtype == np.bool_
    np.testing.assert_array_equal(np.asarray(mask), HOLES)
    np.testing.assert_array_equal(np.asarray(mask, dtype=np.float32), HOLES.astype(np.float32))
    np.testing.assert_array_equal(mask[1:, ::2], HOLES[1:, ::2])
    np.testing.assert_array_equal(list(mask), HOLES)
    np.testing.assert_array_equal(mask == HOLES, np.ones((3, 4), bool))
    np.testing.assert_array_equal(~mask, ~HOLES)
    np.testing.assert_array_equal(mask & ~HOLES, np.zeros((3, 4), bool))
    np.testing.assert_array_equal(HOLES | mask, HOLES)
    np.testing.assert_array_equal(np.logical_or(mask, mask), HOLES)
    np.testing.assert_array_equal(np.where(mask, 1, 0), HOLES.astype(int))
    np.testing.assert_array_equal(np.split(np.asarray(mask), 2, axis=1)[0], HOLES[:, :2])
    np.testing.assert_array_equal(np.arange(12).reshape(3, 4)[mask], [0, 2, 3, 8, 9, 10, 11])
    assert np.sum(mask) == 7
    with pytest.raises(ValueError, match="ambiguous"):
        bool(mask)


def test_has_what_bool_arrays_have() -> None:
    mask = fm.Mask(HOLES)
    assert mask.any()
    assert not mask.all()
    assert mask.sum() == 7
    np.testing.assert_array_equal(mask.any(axis=1), [True, False, True])
    np.testing.assert_array_equal(mask.sum(1, keepdims=True), [[3], [0], [4]])
    np.testing.assert_array_equal(mask.T, HOLES.T)
    np.testing.assert_array_equal(mask.astype(np.float32), HOLES.astype(np.float32))
    np.testing.assert_array_equal(mask.nonzero(), HOLES.nonzero())
    np.testing.assert_array_equal(mask.reshape(4, 3), HOLES.reshape(4, 3))
    np.testing.assert_array_equal(mask.transpose(), HOLES.T)
    np.testing.assert_array_equal(mask.repeat(2, axis=1), HOLES.repeat(2, axis=1))
    np.testing.assert_array_equal(mask.cumsum(axis=1), HOLES.cumsum(axis=1))
    np.testing.assert_array_equal([mask.argmax(1), mask.argmin(1)], [[0, 0, 0], [1, 0, 0]])
    assert mask.tolist() == HOLES.tolist()
    assert (mask.mean(), mask.min(), mask.max()) == (7 / 12, False, True)
    assert (mask.itemsize, mask.nbytes) == (1, 12)
    assert [one.tolist() for one in mask] == HOLES.tolist()
    assert next(reversed(mask)).tolist() == HOLES[-1].tolist()
    assert True in mask
    for function in (np.any, np.all, np.count_nonzero, np.flatnonzero, np.transpose, np.argsort):
        np.testing.assert_array_equal(function(mask), function(HOLES))
    np.testing.assert_array_equal(np.add(HOLES, 1.0, where=mask, out=np.zeros((3, 4))), 2 * HOLES)
    np.testing.assert_array_equal(mask ^ mask, np.zeros((3, 4)))
    assert {"any", "T", "lengths"} <= set(dir(mask))
    copy = mask.copy()
    copy[:] = False  # one's own
    assert mask.any()


def test_is_not_changed_in_place() -> None:
    mask = fm.Mask(HOLES)
    with pytest.raises(TypeError, match="a mask is read-only: write mask = mask & other"):
        mask &= HOLES
    with pytest.raises(TypeError, match="read-only"):
        np.logical_or(HOLES, HOLES, out=mask)  # type: ignore[call-overload]  # on purpose
    with pytest.raises(ValueError, match="read-only"):
        mask.T[0, 0] = False
    for name in ("sort", "resize", "put", "setflags", "itemset", "nonsense", "data"):
        with pytest.raises(AttributeError, match=f"'Mask' object has no attribute '{name}'"):
            getattr(mask, name)
    np.testing.assert_array_equal(mask, HOLES)


def test_attributes_are_found_without_getattr() -> None:
    for one in (fm.Mask, fm.layers.LSTM, fm.Model):
        assert not hasattr(one, "__getattr__")  # it would slow down every attribute access


def test_small_masks_are_printed() -> None:
    assert repr(fm.Mask([[1, 0]])) == "Mask([[ True, False]])"
    assert repr(fm.Mask(np.ones((0, 3)))) == "Mask(shape=(0, 3), fill=1.00)"
    assert str(fm.Mask(HOLES)) == (
        "Mask([[ True, False,  True,  True],\n"
        "      [False, False, False, False],\n"
        "      [ True,  True,  True,  True]])"
    )
    assert repr(fm.Mask(np.eye(10))) == "Mask(shape=(10, 10), fill=0.10)"


ADDITIVE = np.array([[0.0, 0.0, -np.inf]])


@pytest.mark.parametrize(
    "enters",
    [
        fm.Mask,
        lambda mask: fm.Masked(np.ones((1, 3)), mask),
        lambda mask: fm.layers.Dense(2)(np.ones((1, 3, 2)), mask=mask),
        lambda mask: fm.layers.LSTM(2)(np.ones((1, 3, 2)), mask=mask),
        lambda mask: fm.layers.LSTM(2)(np.ones((1, 3, 2)), mask=mask[:, :, None]),
        lambda mask: fm.layers.Bidirectional(fm.layers.GRU(2))(np.ones((1, 3, 2)), mask=mask),
        lambda mask: fm.layers.Softmax()(np.ones((1, 3, 3)), mask=mask),
        lambda mask: fm.layers.Softmax()(np.ones((2, 3, 3)), mask=mask),
        lambda mask: fm.layers.Add()([np.ones((1, 3))] * 2, mask=[mask, None]),
        lambda mask: fm.layers.Lambda(np.tanh, mask=mask)(np.ones((1, 3))),
        lambda mask: fm.layers.Lambda(np.tanh, mask=lambda *_: mask)(np.ones((1, 3))),
        lambda mask: fm.layers.GlobalAveragePooling1D("channels_first")(
            np.ones((1, 2, 3)), mask=mask
        ),
        lambda mask: fm.layers.GRU(2).step(np.ones((3, 2)), [np.zeros((3, 2), "f")], mask[0]),
        lambda mask: fm.Sequential([fm.layers.LSTM(2)])(np.ones((1, 3, 2)), mask=mask),
        lambda mask: fm.layers.LSTM(2)(fm.Input((3, 2)), mask=mask),
        lambda mask: fm.ops.rnn(np.ones((1, 3, 2)), np.ones((2, 2)), np.eye(2), mask=mask),
        lambda mask: fm.losses.masked_mean(np.ones((1, 3)), mask),
        lambda mask: fm.metrics.binary_accuracy(np.ones((1, 3)), np.ones((1, 3)), mask=mask),
        lambda mask: fm.trace_masks(fm.layers.LSTM(2), np.ones((1, 3, 2)), mask=mask),
    ],
)
@pytest.mark.parametrize("given", [ADDITIVE, np.array([[0, 0, -1]]), np.array([[0.5, 1, 1]])])
def test_one_convention_wherever_masks_enter(enters: object, given: object) -> None:
    with pytest.raises(ValueError, match="True or 1 where a step is valid"):
        enters(given)  # type: ignore[operator]  # on purpose


def test_properties() -> None:
    mask = fm.Mask(HOLES)
    assert mask.lengths.tolist() == [3, 0, 4]
    assert mask.lengths.dtype == np.int64
    assert mask.fill == pytest.approx(7 / 12)
    assert fm.Mask(np.zeros((0, 5))).fill == 1.0
    assert fm.Mask(np.zeros((2, 0))).lengths.tolist() == [0, 0]


@pytest.mark.parametrize("shape", [(3, 4), (0, 4), (3, 0), (0, 0), (1, 1)])
def test_plan(shape: tuple[int, int]) -> None:
    valid = np.random.default_rng(0).random(shape) < 0.5
    offsets, steps, order = fm.Mask(valid).plan
    counts = valid.sum(axis=1)
    assert offsets.tolist() == [0, *np.cumsum(counts)]
    np.testing.assert_array_equal(steps, np.flatnonzero(valid))
    assert sorted(order.tolist()) == list(range(shape[0]))
    assert (np.diff(counts[order]) <= 0).all()
    assert {a.dtype for a in (offsets, steps, order)} == {np.dtype(np.int64)}
    assert not any(a.flags.writeable for a in (offsets, steps, order))


def test_plan_is_made_once() -> None:
    mask = fm.Mask(HOLES)
    before = _plan.plans_made()
    assert mask.plan is mask.plan
    assert _plan.plans_made() == before + 1


def test_array_of_a_mask_leads_back_to_it() -> None:
    mask = fm.Mask(HOLES)
    assert _mask.as_mask(mask.valid) is mask
    assert _mask.as_mask(mask) is mask
    assert _mask.as_mask(HOLES) is not mask
    view = mask.valid[:]
    assert _mask.as_mask(view) is not mask
    array = mask.valid
    del mask
    again = _mask.as_mask(array)
    assert again is not None
    np.testing.assert_array_equal(again.valid, HOLES)


def test_masks_that_are_gone_are_forgotten() -> None:
    gc.collect()
    before = set(_mask._masks_by_array)
    masks = [fm.Mask(np.ones((2, 3))) for _ in range(3)]
    ring: list[object] = [masks[0]]
    ring.append(ring)  # which only the garbage collector frees
    assert len(set(_mask._masks_by_array) - before) == 3
    del masks, ring
    gc.collect()
    assert set(_mask._masks_by_array) <= before


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_mask_that_was_never_made_goes_silently() -> None:
    with pytest.raises(TypeError):
        fm.Mask("no mask")
    gc.collect()


def test_plan_from_many_threads() -> None:
    mask = fm.Mask(np.random.default_rng(1).random((50, 60)) < 0.5)
    plans: list[_plan.Plan] = []
    threads = [threading.Thread(target=lambda: plans.append(mask.plan)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(plans) == 8
    for plan in plans:
        for one, other in zip(plan, plans[0], strict=True):
            np.testing.assert_array_equal(one, other)


def test_full_plan_equals_the_plan_of_a_full_mask() -> None:
    for batch, time in [(0, 3), (3, 0), (2, 5)]:
        implicit = _plan.full_plan(batch, time)
        explicit = fm.Mask(np.ones((batch, time))).plan
        assert implicit.offsets.tolist() == explicit.offsets.tolist()
        assert implicit.steps.tolist() == explicit.steps.tolist()


class TestFromLengths:
    def test_post_and_pre(self) -> None:
        post = fm.Mask.from_lengths([2, 0, 3], maxlen=4)
        assert post.valid.tolist() == [[1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0]]
        pre = fm.Mask.from_lengths(np.array([2, 0], np.int32), maxlen=3, padding="pre")
        assert pre.valid.tolist() == [[0, 1, 1], [0, 0, 0]]

    @pytest.mark.parametrize(
        ("lengths", "shape"), [([], (0, 0)), ([0, 0], (2, 0)), ([1.0, 3.0], (2, 3))]
    )
    def test_shapes(self, lengths: list[float], shape: tuple[int, int]) -> None:
        assert fm.Mask.from_lengths(lengths).shape == shape

    @pytest.mark.parametrize(
        ("lengths", "options", "error", "words"),
        [
            ([1, -2], {}, ValueError, r"lengths\[1\] is negative: -2"),
            ([1, 5], {"maxlen": 4}, ValueError, r"lengths\[1\] is 5, more than maxlen=4"),
            ([[1]], {}, ValueError, r"lengths must have shape \(batch,\), not \(1, 1\)"),
            ([1.5], {}, ValueError, "lengths must hold integers, but one is 1.5"),
            (["a"], {}, TypeError, "lengths must hold integers"),
            ([1], {"maxlen": -1}, ValueError, "maxlen must be at least 0, not -1"),
            ([1], {"maxlen": 2.0}, TypeError, "maxlen must be an integer"),
            ([1], {"padding": "left"}, ValueError, "padding must be one of 'post', 'pre'"),
            (np.array([2**64 - 1], np.uint64), {}, ValueError, "more than int64"),
        ],
    )
    def test_refuses(
        self, lengths: object, options: dict[str, object], error: type[Exception], words: str
    ) -> None:
        with pytest.raises(error, match=words):
            fm.Mask.from_lengths(lengths, **options)  # type: ignore[arg-type]  # on purpose


def pickled(x: object) -> object:
    return pickle.loads(pickle.dumps(x))  # noqa: S301 - own bytes


@pytest.mark.parametrize("clone", [copy.copy, copy.deepcopy, pickled])
def test_copies(clone: object) -> None:
    x = fm.Masked(np.arange(12.0).reshape(3, 4), HOLES)
    y = clone(x)  # type: ignore[operator]  # on purpose
    np.testing.assert_array_equal(y.data, x.data)
    np.testing.assert_array_equal(y.mask.valid, HOLES)
    np.testing.assert_array_equal(y.mask.plan.steps, x.mask.plan.steps)
