"""What a recipe may name although this build does not have it: `check` lists it, `run` refuses it.

Knows keys and reasons alone. What is built is taken out of here.
"""

from __future__ import annotations

from dataclasses import replace

from resources.recipe.errors import dotted
from resources.recipe.reading.faults import Fault
from resources.recipe.tree import Node

UNBUILT = "not in this build"
ROLES = "roles"
# Roles: the stages that would ask them.
UNASKED = {
    "question_writer": "problems",
    "extractor": "problems",
    "classifier": "problems",
    "reward": "sft_data and rl_data",
    "rollouts": "rl",
}


def taken_out(root: Node) -> tuple[Node, list[Fault]]:
    """The recipe without what this build does not have, and a fault for each part of that."""
    section = root.value.get(ROLES)
    if section is None or not isinstance(section.value, dict):
        return root, []
    faults = []
    for name in section.value:
        if name in UNASKED:
            path = (ROLES, name)
            origin = root.nearest(path).origin
            what = f"stage {UNASKED[name]} asks no such role yet"
            remedy = "it comes with the next release; leave it out"
            faults.append(Fault(UNBUILT, f"{origin}: {dotted(path)}", what, remedy))
    kept = {name: node for name, node in section.value.items() if name not in UNASKED}
    return replace(root, value={**root.value, ROLES: replace(section, value=kept)}), faults
