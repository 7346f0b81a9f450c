"""Pickles, read without the module pickle, which would run the code in them.

`pickletools` takes a pickle apart into its instructions. Here they make dictionaries, lists,
tuples, numbers and texts only. Whatever a pickle names, calls or keeps elsewhere is passed to the
caller, who interprets it or refuses it.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from typing import Any, NamedTuple


class Name(NamedTuple):
    """A class or function that a pickle names; it is never imported."""

    path: str


class Unpickler:
    """A machine with a stack, marks on it, and a memo.

    Args:
        named: gets "module name", and raises unless it is a known one.
        called: returns the result of the function with that path for its arguments.
        stored: returns the object for a persistent id.
    """

    def __init__(
        self,
        named: Callable[[str], None],
        called: Callable[[str, tuple[Any, ...]], Any],
        stored: Callable[[Any], Any],
    ) -> None:
        self._named, self._called, self._stored = named, called, stored
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}

    def run(self, data: bytes) -> Any:
        """What a pickle describes.

        Raises:
            ValueError: it has an instruction that is not known here.
            Exception: of any kind, for a damaged pickle.
        """
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                return self._stack.pop()
            follow = _INSTRUCTIONS.get(opcode.name)
            if follow is None:
                raise ValueError(f"its pickle has {opcode.name}, which it does not need")
            follow(self, argument)
        raise ValueError("its pickle has no end")

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _since_mark(self) -> list[Any]:
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _last(self, count: int) -> tuple[Any, ...]:
        items = tuple(self._stack[-count:])
        del self._stack[-count:]
        return items

    def _mark(self, _: None) -> None:
        self._marks.append(len(self._stack))

    def _remember(self, number: int | None) -> None:
        self._memo[len(self._memo) if number is None else number] = self._stack[-1]

    def _recall(self, number: int) -> None:
        self._push(self._memo[number])

    def _extend(self, items: list[Any] | tuple[Any, ...]) -> None:
        checked(self._stack[-1], list).extend(items)

    def _set(self, items: list[Any] | tuple[Any, ...]) -> None:
        pairs = dict(zip(items[::2], items[1::2], strict=True)) if _plain_keys(items) else None
        checked(self._stack[-1], dict).update(checked(pairs, dict))

    def _name(self, path: str | None) -> None:
        path = path or " ".join(checked(word, str) for word in self._last(2))
        self._named(path)
        self._push(Name(path))

    def _call(self, _: None) -> None:
        function, arguments = self._last(2)
        self._push(self._called(checked(function, Name).path, checked(arguments, tuple)))

    def _build(self, _: None) -> None:
        self._stack.pop()  # attributes, such as the versions of a state dict's modules
        checked(self._stack[-1], dict)

    def _load(self, _: None) -> None:
        self._push(self._stored(self._stack.pop()))


def checked(value: Any, kind: type) -> Any:
    """`value`, which must be of that kind."""
    if type(value) is not kind:
        raise ValueError(
            f"its pickle has a {type(value).__name__} in the place of a {kind.__name__}"
        )
    return value


def _plain_keys(items: list[Any] | tuple[Any, ...]) -> bool:
    """Whether keys are hashed at once: Python crashes at tuples that are nested too deep."""
    return all(type(key) in (str, int) for key in items[::2])


_Follow = Callable[[Unpickler, Any], None]
_INSTRUCTIONS: dict[str, _Follow] = {
    **dict.fromkeys(("PROTO", "FRAME"), lambda *_: None),
    **dict.fromkeys(
        "BINUNICODE SHORT_BINUNICODE BININT BININT1 BININT2 LONG1 BINFLOAT".split(), Unpickler._push
    ),
    "NONE": lambda self, _: self._push(None),
    "NEWTRUE": lambda self, _: self._push(True),
    "NEWFALSE": lambda self, _: self._push(False),
    "EMPTY_TUPLE": lambda self, _: self._push(()),
    "EMPTY_LIST": lambda self, _: self._push([]),
    "EMPTY_DICT": lambda self, _: self._push({}),
    "MARK": Unpickler._mark,
    "TUPLE": lambda self, _: self._push(tuple(self._since_mark())),
    "TUPLE1": lambda self, _: self._push(self._last(1)),
    "TUPLE2": lambda self, _: self._push(self._last(2)),
    "TUPLE3": lambda self, _: self._push(self._last(3)),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT", "MEMOIZE"), Unpickler._remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), Unpickler._recall),
    "APPEND": lambda self, _: self._extend(self._last(1)),
    "APPENDS": lambda self, _: self._extend(self._since_mark()),
    "SETITEM": lambda self, _: self._set(self._last(2)),
    "SETITEMS": lambda self, _: self._set(self._since_mark()),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), Unpickler._name),
    "REDUCE": Unpickler._call,
    "BINPERSID": Unpickler._load,
    "BUILD": Unpickler._build,
}
