"""Reads parents.yaml: what the bundled models are made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

BUNDLED = Path(__file__).resolve().parent.parent / "models" / "bundled"


@dataclass(frozen=True)
class ParentModel:
    """Shape (Llama configuration keys), token budget and diet of one bundled model."""

    name: str
    shape: dict[str, int]
    tokens: int
    styles: dict[str, float]
    depths: dict[str, dict[int, float]]


@dataclass(frozen=True)
class Parents:
    """All bundled models with what they share."""

    seed: int
    vocabulary: int
    tokenizer_documents: int
    domains: dict[str, float]
    optimizer: dict[str, float]
    models: dict[str, ParentModel]


def load() -> Parents:
    """The bundled models' configuration."""
    raw: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("parents.yaml").read_text())
    return Parents(
        seed=raw["seed"],
        vocabulary=raw["tokenizer"]["vocabulary"],
        tokenizer_documents=raw["tokenizer"]["documents"],
        domains=raw["domains"],
        optimizer=raw["optimizer"],
        models={name: ParentModel(name=name, **model) for name, model in raw["models"].items()},
    )
