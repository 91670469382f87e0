"""The assets of sources that bring answers: conversations as they are, recorded ones judged."""

from __future__ import annotations

from typing import Any

from assets.sft_data.slices import STAGE, budgeted, cleaned, held_out, verdicts, votes
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Domain
from resources.recipe.sections.data import Source
from resources.store.home import find
from resources.store.spec import Spec


def _entries(recipe: Recipe, source: Source) -> tuple[list[dict[str, Any]], list[str]]:
    """The shards of a source and its local files. SourceError where it has none."""
    from resources.sources.shards import entries, shards

    return entries(source, shards(source, recipe.directory, find().path / "hub"))


def recorded(recipe: Recipe, name: str) -> list[Spec]:
    """The answers that a source gives, the verdicts on them, and the samples."""
    source, seed = recipe.family.sources[name], recipe.family.seed
    shards, watched = _entries(recipe, source)
    answers, apart = f"{STAGE}/{name}_responses", held_out(recipe)
    domain: Domain = source.domain  # type: ignore[assignment]  # one of DOMAINS, as it says itself
    asked = {"problems": answers, "generations": answers}
    judged = asked | ({"votes": f"{STAGE}/{name}_votes"} if source.voted else {})
    before, said = cleaned(recipe, name)
    return [
        Spec(
            key=answers,
            stage=STAGE,
            fn="assets.sft_data.responses:read_responses",
            recipe={
                "name": name,
                "source": source.read_as,
                "shards": shards,
                "max_drop": source.max_drop,
            },
            seed=seed,
            checks=("assets.sft_data.checks:responses_accounted",),
            kinds=("parquet",),
            description=f"The problems and answers of the source {name}, and the rows rejected.",
            observe=tuple(watched),
        ),
        *([votes(name, recipe, domain, asked, ("on", "off"))] if source.voted else []),
        verdicts(name, domain, judged, seed, f"answer of the source {name}"),
        Spec(
            key=f"{STAGE}/{name}",
            stage=STAGE,
            fn="assets.sft_data.select:select",
            inputs={**asked, "verdicts": f"{STAGE}/{name}_verdicts", **apart, **before},
            # As recorded: nothing was asked for in any mode, and nothing is paired.
            recipe={"domain": source.domain, "samples_on": 0, "samples_off": 0, **said},
            seed=seed,
            checks=(
                "assets.sft_data.checks:some_samples",
                "assets.sft_data.checks:toggle_obeyed",
                *(["assets.sft_data.checks:no_held_out_overlap"] if apart else []),
                "assets.sft_data.checks:nothing_lost",
                *budgeted(said),
            ),
            kinds=("parquet",),
            description=f"Verified samples of the source {name}, and every drop with its reason.",
        ),
    ]


def ready(recipe: Recipe, name: str) -> Spec:
    """The samples that a source of conversations gives. SourceError where it has no files."""
    source, apart = recipe.family.sources[name], held_out(recipe)
    before, said = cleaned(recipe, name)
    made, watched = _entries(recipe, source)
    return Spec(
        key=f"{STAGE}/{name}",
        stage=STAGE,
        fn="assets.sft_data.conversations:load",
        inputs={**apart, **before},
        recipe={
            "name": name,
            "source": source.read_as,
            "shards": made,
            "max_drop": source.max_drop,
            "holdout": source.holdout,
            "over_long": source.over_long,
            **said,
        },
        seed=recipe.family.seed,
        checks=(
            "assets.sft_data.checks:some_to_train_on",
            *(["assets.sft_data.checks:no_held_out_overlap"] if apart else []),
            "assets.sft_data.checks:rows_accounted",
            *budgeted(said),
        ),
        kinds=("parquet",),
        description=f"Conversations of the source {name} as samples, and every drop.",
        observe=tuple(watched),
    )
