"""What is kept between calls is bounded in bytes."""

from __future__ import annotations

from fastmask._bounded import keep


def test_as_much_is_kept_as_fits() -> None:
    made: list[int] = []

    @keep(10, len)
    def zeros(count: int) -> bytes:
        made.append(count)
        return bytes(count)

    for count in (4, 5, 4):
        assert len(zeros(count)) == count
    assert made == [4, 5]
    zeros(3)  # 12 bytes: the 5 were not asked for longest
    zeros(4)
    assert made == [4, 5, 3]
    zeros(5)
    assert made == [4, 5, 3, 5]


def test_the_last_result_is_kept_however_large() -> None:
    made: list[int] = []

    @keep(10, len)
    def zeros(count: int) -> bytes:
        made.append(count)
        return bytes(count)

    for count in (4, 100, 100, 4, 4):
        zeros(count)
    assert made == [4, 100, 4]
