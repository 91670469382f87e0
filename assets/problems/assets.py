"""The problems stage's assets: `problems/<domain>`, `problems/held_out` and `problems/corpus`."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from resources.recipe.chats import CORPUS_TOKENS, chats_of
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Domain, needed
from resources.recipe.sections.cleaning import decontaminated
from resources.recipe.sections.data import HELD_TEXT, WRITTEN, CorpusMix, Source
from resources.sources.incoming import files
from resources.store.home import find
from resources.store.spec import Spec

HELD_OUT = "problems/held_out"
CORPUS = "problems/corpus"
QUESTIONS = "questions"  # of a declared source: `problems/questions_<name>`


def specs(recipe: Recipe) -> list[Spec]:
    """Declared questions, the held-out set over all domains, a problem set a domain without it, and
    the corpus."""
    family = recipe.family
    sections = {
        name: section.model_dump(mode="json")
        | {"extra_sources": list(family.problem_sources(name))}
        for name, section in family.problems.items()
    }
    made = [_held_out(recipe, sections)] if sections else []
    made += [
        _questions(recipe, name) for names in sections.values() for name in names["extra_sources"]
    ]
    made += [_benchmark(recipe, name) for name in family.declared_benchmarks]
    made += [_problems(recipe, domain, section) for domain, section in sections.items()]
    asked = any(each.path == HELD_TEXT for each in family.declared_benchmarks.values())
    compared = family.side_by_side is not None
    read = compared or any(model.reads("corpus") for model in recipe.models.values())
    if not asked and not read:
        return made
    if isinstance(family.corpus, CorpusMix):
        made += mixed(recipe, family.corpus)
        limits: dict[str, Any] = {"weights": family.corpus.weights, "tokens": family.corpus.tokens}
    else:
        limits = {"max_tokens": family.corpus.max_tokens}
        made.append(
            Spec(
                key=CORPUS,
                stage="problems",
                fn="assets.problems.corpus:make_corpus",
                recipe={"documents": family.corpus.documents, "domains": sorted(sections)},
                seed=family.seed,
                checks=("assets.problems.checks:not_empty",),
                kinds=("parquet",),
                description="Instruct turns and worked texts: for distillation and pretraining.",
                predicted={"seconds": 1.0},
            )
        )
    return [*made, _tokens(recipe, limits)] if read else made


def _held_out(recipe: Recipe, sections: Mapping[Domain, dict[str, Any]]) -> Spec:
    return Spec(
        key=HELD_OUT,
        stage="problems",
        fn="assets.problems.make:make_held_out",
        inputs={k: v for section in sections.values() for k, v in _read(section).items()},
        recipe={
            **needed(recipe.family.held_out, "held_out").model_dump(mode="json"),
            "domains": {
                name: {
                    "kinds": section["kinds"],
                    "extra_sources": section["extra_sources"],
                    **_unwanted(recipe, name),
                }
                for name, section in sections.items()
            },
        },
        seed=recipe.family.seed,
        checks=(
            "assets.problems.checks:not_empty",
            "assets.problems.checks:all_held_out",
            *_accounted(recipe.family.problem_sources(domain) for domain in sections),
        ),
        kinds=("parquet",),
        description="Problems of held-out compositions and depths, for measurement only.",
        predicted={"seconds": 1.0},
    )


def _unwanted(recipe: Recipe, domain: Domain) -> dict[str, Any]:
    """The kinds of problems that a domain's sources do not want, where any says so."""
    sources = recipe.family.problem_sources(domain).items()
    drop = {name: sorted(set(each.drop)) for name, each in sources if each.drop}
    return {"drop": drop} if drop else {}


def _read(section: Mapping[str, Any]) -> dict[str, str]:
    """The questions of a domain's declared sources as inputs."""
    return {
        f"{QUESTIONS}_{name}": f"problems/{QUESTIONS}_{name}" for name in section["extra_sources"]
    }


def _accounted(sources: Iterable[Collection[str]]) -> list[str]:
    """The check of what becomes of declared questions, where there are some."""
    return ["assets.problems.checks:questions_accounted"] if any(sources) else []


def _questions(recipe: Recipe, name: str) -> Spec:
    """The rows of a declared source of problems. SourceError where it has no files.

    Of a hub's the files are asked for when they are read: no plan waits for a network.
    """
    from resources.sources.shards import entries, shards

    source, memory = recipe.family.sources[name], find().path / "hub"
    made: list[dict[str, Any]] | None = None
    watched: list[str] = []
    if not source.path.startswith("hub:"):
        made, watched = entries(source, shards(source, recipe.directory, memory))
    return Spec(
        key=f"problems/{QUESTIONS}_{name}",
        stage="problems",
        fn="assets.problems.questions:read_questions",
        recipe={
            "name": name,
            "source": source.read_as,
            "max_drop": source.max_drop,
            "shards": made,
        },
        seed=recipe.family.seed,
        checks=("assets.problems.checks:not_empty", "assets.problems.checks:rows_accounted"),
        kinds=("parquet",),
        description=f"The problems of the source {name}, row by row, and those rejected.",
        observe=tuple(watched),
    )


