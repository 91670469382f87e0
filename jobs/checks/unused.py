"""What is written down and used by nothing that runs.

A setting is used if leaving it out changes what would be built: every asset's inputs, slice and
checks are compared. Where that cannot tell (what no asset's slice holds), the reader is named here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from jobs.checks.asked import Asked, Finding
from resources.recipe.reading.finding import PREFIX
from resources.recipe.reading.shape import EXECUTION, MODELS
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Optimizer
from resources.recipe.sections.cleaning import Cleaning
from resources.recipe.sections.data import PYTHON, WRITTEN, CorpusMix, Source
from resources.recipe.sections.family import Family
from resources.recipe.sections.feedback_edit import STEPS
from resources.recipe.sections.model import ModelRecipe
from resources.recipe.sections.puzzle import Puzzle
from resources.recipe.sections.roles import RoleName
from resources.recipe.sections.supervised import Distillation
from resources.recipe.tree import KeyPath
from resources.store.spec import Spec

LEAVE_OUT = "leave it out"
SOME = "[puzzle, distillation]"
# Of the family: what names it, what is told apart below, and sources and benchmarks by name.
_NAMES = {
    "name",
    "seed",
    "license",
    "sources",
    "benchmarks",
    "watched_folder",
    "published_rows",
    "roles",
    "cleaning",
}
# Of the family: what models' stages alone read.
_FOR_STAGES = ("pass_rates", "instruction_prompts", "reward_model")
MADE = ("problems", "preferences")  # kinds of which an asset is made whoever names them
# Of a source: what it is.
_SOURCE = {"kind", "path", "fields", "license", "verifier", "answers", "files", "format"}
# Assets that others are made of: one that nothing reads is made for nothing.
_MATERIAL = ("parents", "problems", "sft_data", "rl_data")
# Where such an asset is written down, when its key does not say it.
_SAYS: Mapping[str, KeyPath] = {
    "parents/teacher": ("teacher",),
    "problems/held_out": ("held_out",),
    "problems/corpus_tokens": ("corpus",),
}


def unused(asked: Asked) -> Iterator[Finding]:
    """Settings that nothing which runs reads.

    A base says much for whoever needs it: only what a person wrote is theirs to mend. Where
    `stages` chooses among sections, what the others would read may stay: it stops nothing.
    """
    chosen = any(model.stages is not None for model in asked.recipe.models.values())
    for keys, what, remedy in (
        *_sources(asked.recipe),
        *_settings(asked.recipe),
        *_cleaning(asked.recipe),
        *_roles(asked.recipe),
        *_stages(asked.recipe),
        *_constant(asked.recipe),
        *_execution(asked.recipe),
    ):
        if _own(asked.recipe, keys):
            yield asked.fault(keys, what, remedy, stops=not chosen)
    yield from _untouched(asked)


Unread = tuple[KeyPath, str, str]  # where, what of it, what would be right


def _own(recipe: Recipe, keys: KeyPath) -> bool:
    """Whether a person wrote it, not a base that comes with the package."""
    node = recipe.tree.at(keys)
    return node is not None and not str(node.origin).startswith(PREFIX)


def _sources(recipe: Recipe) -> Iterator[Unread]:
    """Sources that nothing draws from, and what is said of one beside what its kind reads."""
    family = recipe.family
    drawn = set(recipe.drawn_sources)
    drawn |= {name for name, each in family.sources.items() if each.kind in MADE}
    if isinstance(family.corpus, CorpusMix):
        drawn |= set(family.corpus.mix)
    for name, source in family.sources.items():
        if name not in drawn:
            remedy = "name it in corpus.mix or in the mix of an SFT stage, or leave it out"
            yield ("sources", name), "no stage draws from it", remedy
            continue
        for field in sorted(source.model_fields_set - _SOURCE):
            usual = type(source).model_fields[field].get_default(call_default_factory=True)
            keys = ("sources", name, field)
            if getattr(source, field) == usual or not _own(recipe, keys):
                continue
            if (reader := _reader(source, field)) is not None:
                yield keys, f"it is of {reader}", LEAVE_OUT
                continue
            other = source.model_copy(update={field: usual})
            if _same(recipe, {"sources": {**family.sources, name: other}}):
                what = f"nothing reads it of a source of kind {source.kind}, as this one is used"
                yield keys, what, LEAVE_OUT


def _reader(source: Source, field: str) -> str | None:
    """What alone reads a field of this name, where this source is no such thing."""
    files = not source.path.startswith((PYTHON, WRITTEN))
    form = _format(source) if files else None
    plain = source.kind == "text" and files and form in (None, "text")
    if field == "document" and not plain:
        return "sources of kind text in files of plain text"
    if field == "encoding" and (not files or form == "parquet"):
        return "files of text"
    away = source.path.startswith("hub:") and source.files is None
    if field in ("config", "split") and not away:
        return "hub data sets without `files`"
    return None


def _format(source: Source) -> str | None:
    """The format of a source's files, where it is declared or their name says it."""
    from resources.sources.account import SourceError
    from resources.sources.shards import format_of

    try:
        return source.format or format_of(source.path)
    except SourceError:
        return None


