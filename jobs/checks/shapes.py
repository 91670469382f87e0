"""What a parent's configuration says against its model's section: context, heads, widths, exports.

What the configuration itself cannot be is said with the parents, in `models.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from jobs.checks.asked import Asked, Finding
from jobs.checks.models import named
from resources.pretrained.source import ParentSource
from resources.recipe.reading.shape import EXECUTION, MODELS
from resources.recipe.sections.model import ModelRecipe
from resources.recipe.tree import KeyPath


def exports(asked: Asked) -> Iterator[Finding]:
    """The form in which each parent's children leave, what it costs, and a target that cannot be.

    A search may still take out what a form does not hold; a parent's own layers it cannot.
    """
    from resources.models.errors import ExportError
    from resources.models.export.limits import refusals
    from resources.models.export.targets import suited

    for name, model, _, values in _parents(asked):
        if model.exported:
            try:
                form, against = suited(values, "bfloat16")
            except ExportError as error:
                yield asked.fault((MODELS, name, "parent"), str(error), stops=False)
            else:
                yield f"{name}: exported as {form.name}, for {form.for_whom}"
                yield from (f"  not as {each}: {'; '.join(why)}" for each, why in against.items())
        target = model.puzzle.search.target if model.puzzle else None
        if target is not None and target.engine != "transformers":
            for reason in refusals(target.engine, values):
                place = (MODELS, name, "puzzle", "search", "target")
                yield asked.fault(place, reason, "name engine vllm_plugin, or another parent")


def lengths(asked: Asked) -> Iterator[Finding]:
    """Sections whose sequences are longer than the context of the parent that reads them."""
    beside = asked.recipe.family.side_by_side
    shown = (
        () if beside is None else ((("side_by_side", "sequence_length"), beside.sequence_length),)
    )
    for name, model, source, values in _parents(asked):
        context = values["max_position_embeddings"]
        for path, length in (*_lengths(model.model_dump(mode="json"), (MODELS, name)), *shown):
            if length > context:
                yield asked.fault(
                    path,
                    f"{length:,} tokens, and {source.name} reads {context:,} "
                    "(its max_position_embeddings)",
                    f"at most {context:,}, or a parent of a longer context",
                )


def _lengths(value: object, path: KeyPath) -> Iterator[tuple[KeyPath, int]]:
    """Every `sequence_length` below, with where it stands."""
    if isinstance(value, dict | list):
        named = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in named:
            if key == "sequence_length" and isinstance(inner, int):
                yield (*path, key), inner
            else:
                yield from _lengths(inner, (*path, key))


def variants(asked: Asked) -> Iterator[Finding]:
    """Variants of a library that its parent's layers cannot become."""
    from resources.models.variants import parse_attention, parse_ffn

    for name, model, _, values in _parents(asked):
        if model.puzzle is None:
            continue
        library, place = model.puzzle.library, (MODELS, name, "puzzle", "library")
        heads, own = values["num_attention_heads"], values["num_key_value_heads"]
        fewer = [f"kv_{n}" for n in range(own - 1, 0, -1) if heads % n == 0]
        for variant in library.attention:
            try:
                parse_attention(variant, heads, own)
            except ValueError as error:
                possible = ", ".join(["full", *fewer, "linear", "noop"])
                yield asked.fault((*place, "attention"), str(error), f"it can be {possible}")
        for variant in library.ffn:
            try:
                parse_ffn(variant, values["intermediate_size"])
            except ValueError as error:
                yield asked.fault((*place, "ffn"), str(error))


def shared(asked: Asked) -> Iterator[Finding]:
    """Ranks that are to share micro-batches and cannot: too few of them, or heads that they cannot
    divide."""
    execution = asked.recipe.execution
    size, started = execution.sequence_parallel, execution.processes
    place = (EXECUTION, "sequence_parallel")
    if started % size:
        possible = [str(n) for n in range(1, started + 1) if started % n == 0]
        yield asked.fault(
            place,
            f"{size} ranks are to share each micro-batch, and {started} train",
            f"write {' or '.join(possible)}, or a multiple of it as execution.ranks",
        )
        return
    for name, _, source, values in _parents(asked) if size > 1 else ():
        heads, keys = values["num_attention_heads"], values["num_key_value_heads"]
        if heads % size or keys % size:
            yield asked.fault(
                place,
                f"{size} ranks share whole heads, and {source.name}, the parent of {name}, has "
                f"{heads} query and {keys} key-value heads",
                f"write a number that divides {keys}",
            )


def _parents(
    asked: Asked,
) -> Iterator[tuple[str, ModelRecipe, ParentSource, Mapping[str, Any]]]:
    """Each model with its parent and that one's configuration, where it can be read here."""
    from resources.models.errors import CheckpointError
    from resources.models.loading import description

    for keys, source, role in named(asked):
        if role != "parent" or (asked.offline and source.kind == "hub"):
            continue
        try:
            values = description(asked.description(source).folder)
        except CheckpointError:
            continue  # said with the parents
        name = str(keys[1])
        yield name, asked.recipe.models[name], source, values