def _benchmark(recipe: Recipe, name: str) -> Spec:
    """A declared benchmark. SourceError where it has no files."""
    from resources.benchmarks.problems import where
    from resources.sources.shards import entries

    benchmark = recipe.family.declared_benchmarks[name]
    (asked, asked_files), (shown, shown_files) = (
        entries(benchmark.problems, found)
        for found in where(benchmark, recipe.directory, find().path / "hub")
    )
    return Spec(
        key=f"benchmarks/{name}",
        stage="problems",
        fn="assets.problems.benchmarks:hold_out",
        inputs={"corpus": CORPUS} if benchmark.path == HELD_TEXT else {},
        recipe={
            "name": name,
            "benchmark": benchmark.read_as,
            "shards": asked,
            "example_shards": shown,
        },
        seed=recipe.family.seed,
        checks=("assets.problems.checks:not_empty", "assets.problems.checks:all_held_out"),
        kinds=("parquet",),
        description=f"The benchmark {name}, held out whole.",
        predicted={"seconds": 1.0},
        observe=(*asked_files, *shown_files),
    )


def _problems(recipe: Recipe, domain: Domain, section: dict[str, Any]) -> Spec:
    watched = recipe.family.watched_folder
    folder = Path(watched) if watched else find().path / "incoming"
    benchmarks = recipe.benchmark_inputs
    # Said in the slice, so that what was compared by text alone is not taken for this.
    compared = {"by_words": True} if benchmarks else {}
    cleaning = recipe.family.cleaning
    near = cleaning.deduplicate.near if cleaning and cleaning.deduplicate else None
    return Spec(
        key=f"problems/{domain}",
        stage="problems",
        fn="assets.problems.make:make_problems",
        inputs={"held_out": HELD_OUT, **_read(section), **benchmarks},
        recipe={
            "domain": domain,
            **section,
            **_unwanted(recipe, domain),
            **compared,
            **decontaminated(recipe.family.cleaning, benchmarks),
            **({"deduplicate": {"near": near}} if near and section["extra_sources"] else {}),
        },
        seed=recipe.family.seed,
        checks=(
            "assets.problems.checks:not_empty",
            "assets.problems.checks:distinct_questions",
            "assets.problems.checks:nothing_held_out",
            *_accounted([section["extra_sources"]]),
        ),
        kinds=("parquet",),
        description=f"Training problems of the domain {domain}, with ground truth.",
        predicted={"seconds": 1.0},
        observe=tuple(str(path) for path in files(folder, domain)),
    )


def _tokens(recipe: Recipe, limits: Mapping[str, Any]) -> Spec:
    """The corpus as token ids, a partition for each distinct chat among the models."""
    chats = chats_of(recipe)
    return Spec(
        key=CORPUS_TOKENS,
        stage="problems",
        fn="assets.problems.corpus_tokens:make_tokens",
        inputs={"corpus": CORPUS},
        # The first model with a chat lends it; which one does is no part of what is made.
        inputs_of={
            chat: {"model": recipe.checkpoint_key(name)}
            for name, chat in reversed(list(chats.items()))
        },
        partitions={chat: {} for chat in chats.values()},
        recipe=limits,
        seed=recipe.family.seed,
        checks=("assets.problems.checks:not_empty",),
        kinds=("parquet",),
        description="The corpus as token ids with a loss mask, for each chat among the models.",
        predicted={"seconds": 3.0},
    )


def mixed(recipe: Recipe, corpus: CorpusMix) -> list[Spec]:
    """The shards of each source that the corpus mixes, and the mixture.

    Raises SourceError where a source has no files.
    """
    from resources.sources.shards import description, shards

    family, memory = recipe.family, find().path / "hub"
    made: list[Spec] = []
    for name, source in family.mixed_sources.items():
        if source.path.startswith(WRITTEN):
            made.append(_written(recipe, name, source))
            continue
        parts, files = {}, {}
        for shard in shards(source, recipe.directory, memory):
            pieces, files[shard.name] = description(source, shard)
            parts[shard.name] = {"shard": shard.name, "pieces": pieces}
        made.append(
            Spec(
                key=f"problems/text_{name}",
                stage="problems",
                fn="assets.problems.texts:make_texts",
                recipe={"name": name, "source": source.read_as},
                partitions=parts,
                observe_of=files,
                seed=family.seed,
                kinds=("parquet",),
                description=f"The rows of the source {name}, shard by shard, and those rejected.",
            )
        )
    made.append(
        Spec(
            key=CORPUS,
            stage="problems",
            fn="assets.problems.mixture:make_mixture",
            inputs={
                **{name: f"problems/text_{name}" for name in family.mixed_sources},
                **recipe.published_inputs,
            },
            recipe={
                "weights": corpus.weights,
                "max_drop": {name: each.max_drop for name, each in family.mixed_sources.items()},
                "tokens": corpus.tokens,
                "holdout": corpus.share_apart(family.sources),
                **decontaminated(family.cleaning, recipe.published_inputs),
            },
            seed=family.seed,
            checks=(
                "assets.problems.checks:not_empty",
                "assets.problems.checks:both_splits",
                "assets.problems.checks:documents_accounted",
            ),
            kinds=("parquet",),
            description="Text of the declared sources in their shares, for training and apart.",
        )
    )
    return made


def _written(recipe: Recipe, name: str, source: Source) -> Spec:
    """What a model's parent answers to bundled prompts."""
    model = source.path.removeprefix(WRITTEN)
    return Spec(
        key=f"problems/text_{name}",
        stage="problems",
        fn="assets.problems.written:write_texts",
        inputs={"model": recipe.checkpoint_key(model)},
        recipe={"name": name, "source": source.read_as, "shard": "all"},
        seed=recipe.family.seed,
        kinds=("torch", "parquet"),
        pool="gpu",
        description=f"What {model}'s parent writes itself (self-distillation).",
    )