def _settings(recipe: Recipe) -> Iterator[Unread]:
    """Shared sections without which the same assets would be built."""
    family = recipe.family
    for key in _FOR_STAGES:
        if not any(model.reads(key) for model in recipe.models.values()):
            stages = " or ".join(ModelRecipe.readers(key))
            yield (key,), f"no model has {stages}, which alone reads it", LEAVE_OUT
    if family.published_rows is not None:
        yield ("published_rows",), "no stage reads it", LEAVE_OUT
    if family.watched_folder is not None and not family.problems:
        yield (
            ("watched_folder",),
            "the recipe has no problems, to which its files are added",
            ("add `problems: …`, or leave it out"),
        )
    for field in sorted(family.model_fields_set - _NAMES.union(_FOR_STAGES)):
        usual = Family.model_fields[field].get_default(call_default_factory=True)
        if getattr(family, field) == usual or not _own(recipe, (field,)):
            continue
        if _same(recipe, {field: usual}):
            yield (field,), "no stage that runs reads it", LEAVE_OUT


def _cleaning(recipe: Recipe) -> Iterator[Unread]:
    """Parts of `cleaning` without which the same assets would be built."""
    cleaning = recipe.family.cleaning
    if cleaning is None:
        return
    said = cleaning.model_dump(exclude_defaults=True)
    if not said:
        yield ("cleaning",), "it asks for nothing", "name what to drop, or leave it out"
    for field in sorted(said):
        other = cleaning.model_copy(update={field: getattr(Cleaning(), field)})
        if not _same(recipe, {"cleaning": other}):
            continue
        if field == "decontaminate" and not recipe.benchmark_inputs:
            what = "no benchmark is declared, so there is nothing to compare with"
            yield ("cleaning", field), what, "add `benchmarks: …`, or leave it out"
        else:
            yield ("cleaning", field), "no stage that runs reads it", LEAVE_OUT


def _roles(recipe: Recipe) -> Iterator[Unread]:
    """Roles that nothing asks."""
    family, models = recipe.family, recipe.models.values()
    data = recipe.answered.values()
    answering = {role for each in data for role in each.roles(family)}
    asks: dict[RoleName, bool] = {
        "teacher": "teacher" in answering,
        "off": "off" in answering,
        "writer": any(each.path.startswith(WRITTEN) for each in family.sources.values()),
        "pass_rates": any(model.grpo for model in models),
        "preferences": any(model.preference for model in models),
        "evaluation": family.benchmarks is not None or family.side_by_side is not None,
        "judge": any(each.judge for each in data),
        **{role: any(each.feedback_edit for each in data) for role in STEPS},
    }
    for name in family.roles:
        if not asks[name]:
            yield ("roles", name), "no stage that runs asks this role", LEAVE_OUT


def _stages(recipe: Recipe) -> Iterator[Unread]:
    """Sections of a model that its `stages` do not name; an order in it that means nothing."""
    for name, model in recipe.models.items():
        order = [stage for stage in model.stage_fields() if stage in (model.stages or ())]
        if model.stages and model.stages != order:
            what = f"they run in the order {', '.join(order)}, however they are named"
            yield (MODELS, name, "stages"), what, "write them so"
        for stage in model.stage_fields():
            node = recipe.tree.at((MODELS, name, stage))
            if model.stages is None or stage in model.stages or node is None or not node.value:
                continue
            what, remedy = f"'stages' of {name} leaves it out", f"add {stage} to it, or {LEAVE_OUT}"
            yield (MODELS, name, stage), what, remedy


def _untouched(asked: Asked) -> Iterator[Finding]:
    """Models of which nothing is built."""
    family = asked.recipe.family
    for name, model in asked.recipe.models.items():
        if model.line():
            continue
        if family.benchmarks is not None or family.side_by_side is not None:
            yield f"{name}: no stage runs, so nothing is built of it; its parent is measured"
            continue
        yield asked.fault(
            (MODELS, name, "stages"),
            "no stage runs, so nothing is built of it; its parent is taken in, no more",
            f"name some, such as {SOME}, or declare benchmarks to measure it by",
            stops=False,
        )


