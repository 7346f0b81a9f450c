"""`Masked`: data that carries its mask, and cannot lose it silently."""

from __future__ import annotations

import operator

import numpy as np
import pytest

import fastmask as fm

HOLES = np.array([[1, 0, 1, 1], [0, 0, 0, 0], [1, 1, 1, 1]], bool)


class TestMasked:
    def test_has_data_and_mask(self) -> None:
        data = np.ones((3, 4, 2), np.float32)
        x = fm.Masked(data, HOLES)
        assert x.data is data
        assert (x.shape, x.dtype, x.ndim, len(x)) == ((3, 4, 2), np.float32, 3, 3)
        np.testing.assert_array_equal(x.mask.valid, HOLES)
        assert repr(x) == "Masked(shape=(3, 4, 2), dtype=float32, fill=0.58)"
        assert fm.get_mask(x) is x.mask
        assert fm.get_mask(data) is None
        mask = fm.Mask(HOLES)
        assert fm.Masked(data, mask).mask is mask

    @pytest.mark.parametrize("shape", [(3, 5, 2), (4, 3), (3,), (4, 4)])
    def test_mask_must_fit(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(ValueError, match="first two axes") as caught:
            fm.Masked(np.ones(shape), HOLES)
        assert str(shape) in str(caught.value)
        assert "(3, 4)" in str(caught.value)

    def test_needs_a_mask_and_an_array(self) -> None:
        with pytest.raises(TypeError, match="mask"):
            fm.Masked(np.ones((3, 4)), None)
        with pytest.raises(TypeError, match=r"\.data"):
            fm.Masked(fm.Masked(np.ones((3, 4)), HOLES), HOLES)
        with pytest.raises(TypeError, match=r"data must be an array \(batch, .*not Sequential"):
            fm.Masked(fm.Sequential([]), HOLES)  # type: ignore[arg-type]  # a mistake
        with pytest.raises(ValueError, match="rows differ"):
            fm.Masked([[1], [1, 2]], [[1, 1]])

    @pytest.mark.parametrize(
        "operation",
        [
            lambda x: x + 1,
            lambda x: 1 + x,
            lambda x: np.ones(2) * x,
            lambda x: x @ x,
            lambda x: -x,
            abs,
            lambda x: x == x,
            lambda x: x != 1,
            lambda x: x < 2,
            lambda x: np.ones(2) > x,
            operator.not_,
            float,
            lambda x: x[0],
            iter,
            lambda x: [*x],
            lambda x: 1.0 in x,
            np.asarray,
            np.array,
            np.exp,
            lambda x: np.add(np.ones((3, 4)), x),
            lambda x: np.add.reduce(x),
            np.mean,
            lambda x: np.concatenate([x, x]),
            lambda x: np.where(x, 1, 0),
            lambda x: np.float32(2) * x,
            lambda x: fm.Mask(HOLES) & x,
        ],
    )
    def test_never_loses_its_mask_silently(self, operation: object) -> None:
        x = fm.Masked(np.ones((3, 4)), HOLES)
        with pytest.raises(TypeError, match=r"work on \.data"):
            operation(x)  # type: ignore[operator]  # on purpose

    def test_its_shape_is_known_to_numpy(self) -> None:
        x = fm.Masked(np.ones((3, 4, 2)), HOLES)
        assert (np.shape(x), np.ndim(x), np.size(x), np.size(x, 1)) == ((3, 4, 2), 3, 24, 4)
        rows = x.to_ragged()
        assert (np.shape(rows), np.ndim(rows)) == ((3, None, 2), 3)
        with pytest.raises(TypeError, match="lose the rows of a Ragged"):
            np.size(rows)

    def test_in_place_and_assignment(self) -> None:
        x = fm.Masked(np.ones((3, 4)), HOLES)
        with pytest.raises(TypeError, match=r"\.data"):
            x += 1  # type: ignore[operator]  # on purpose
        with pytest.raises(TypeError, match=r"\.data"):
            x[0] = 1  # type: ignore[index]  # on purpose
        array = np.ones((3, 4))
        with pytest.raises(TypeError, match=r"\.data"):
            array += x  # type: ignore[arg-type]  # on purpose

    def test_one_within_another(self) -> None:
        x = fm.Masked(np.ones((3, 4)), HOLES)
        with pytest.raises(TypeError, match=r"^this operation would lose the mask of a Masked"):
            fm.Masked(x, HOLES)

    def test_methods_of_arrays_are_explained(self) -> None:
        x = fm.Masked(np.ones((3, 4)), HOLES)
        with pytest.raises(AttributeError, match=r"no attribute 'mean'; the array is \.data"):
            x.mean()
        with pytest.raises(AttributeError):
            x.data = np.zeros((3, 4))  # type: ignore[misc]  # on purpose

    def test_can_be_a_key(self) -> None:
        x = fm.Masked(np.ones((3, 4)), HOLES)
        assert {x: 1}[x] == 1
