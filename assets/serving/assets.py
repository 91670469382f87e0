"""The serving stage's assets: `<model>/exported` for every model that is meant to be served."""

from __future__ import annotations

from resources.engines.vllm import missing
from resources.recipe.schema import Recipe
from resources.store.spec import Spec

# How much is compared in vLLM: more costs little beside starting it.
PROMPTS, TOKENS = 16, 32
STARTED, WRITTEN = 15.0, 2.0  # seconds of a small export, with and without vLLM
SOUND, EQUAL = "assets.serving.checks:layout_sound", "assets.serving.checks:equal_in_vllm"


def specs(recipe: Recipe) -> list[Spec]:
    """The export of each model's final checkpoint, where the model is to be exported."""
    return [
        export_spec(recipe, f"{name}/{model.artifacts()[-1]}")
        for name, model in recipe.models.items()
        if model.exported
    ]


def export_spec(
    recipe: Recipe, checkpoint: str, form: str | None = None, version: str | None = None
) -> Spec:
    """The export of any checkpoint: of a model's final one, in the form that suits it, the asset.

    Others have what is different about them in their keys: the checkpoint, the `form` (None: the
    first that holds the model), the `version` where it is not the current one.
    """
    name, _, artifact = checkpoint.rpartition("/")
    model = recipe.models.get(name)
    final = model is not None and artifact == model.artifacts()[-1]
    parts = filter(None, [None if final else artifact, form, version])
    return Spec(
        key="_".join([f"{name}/exported", *parts]),
        stage="serving",
        fn="assets.serving.export:build_exported",
        inputs={"model": checkpoint},
        recipe={"prompts": PROMPTS, "tokens": TOKENS} | ({"form": form} if form else {}),
        seed=recipe.family.seed,
        checks=(SOUND, EQUAL),
        model=name if model is not None else None,
        kinds=("torch",),
        predicted={"seconds": STARTED if missing() is None else WRITTEN},
        description=f"{checkpoint} for vLLM: stock where its own class computes the model, else "
        "with our plugin.",
    )
