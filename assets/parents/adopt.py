"""Takes a given checkpoint into the store: the files that matter, as they are.

Where they come from is `resources.pretrained`'s matter; what they are is their content's hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

TEACHER = "parents/teacher"


def adopt(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """A given checkpoint as an artifact, every number of it read once.

    A parent is taken apart, so it must be of a supported family; the teacher only answers, so any
    causal model will do that transformers loads without its code. Raises CheckpointError, naming
    file and field, for what is missing or wrong.
    """
    from resources.chat.chat import Chat
    from resources.chat.errors import ChatError
    from resources.models.errors import CheckpointError
    from resources.pretrained.assembling import assemble
    from resources.pretrained.checking import check, parameters, read_weights

    found = assemble(execution.model, workdir)
    with found.naming():
        check(found.folder, "teacher" if recipe.get("asset_key") == TEACHER else "parent")
        try:
            chat = Chat.load(found.folder)
        except ChatError as error:
            raise CheckpointError(str(error)) from error
        read_weights(found.folder, found.digests)
    return Output(
        files=found.contents(),
        metrics={"parameters": float(parameters(found.folder))},
        observations={**found.facts, "chat": chat.digest},
    )
