"""The whole recipe: family, models in order, execution, marks, and checks across sections."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from resources.pretrained.source import ParentSource
from resources.recipe.errors import nearest
from resources.recipe.naming import either
from resources.recipe.paths import local, parent_source
from resources.recipe.sections import roles
from resources.recipe.sections.answered import Answered, answered, missing
from resources.recipe.sections.cleaning import faults
from resources.recipe.sections.data import DRAWN, HELD_TEXT, WRITTEN
from resources.recipe.sections.execution import ExecutionSettings
from resources.recipe.sections.family import Corpus, Family
from resources.recipe.sections.model import PARENT, ModelRecipe
from resources.recipe.sections.reinforcement import PolicyGradient
from resources.recipe.sections.supervised import Sft
from resources.recipe.tree import KeyPath, Node, Origin


@dataclass(frozen=True)
class Recipe:
    """A loaded recipe. `models` are in the order nano, super, ultra, then others by name.

    `tree` is what was written, with where each value stands; `marks` the marked ones of it by key
    path; `shared` each value that was written once for many sections, with its own path;
    `overrides` what `--set` put in.
    """

    name: str
    directory: Path
    family: Family
    models: Mapping[str, ModelRecipe]
    execution: ExecutionSettings
    marks: Mapping[str, Node] = field(default_factory=dict)
    tree: Node = field(default_factory=lambda: Node({}, Origin("default")))
    shared: tuple[tuple[KeyPath, Node], ...] = ()
    overrides: tuple[str, ...] = ()

    @property
    def drawn_sources(self) -> list[str]:
        """Return the sources that an SFT stage draws from, as they are or recorded."""
        drawn = {name for m in self.models.values() for stage in m.sft for name in stage.mix}
        return [n for n, each in self.family.sources.items() if n in drawn and each.kind in DRAWN]

    @property
    def answered(self) -> dict[str, Answered]:
        """Return the sets of answers that models are asked for, by name."""
        return answered(self.family)

    @property
    def benchmark_inputs(self) -> dict[str, str]:
        """Return the declared benchmarks as inputs of what must not contain them."""
        return {
            f"benchmark_{name}": f"benchmarks/{name}" for name in self.family.declared_benchmarks
        }

    @property
    def published_inputs(self) -> dict[str, str]:
        """Return those of them that are not made of the corpus, as inputs of the corpus."""
        declared = self.family.declared_benchmarks
        return {
            name: key
            for name, key in self.benchmark_inputs.items()
            if declared[key.removeprefix("benchmarks/")].path != HELD_TEXT
        }

    def checkpoint_key(self, model: str, artifact: str = PARENT) -> str:
        """Return the key of a model's checkpoint; two of one library share the owner's parent."""
        puzzle = self.models[model].puzzle
        owner = puzzle.library_of if puzzle is not None and artifact == PARENT else None
        return f"{owner or model}/{artifact}"

    def parent_source(self, value: str | Mapping[str, Any]) -> ParentSource:
        """Return the given model that a value of this recipe names."""
        return parent_source(value, self.directory)

    def local(self, path: str) -> Path:
        """Return the absolute path of a file that this recipe names."""
        return local(path, self.directory)


def disagreements(family: Family, models: Mapping[str, ModelRecipe]) -> Iterator[tuple[str, str]]:
    """Yield (file stem and key path, message) for what does not fit across sections."""
    off, generators = family.off_generator, (*models, "teacher")
    if off not in generators:
        yield "family.off_generator", f"no model '{off}'; {nearest(off, generators)}"
    sets = [*family.sft_data, *family.sources]
    yield from ((f"family.{key}", wrong) for key, wrong in faults(family.cleaning, sets))
    yield from ((f"family.roles.{key}", wrong) for key, wrong in roles.faults(family.roles))
    yield from _missing(family, models)
    yield from _made_elsewhere(family, models)
    for name in models:
        yield from _shared_library(name, models)
    for name, given in family.sources.items():
        model = given.path.removeprefix(WRITTEN)
        if given.path.startswith(WRITTEN) and model not in models:
            yield f"family.sources.{name}.path", f"no model '{model}'; {nearest(model, models)}"
    for name, model_recipe in models.items():
        for index, stage in enumerate(model_recipe.sft):
            yield from _mixed(family, f"{name}.sft[{index}]", stage)
            yield from _sampled(family, f"{name}.sft[{index}]", stage)
        yield from _too_few_prompts(family, name, model_recipe)


def _made_elsewhere(family: Family, models: Mapping[str, ModelRecipe]) -> Iterator[tuple[str, str]]:
    """Checkpoints that pass rates and the reward model start from, and that no model makes."""
    rates, reward = family.pass_rates, family.reward_model
    references = [
        *([("pass_rates", "model", rates.model, rates.artifact)] if rates else []),
        *([("reward_model", "base", reward.base, reward.artifact)] if reward else []),
    ]
    for section, key, model, artifact in references:
        if not any(each.reads(section) for each in models.values()):
            continue  # what no stage reads may name what is not there
        if model not in models:
            yield f"family.{section}.{key}", f"no model '{model}'; {nearest(model, models)}"
            continue
        line = models[model].artifacts()
        if artifact not in line:
            yield (
                f"family.{section}.artifact",
                f"{model} makes no '{artifact}'; {nearest(artifact, line)}",
            )


def _sampled(family: Family, where: str, stage: Sft) -> Iterator[tuple[str, str]]:
    """Reasoning modes that an SFT stage wants and none of its domains is sampled in."""
    domains = [each for each in stage.weights if each in family.sft_data]
    for mode, wanted in (("on", "samples_on"), ("off", "samples_off")):
        if (
            mode in stage.reasoning
            and domains
            and not any(getattr(family.sft_data[domain], wanted) for domain in domains)
        ):
            yield (
                f"{where}.reasoning",
                f"'{mode}' is wanted, but {wanted} is 0 in all of the stage's domains; "
                "sample some or leave the mode out",
            )
    for domain in domains:
        data = family.sft_data[domain]
        sampled = {"on": data.samples_on, "off": data.samples_off}
        drawn = stage.weights[domain] > 0 and domain not in family.unjudged
        if drawn and not any(sampled[mode] for mode in stage.reasoning):
            modes = " and ".join(f"samples_{mode}" for mode in stage.reasoning)
            yield (
                f"{where}.{'domains' if stage.domains else 'mix'}.{domain}",
                f"sft_data.{domain} makes no samples of the stage's reasoning ({modes} 0); sample "
                "some, or leave the domain out",
            )


def _too_few_prompts(family: Family, name: str, model: ModelRecipe) -> Iterator[tuple[str, str]]:
    """RL stages that want prompts which the family does not make, or more of them."""
    for index, round_ in enumerate(model.preference.rounds if model.preference else []):
        for domain in round_.domains:
            if domain not in family.problems:
                yield (
                    f"{name}.preference.rounds[{index}].domains",
                    f"no problems in domain '{domain}'; {nearest(domain, family.problems)}",
                )
    for key, shared, what in (
        ("pass_rates", family.pass_rates, "prompts with a pass rate"),
        ("instruction_prompts", family.instruction_prompts, "instruction prompts"),
    ):
        there = shared.prompts if shared is not None else math.inf
        for stage in model.readers(key):
            section = getattr(model, stage)
            if isinstance(section, PolicyGradient) and section.prompts_per_step > there:
                yield (
                    f"{name}.{stage}.prompts_per_step",
                    f"{section.prompts_per_step} is more than the {there} {what} "
                    f"(family.{key}.prompts)",
                )


def _missing(family: Family, models: Mapping[str, ModelRecipe]) -> Iterator[tuple[str, str]]:
    """Shared sections that are left out although a stage reads them."""
    for name, model in models.items():
        reads: list[tuple[str, object, str]] = []
        for stage, mark in model.stage_fields().items():
            for key in mark.reads if getattr(model, stage) else ():
                reads.append((key, getattr(family, key), stage))
                if key == "instruction_prompts":
                    reads.append(("problems", "instructions" in family.problems, stage))
        if model.reads("corpus") and isinstance(family.corpus, Corpus):
            *most, last = (stage.replace("_", " ") for stage in model.readers("corpus"))
            reads.append(("corpus", family.problems, f"{', '.join(most)} or {last}"))
        for key, there, stage in reads:
            if not there:
                need = (
                    "a `mix`, or problems to write texts of" if key == "corpus" else f"`{key}: …`"
                )
                yield f"family.{key}", f"missing: {name}'s {stage} reads it; add {need}"
    if family.problems and family.held_out is None:
        yield "family.held_out", "missing: problems are kept apart from it; add `held_out: …`"
    yield from ((f"family.{key}", wrong) for key, wrong in missing(family))


SHARED = ("importance", "library", "scores", "costs")  # sections of a library used twice


def _shared_library(name: str, models: Mapping[str, ModelRecipe]) -> Iterator[tuple[str, str]]:
    """What keeps a model from searching another one's library."""
    own = models[name].puzzle
    if own is None or own.library_of is None:
        return
    owner = models.get(own.library_of)
    where = f"{name}.puzzle.library_of"
    if owner is None or owner.puzzle is None or own.library_of == name:
        others = [each for each, model in models.items() if model.puzzle and each != name]
        right = f"name {either(others)}" if others else "leave it out"
        yield where, f"no other model '{own.library_of}' with a library; {right}"
    elif owner.puzzle.library_of is not None:
        yield where, f"{own.library_of} has none of its own; name '{owner.puzzle.library_of}'"
    elif owner.parent != models[name].parent:
        yield where, f"{own.library_of} has another parent; a library is of one parent"
    else:
        for section in SHARED:
            if getattr(own, section) != getattr(owner.puzzle, section):
                yield (
                    f"{name}.puzzle.{section}",
                    f"differs from that of {own.library_of}, whose library is used; leave it out "
                    "here, or write it under models.each",
                )


def _mixed(family: Family, where: str, stage: Sft) -> Iterator[tuple[str, str]]:
    """What an SFT stage draws from and what is no such thing."""
    for domain in stage.domains:
        if domain not in family.sft_data:
            yield (
                f"{where}.domains",
                f"no SFT data for domain '{domain}'; "
                f"{nearest(domain, family.sft_data)} (family.sft_data)",
            )
    for name in stage.mix:
        source = family.sources.get(name)
        if source is not None and source.kind == "problems":
            if source.answers is None:
                what = f"source '{name}' has problems without answers; add `answers: …` to it"
                yield f"{where}.mix", f"{what}, or mix its domain {source.verifier}"
        elif source is not None and source.kind not in DRAWN:
            what = f"source '{name}' is of kind {source.kind}, not {' or '.join(DRAWN)}"
            yield f"{where}.mix", what
        elif source is not None and source.path.startswith(WRITTEN):
            yield f"{where}.mix", f"source '{name}' is written for the corpus; mix it there"
        elif source is None and name not in family.sft_data:
            known = [*family.sft_data, *family.sources]
            yield f"{where}.mix", f"no source or domain '{name}'; {nearest(name, known)}"
