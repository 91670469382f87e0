"""The Puzzle stage's assets, for every model whose recipe has a puzzle section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from resources.recipe.budget import predict
from resources.recipe.model import ModelRecipe
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

CORPUS = "problems/corpus"
LIBRARY_VERSION = "1"


def specs(recipe: Recipe) -> list[Spec]:
    """From channel importance to the assembled (and fused) checkpoint, model by model."""
    planned = {key: plan.model_dump() for key, plan in predict(recipe).items()}
    return [
        Spec(
            stage="puzzle",
            seed=recipe.family.seed,
            model=name,
            predicted=planned.get(fields["key"], {}),
            checks=tuple(f"assets.puzzle.checks:{check}" for check in fields.pop("checks")),
            fn=f"assets.puzzle.{fields.pop('fn')}",
            **fields,
        )
        for name, model in recipe.models.items()
        for fields in _assets(name, model)
    ]


def _assets(name: str, model: ModelRecipe) -> Iterator[dict[str, Any]]:
    if model.puzzle is None:
        return
    puzzle = model.puzzle.model_dump(mode="json")
    variants = {kind: puzzle["library"][kind] for kind in ("attention", "ffn")}
    parent = {"parent": f"{name}/parent"}
    corpus = {"corpus": CORPUS}
    library = {"block_library": f"{name}/block_library"}
    architecture = {"architecture": f"{name}/architecture"}
    yield {
        "key": f"{name}/channel_importance",
        "fn": "importance:channel_importance",
        "inputs": parent | corpus,
        "recipe": puzzle["importance"],
        "checks": ("importance_finite",),
        "kinds": ("torch",),
        "description": "FFN channels and key-value heads ranked by what they contribute.",
    }
    yield {
        "key": f"{name}/block_library",
        "fn": "library:build_library",
        "inputs": parent | corpus | {"channel_importance": f"{name}/channel_importance"},
        "recipe": puzzle["library"],
        "version": LIBRARY_VERSION,
        "checks": ("library_trained",),
        "kinds": ("torch", "safetensors"),
        "pool": "gpu",
        "description": "Sub-blocks of every variant, each trained to imitate its parent block.",
    }
    yield {
        "key": f"{name}/block_scores",
        "fn": "scores:score_blocks",
        "inputs": parent | corpus | library,
        "recipe": puzzle["scores"] | variants,
        "checks": ("scores_complete",),
        "kinds": ("torch",),
        "pool": "gpu",
        "description": "KL to the parent with one block replaced, for every layer and variant.",
    }
    yield {
        "key": f"{name}/block_costs",
        "fn": "costs:block_costs",
        "inputs": parent,
        "recipe": puzzle["costs"] | variants,
        "checks": ("costs_consistent",),
        "kinds": ("python",),
        "description": "Parameters and bytes of every layer and variant, in closed form.",
    }
    yield {
        "key": f"{name}/architecture",
        "fn": "architecture:choose_architecture",
        "inputs": {
            "block_scores": f"{name}/block_scores",
            "block_costs": f"{name}/block_costs",
        },
        "recipe": puzzle["search"],
        "checks": ("limits_met",),
        "kinds": ("pulp", "highs"),
        "description": "A variant per layer with the least total score within the limits.",
    }
    yield {
        "key": f"{name}/assembled",
        "fn": "assembly:assemble",
        "inputs": parent | library | architecture | corpus,
        "recipe": {key: puzzle["scores"][key] for key in ("tokens", "sequence_length")},
        "checks": ("kl_finite",),
        "kinds": ("torch", "safetensors"),
        "description": "The searched model, put together from parent and library, untrained.",
    }
    if model.fusion is not None:
        yield {
            "key": f"{name}/fused",
            "fn": "fusion_plan:fuse_checkpoint",
            "inputs": parent | {"assembled": f"{name}/assembled"} | architecture | corpus,
            "recipe": model.fusion.model_dump(mode="json"),
            "checks": ("kl_finite",),
            "kinds": ("torch", "safetensors"),
            "description": "Runs of attention-free layers as one layer with a wide FFN each.",
        }
