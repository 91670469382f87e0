"""The SFT stage's assets: a blend and a checkpoint for every SFT stage of every model."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from resources.recipe.schema import Recipe
from resources.recipe.sections.supervised import Sft
from resources.store.spec import Spec

VERSION = "6"
BLEND_KEYS = ("name", "domains", "mix", "reasoning", "off_share", "samples", "start_from")
HELD_OUT = "problems/held_out"


def specs(recipe: Recipe) -> list[Spec]:
    """`<model>/<stage>_blend` and `<model>/<stage>`, in training order.

    What only the blend depends on stays out of the checkpoint's slice and the other way round, so a
    new learning rate leaves the blend alone.
    """
    return [
        spec
        for name, model in recipe.models.items()
        for stage in model.sft
        for spec in (_blend(recipe, name, stage), _checkpoint(recipe, name, stage))
    ]


def _blend(recipe: Recipe, name: str, stage: Sft) -> Spec:
    held_out = {"held_out": HELD_OUT} if recipe.family.problems else {}
    modes = wanted_modes(recipe, stage)
    return Spec(
        key=f"{name}/{stage.name}_blend",
        stage="sft",
        fn="assets.sft.blend:make_blend",
        inputs={**_datasets(modes), **held_out},
        recipe={
            "name": stage.name,
            "domains": {d: weight for d, weight in stage.weights.items() if d in modes},
            "reasoning": modes,
            "off_share": stage.off_share,
            "samples": stage.samples,
        },
        seed=recipe.family.seed,
        checks=(
            "assets.sft.checks:no_empty_domain",
            *(["assets.sft.checks:no_held_out_overlap"] if held_out else []),
        ),
        model=name,
        kinds=("parquet",),
        description=f"The samples that {name}/{stage.name} is trained on.",
    )


def _checkpoint(recipe: Recipe, name: str, stage: Sft) -> Spec:
    before = recipe.models[name].stage(stage.name).before
    return Spec(
        key=f"{name}/{stage.name}",
        stage="sft",
        fn="assets.sft.train:sft",
        inputs={
            "model": recipe.checkpoint_key(name, before),
            "blend": f"{name}/{stage.name}_blend",
            **_datasets(wanted_modes(recipe, stage)),
        },
        recipe=_training(stage),
        seed=recipe.family.seed,
        version=VERSION,
        checks=(
            "resources.training.checks:loss_finite",
            "resources.training.checks:loss_decreased",
            "assets.sft.checks:cross_entropy_not_worse",
            "assets.sft.checks:packs_filled",
        ),
        model=name,
        kinds=("torch", "deepspeed"),
        pool="gpu",
        description=f"{name} after the SFT stage {stage.name}, from {before}.",
    )


def _datasets(domains: Iterable[str]) -> dict[str, str]:
    return {domain: f"sft_data/{domain}" for domain in domains}


def wanted_modes(recipe: Recipe, stage: Sft) -> dict[str, list[str]]:
    """The modes of each weighted domain that the stage wants and the family samples at all.

    Of a source all conversations are wanted, as they are; of a domain that is not judged, none.
    """
    modes: dict[str, list[str]] = {}
    for domain, weight in stage.weights.items():
        if weight <= 0 or domain in recipe.family.unjudged:
            continue
        if domain in recipe.family.sources:
            modes[domain] = ["any"]
            continue
        data = recipe.family.sft_data.get(domain)  # type: ignore[call-overload]
        sampled = {"on": data.samples_on, "off": data.samples_off} if data else {}
        modes[domain] = [mode for mode in stage.reasoning if sampled.get(mode)]
    return modes


def _training(stage: Sft) -> dict[str, Any]:
    dump = stage.model_dump(mode="json")
    return {key: value for key, value in dump.items() if key not in BLEND_KEYS}
