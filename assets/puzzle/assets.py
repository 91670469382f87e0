"""The Puzzle stage's assets, for every model whose recipe has a puzzle section."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from assets.puzzle.runs import wide_ffn
from resources.costs.budget import predict
from resources.recipe.chats import tokens_of
from resources.recipe.model import ModelRecipe
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

LIBRARY_VERSION = "2"


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
        for fields in _assets(recipe, name, model)
    ]


def _assets(recipe: Recipe, name: str, model: ModelRecipe) -> Iterator[dict[str, Any]]:
    if model.puzzle is None:
        return
    sections = model.puzzle
    puzzle = sections.model_dump(mode="json")
    variants = {kind: puzzle["library"][kind] for kind in ("attention", "ffn")}
    sample = {key: puzzle["scores"][key] for key in ("tokens", "sequence_length")}
    parent = {"parent": f"{name}/parent"}
    corpus = {"corpus": tokens_of(recipe, name)}
    library = {"block_library": f"{name}/block_library"}
    scores = {"block_scores": f"{name}/block_scores"}
    costs = {"block_costs": f"{name}/block_costs"}
    profile = {"cost_profile": f"{name}/cost_profile"}
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
    groups = puzzle["library"].pop("groups")
    yield {
        "key": f"{name}/block_library",
        "fn": "library:build_library",
        "inputs": parent | corpus | {"channel_importance": f"{name}/channel_importance"},
        "recipe": puzzle["library"]
        | {"data_seed": recipe.family.seed}
        | ({"groups": groups} if isinstance(groups, int) else {}),
        "partitions": sections.library.partitions(),
        "version": LIBRARY_VERSION,
        "checks": ("library_trained",),
        "kinds": ("torch", "safetensors"),
        "pool": "gpu",
        "description": "Sub-blocks of every variant, each trained to imitate its parent block; "
        "a layer group a partition.",
    }
    yield {
        "key": f"{name}/block_scores",
        "fn": "scores:score_blocks",
        "inputs": parent | corpus | library,
        "recipe": puzzle["scores"] | variants,
        "checks": ("scores_complete",),
        "kinds": ("torch",),
        "pool": "gpu",
        "description": "What one replaced block does to the parent, for every layer and variant.",
    }
    measure = puzzle["costs"].pop("profile")
    yield {
        "key": f"{name}/block_costs",
        "fn": "costs:block_costs",
        "inputs": parent,
        "recipe": puzzle["costs"] | variants,
        "checks": ("costs_consistent",),
        "kinds": ("python",),
        "description": "Parameters and bytes of every layer and variant, in closed form.",
    }
    if measure is not None:
        file = measure.pop("file")
        runs = sections.scores.fused_runs
        wide = [wide_ffn(f, n) for f in runs.ffn for n in runs.lengths] if runs else []
        measured = variants | {"ffn": list(dict.fromkeys([*variants["ffn"], *wide]))}
        yield {
            "key": f"{name}/cost_profile",
            "fn": "profile:read_profile" if file else "profile:measure_profile",
            "inputs": parent,
            "recipe": measure | measured | {"dtype_bytes": puzzle["costs"]["dtype_bytes"]},
            "source": str(recipe.local(file)) if file else None,
            "checks": ("profile_complete",),
            "reproducibility": "exact" if file else "statistical",
            "kinds": ("torch",),
            "pool": "gpu",
            "description": "Measured seconds of every block variant, with hardware and software.",
        }
    search = puzzle["search"]
    timed = bool(sections.search.timed)
    rescored = parent | library | corpus if search["rounds"] else {}
    yield {
        "key": f"{name}/architecture",
        "fn": "architecture:choose_architecture",
        "inputs": parent | scores | costs | rescored | (profile if timed else {}),
        "recipe": search | sample,
        "checks": ("limits_met",),
        "kinds": ("pulp", "highs"),
        "description": "A variant per layer with the least total score within the limits.",
    }
    yield {
        "key": f"{name}/assembled",
        "fn": "assembly:assemble",
        "inputs": parent | library | architecture | corpus,
        "recipe": sample,
        "checks": ("kl_finite",),
        "kinds": ("torch", "safetensors"),
        "description": "The searched model, put together from parent and library, untrained.",
    }
    if measure is not None:
        yield {
            "key": f"{name}/cost_report",
            "fn": "predicted:compare_costs",
            "inputs": parent | {"assembled": f"{name}/assembled"} | costs | profile,
            "recipe": {
                "dtype_bytes": puzzle["costs"]["dtype_bytes"],
                "repeats": measure["repeats"],
            },
            "checks": ("prediction_holds",),
            "reproducibility": "statistical",
            "kinds": ("torch",),
            "description": "Predicted against measured costs of the chosen model.",
        }
    if sections.study is not None:
        yield {
            "key": f"{name}/search_study",
            "fn": "study:study_search",
            "inputs": parent
            | library
            | corpus
            | scores
            | costs
            | architecture
            | (profile if timed else {}),
            "recipe": puzzle["study"] | {"search": search},
            "checks": ("study_measured",),
            "kinds": ("torch",),
            "pool": "gpu",
            "description": "The search against other ways to choose at equal cost, and the sum of "
            "scores against the true KL of random assemblies.",
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
