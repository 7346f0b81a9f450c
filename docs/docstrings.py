"""How the reference pages read the sections of docstrings that are this project's own."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

VARIADIC = griffe.ParameterKind.var_positional, griffe.ParameterKind.var_keyword
PARAGRAPH = r"^({}):\n((?:(?: {{4}}.*)?\n?)+)"


class OwnSections(griffe.Extension):  # type: ignore[misc]
    """What a layer is called with is a list as its arguments are; its source is a paragraph."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite a docstring to what the parser knows."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        text = re.sub(r"(?m)^(\S.* .*:)\n( {4})", r"\1\n\n\2", text)  # makes it a block of code
        text = re.sub(r"(?m)^Called with$", "Other Parameters: Called with:", text)
        text = re.sub(r"(?m)^Example:$", "Examples:", text)
        # A class has no type to return, and the parser takes a tuple for one.
        titles = "Source|Returns" if obj.is_class else r"Source|Returns(?=:\n {4}\()"
        obj.docstring.value = re.sub(
            PARAGRAPH.format(titles),
            lambda found: f"**{found[1]}:** {dedent(found[2])}\n",
            text,
            flags=re.MULTILINE,
        )

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """What **kwargs are by default is nothing to tell."""
        for parameter in func.parameters:
            if parameter.kind in VARIADIC:
                parameter.default = None
