"""Takes a given checkpoint or tokenizer into the store: its files, unchanged.

Where the files lie is an execution setting; what they are is their content's hash.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse.store import Artifact, Output


def adopt(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """A Llama-shaped checkpoint folder as an artifact; a hub id is fetched first.

    Raises CheckpointError when it is missing, or of a family that is not supported.
    """
    from resources.models.accounting import Shape, total_parameters
    from resources.models.loading import load_tokenizer, locate, read_config

    folder = locate(execution["source"])
    config = read_config(folder)
    load_tokenizer(folder)
    values = config.to_dict()
    parameters = total_parameters(Shape.of(values), values["block_configs"])
    return Output(files={"": folder}, metrics={"parameters": float(parameters)})


def adopt_tokenizer(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """A tokenizer folder as an artifact."""
    from resources.models.loading import load_tokenizer, locate

    folder = locate(execution["source"])
    return Output(files={"": folder}, metrics={"vocabulary": float(len(load_tokenizer(folder)))})
