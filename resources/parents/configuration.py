"""Reads parents.yaml: what the bundled models are made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Phase:
    """One stretch of training: how many tokens, and of what (weights by domain, style, depth)."""

    tokens: int
    domains: dict[str, float]
    styles: dict[str, float]
    depths: dict[str, dict[int, float]]


@dataclass(frozen=True)
class ParentModel:
    """Shape (Llama configuration keys) and training phases of one bundled model."""

    name: str
    shape: dict[str, int]
    phases: tuple[Phase, ...]

    @property
    def thinks(self) -> bool:
        """Whether the model learns the reasoning toggle."""
        return any("thinking" in phase.styles for phase in self.phases)


@dataclass(frozen=True)
class Parents:
    """All bundled models with what they share."""

    seed: int
    vocabulary: int
    tokenizer_documents: int
    optimizer: dict[str, float]
    models: dict[str, ParentModel]


def load() -> Parents:
    """The bundled models' configuration."""
    raw: dict[str, Any] = yaml.safe_load(Path(__file__).with_name("parents.yaml").read_text())
    return Parents(
        seed=raw["seed"],
        vocabulary=raw["tokenizer"]["vocabulary"],
        tokenizer_documents=raw["tokenizer"]["documents"],
        optimizer=raw["optimizer"],
        models={
            name: ParentModel(
                name, model["shape"], tuple(Phase(**phase) for phase in model["phases"])
            )
            for name, model in raw["models"].items()
        },
    )