def _constant(recipe: Recipe) -> Iterator[Unread]:
    """Ends of a schedule that does not fall."""
    for name, model in recipe.models.items():
        for field in model.stage_fields():
            said = getattr(model, field)
            node = recipe.tree.at((MODELS, name, field))
            for index, section in enumerate(said if isinstance(said, list) else [said]):
                if not isinstance(section, Optimizer) or section.schedule != "constant":
                    continue
                if not section.min_learning_rate:
                    continue
                place: list[str | int] = []
                if isinstance(said, list):
                    by_name = node is not None and isinstance(node.value, dict)
                    place = [getattr(section, "name", index) if by_name else index]
                keys = (MODELS, name, field, *place, "min_learning_rate")
                yield keys, "a constant schedule has no end", f"schedule: cosine, or {LEAVE_OUT}"


def _execution(recipe: Recipe) -> Iterator[Unread]:
    """Settings of how it is run, which no asset's slice holds: each with what would read it."""
    execution = recipe.execution
    sections = [stage.section for model in recipe.models.values() for stage in model.line()]
    library = any(isinstance(each, Puzzle) for each in sections)
    live = any(isinstance(each, Distillation) and each.teacher == "live" for each in sections)
    readers = {
        "tensor_parallel": (
            execution.engine == "vllm",
            "the engine vllm alone reads it",
            LEAVE_OUT,
        ),
        "activations": (library, "no model has puzzle, whose library reads it", LEAVE_OUT),
        "checkpoint_steps": (library, "no model has puzzle, whose library reads it", LEAVE_OUT),
        "teacher_device": (live, "no model is distilled by a live teacher", LEAVE_OUT),
        "offload_optimizer": (
            execution.zero_stage > 0 or not execution.offload_optimizer,
            "nothing is offloaded with zero_stage 0",
            "write zero_stage 1, 2 or 3, or leave it out",
        ),
    }
    for key in execution.model_fields_set & readers.keys():
        used, what, remedy = readers[key]
        if not used:
            yield (EXECUTION, key), what, remedy
    named: Mapping[str, Mapping[str, Any]] = {
        "sizes": execution.sizes,
        "parents": execution.parents,
        "published_hours": execution.published_hours,
    }
    for key, entries in named.items():
        for entry in entries:
            name = entry.partition("/")[0]
            if name not in recipe.models and not (key == "sizes" and name == "teacher"):
                yield (EXECUTION, key, entry), f"the recipe has no model '{name}'", LEAVE_OUT


_SCORES = ("sft_data/feedback_edit_gain", "sft_data/judge_agreement")  # ends in themselves


def material(asked: Asked) -> Iterator[Finding]:
    """Data that is made and that no model, score or report is made of; it stops nothing."""
    from assets.catalog import all_specs
    from resources.sources.account import SourceError

    try:
        specs = all_specs(asked.recipe)
    except SourceError:
        return  # said with the files
    made = {spec.key: spec for spec in specs if spec.stage in _MATERIAL}
    waiting = [key for spec in specs if spec.stage not in _MATERIAL for key in spec.reads()]
    waiting += [key for key in _SCORES if key in made]
    read: set[str] = set()
    while waiting:  # what is read by what is used is used
        key = waiting.pop()
        if key in made and key not in read:
            waiting += made[key].reads()
        read.add(key)
    for spec in made.values():
        if spec.key not in read:
            keys = _SAYS.get(spec.key, (spec.key.partition("/")[0],))
            what = f"{spec.key} would be made, and no model, score or report is made of it"
            yield asked.fault(keys, what, stops=False)


def _same(recipe: Recipe, changes: Mapping[str, Any]) -> bool:
    """Whether the same would be built with other values of the family."""
    other = replace(recipe, family=recipe.family.model_copy(update=dict(changes)))
    try:
        return _built(recipe) == _built(other)
    except ValueError:
        return False  # what it needs is not there: then something reads it


def _built(recipe: Recipe) -> str:
    """All that decides what is built of a recipe."""
    from assets.catalog import all_specs

    return json.dumps(sorted((_decided(spec) for spec in all_specs(recipe)), key=str))


def _decided(spec: Spec) -> list[Any]:
    slices = [[name, values] for name, values in spec.slices().items()]
    inputs = [sorted(spec.inputs.items()), sorted(map(str, spec.inputs_of.items()))]
    return [spec.key, spec.fn, slices, inputs, spec.seed, spec.checks, sorted(spec.observe)]
