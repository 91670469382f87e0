"""What a recipe may name although this build does not have it: `check` lists it, `run` refuses it.

Knows keys and reasons alone. What is built is taken out of here.
"""

from __future__ import annotations

from dataclasses import replace

from resources.recipe.errors import dotted
from resources.recipe.reading.faults import Fault
from resources.recipe.tree import Node

UNBUILT = "not in this build"
# Top-level keys: the stages that would use them, and what works today.
TOP = {
    "roles": (
        "stages sft_data, rl_data and evaluation",
        "servers as engines come with the next release; name a model under `teacher`",
    ),
}


def taken_out(root: Node) -> tuple[Node, list[Fault]]:
    """The recipe without what this build does not have, and a fault for each part of that."""
    faults = []
    for key, (stages, reason) in TOP.items():
        node = root.value.get(key)
        if node is None:
            continue
        parts = list(node.value) if isinstance(node.value, dict) and node.value else [None]
        for part in parts:
            path = (key,) if part is None else (key, part)
            origin = root.nearest(path).origin
            faults.append(Fault(UNBUILT, f"{origin}: {dotted(path)}", f"used by {stages}", reason))
    kept = {key: node for key, node in root.value.items() if key not in TOP}
    return replace(root, value=kept), faults
