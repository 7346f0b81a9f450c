"""The tensors of a state dict, put together into modules.

Recurrent modules of torch name their parameters `weight_ih_l0`, or `weight_ih_l1_reverse`; cells
`weight_ih`; all other modules have one parameter of each name. `_reverse` also ends the names of
`fastmask.torch.Recurrent`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from .stored import Module, Stored

_RECURRENT = re.compile(r"((?:weight|bias)_(?:ih|hh|hr))(?:_l([0-9]+))?")
_BACKWARDS = "_reverse"
_COUNTS = "num_batches_tracked"  # of BatchNorm, which inference does not need


def modules_of(tensors: Mapping[str, Stored]) -> list[Module]:
    """The modules, in the order in which their first tensors come.

    Args:
        tensors: by the names in the state dict.
    """
    found: dict[tuple[str, bool], dict[str, Stored]] = {}
    for name, tensor in tensors.items():
        prefix, _, part = name.rpartition(".")
        if part == _COUNTS:
            continue
        key, backwards = prefix, part.endswith(_BACKWARDS)
        part = part.removesuffix(_BACKWARDS)
        recurrent = _RECURRENT.fullmatch(part)
        if recurrent is not None:
            part = recurrent[1]
            key = ".".join(filter(None, (prefix, recurrent[2] and f"l{recurrent[2]}")))
        found.setdefault((key, backwards), {})[part] = tensor
    return [
        Module(name, parts, backwards, _options(parts))
        for (name, backwards), parts in found.items()
    ]


def _options(parts: Mapping[str, Stored]) -> dict[str, object]:
    """Options of torch's modules of these shapes, which ours may have otherwise."""
    ih, hh = parts.get("weight_ih"), parts.get("weight_hh")
    if ih is None or hh is None or len(ih.shape) != 2 or len(hh.shape) != 2:
        return {}
    return {"reset_after": True} if ih.shape[0] == 3 * hh.shape[1] else {}
