"""How the reference pages show the docstring sections that only this project has."""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe

VARIADIC = griffe.ParameterKind.var_positional, griffe.ParameterKind.var_keyword
PARAGRAPH = r"^({}):\n((?:(?: {{4}}.*)?\n?)+)"


class OwnSections(griffe.Extension):  # type: ignore[misc]  # Griffe is Any
    """Shows `Called with` as a list, like the arguments, and `Source` as a paragraph."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite a docstring with sections that the parser knows."""
        if obj.docstring is None:
            return
        text = obj.docstring.value
        text = re.sub(r"(?m)^(\S.* .*:)\n( {4})", r"\1\n\n\2", text)  # to make it a block of code
        text = re.sub(r"(?m)^Called with$", "Other Parameters: Called with:", text)
        text = re.sub(r"(?m)^Example:$", "Examples:", text)
        # The parser needs a return type, which classes do not have, and takes a tuple for one.
        titles = "Source|Returns" if obj.is_class else r"Source|Returns(?=:\n {4}\()"
        obj.docstring.value = re.sub(
            PARAGRAPH.format(titles),
            lambda found: f"**{found[1]}:** {dedent(found[2])}\n",
            text,
            flags=re.MULTILINE,
        )

    def on_function_instance(self, *, func: griffe.Function, **_: Any) -> None:
        """Hide the defaults of *args and **kwargs, which mean nothing."""
        for parameter in func.parameters:
            if parameter.kind in VARIADIC:
                parameter.default = None
