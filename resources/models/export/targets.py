"""The forms in which a model leaves: what each accepts, what writes it, and which suits a model.

Knows the forms by name; each one's rules are in its own module.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

NEMOTRON_NAS, HEIRLOOM, PADDED = "nemotron-nas", "heirloom", "padded"


@dataclass(frozen=True)
class Target:
    """One form.

    `accepts(values, dtype)` gives every reason against a model of these values of our
    configuration, none when it can be written; `write(model, folder, tokenizer_dir)` writes it and
    gives remarks for the reader, raises ExportError for those reasons; `for_whom` says what loads
    the folder.
    """

    name: str
    for_whom: str
    accepts: Callable[[Mapping[str, Any], str], list[str]]
    write: Callable[[HeterogeneousDecoderForCausalLM, Path, Path], list[str]]


def target(name: str) -> Target:
    """The form of this name. Raises KeyError for another."""
    return {each.name: each for each in targets()}[name]


def targets() -> tuple[Target, ...]:
    """All forms, the one that the most engines load first; those that save nothing last."""
    from resources.models.export import heirloom, nemotron_nas, padded

    return (
        Target(
            NEMOTRON_NAS,
            "vLLM's own class, with this package's plugin for the configuration",
            nemotron_nas.accepts,
            nemotron_nas.export,
        ),
        Target(
            HEIRLOOM,
            "vLLM with this package as its plugin",
            heirloom.accepts,
            heirloom.export,
        ),
        Target(
            PADDED,
            "stock vLLM and transformers, as a plain model that saves nothing",
            padded.accepts,
            padded.export,
        ),
    )


def sound(folder: str | Path) -> dict[str, int]:
    """Check a written folder of any form against its own config.json; its tensors and parameters.

    Raises CheckpointError with what is missing, misshapen or left over.
    """
    from resources.models.export.nemotron_nas import check_layout
    from resources.models.families.nemotron_nas import MODEL_TYPE
    from resources.models.loading import check_weights, description
    from resources.models.weights import Weights

    values, weights = description(folder), Weights(folder)
    if json.loads((Path(folder) / "config.json").read_text())["model_type"] == MODEL_TYPE:
        return check_layout(folder)
    check_weights(weights, values)
    held = [prod(entry.shape) for entry in weights.entries.values()]
    return {"tensors": len(held), "parameters": sum(held)}


def suited(values: Mapping[str, Any], dtype: str) -> tuple[Target, dict[str, list[str]]]:
    """The first form that accepts a model of our configuration's `values`, and the reasons of those
    before it.

    Raises ExportError with every form's reasons where none does.
    """
    from resources.models.errors import ExportError

    against: dict[str, list[str]] = {}
    for each in targets():
        reasons = each.accepts(values, dtype)
        if not reasons:
            return each, against
        against[each.name] = reasons
    said = " | ".join(f"{name}: {'; '.join(reasons)}" for name, reasons in against.items())
    raise ExportError(f"no form holds this model: {said}")
