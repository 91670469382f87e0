"""The report's section on what became of a parent: a table of all its children, what each step
changed, and their answers side by side.

Shows the facts of `../compared.py`; measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from assets.evaluation.compared import Change, Compared, Row
from assets.evaluation.page.blocks import (
    card,
    change,
    decimal,
    estimate,
    meanings,
    millions,
    nats,
    note,
    stored,
    table,
)
from assets.evaluation.page.charts import percent
from assets.evaluation.page.facts import Stage
from assets.evaluation.page.svg import element, text
from resources.recipe.sections.model import PARENT, ModelRecipe

HEAD = (
    "Checkpoint",
    "Parameters",
    "On disk",
    "KV cache, bytes a token",
    "Perplexity",
    "KL to the parent, nats a token",
    "Prefill, tokens/s",
    "Decode, tokens/s",
)
STEPS = {
    "assembled": "the chosen blocks put together, the whole not trained since: raw",
    "fused": "runs of feed-forward networks made one: raw",
    "distilled": "trained towards the parent's predictions: healed",
}


def section(found: Sequence[Compared], lines: Mapping[str, Sequence[Stage]]) -> str:
    """The section's HTML; empty where nothing was compared."""
    return "".join(_cards(compared, lines) for compared in found)


def _cards(compared: Compared, lines: Mapping[str, Sequence[Stage]]) -> str:
    sizes = {(model, each.label): each.stored for model, line in lines.items() for each in line}
    names = " and ".join(model.capitalize() for model in compared.models)
    made = card(f"{names}: the parent and what became of it", *_table(compared, sizes))
    if compared.changes:
        made += card("What each step changed", *_changes(compared.changes))
    if compared.answers:
        made += card("The same prompts, answered by each", *_answers(compared))
    return made


def _table(compared: Compared, sizes: Mapping[tuple[str, str], int]) -> Iterable[str]:
    tokens = compared.rows[0]["tokens"]
    yield note(
        f"On {tokens:,} tokens of text that no stage saw; intervals are 95 %. Speeds are of one "
        "sequence on this machine, (… x) against the parent measured in turn."
    )
    yield table(HEAD, (_line(row, compared, sizes) for row in compared.rows))
    for model, said in compared.served.items():
        yield element("p", text(f"{model} exported: {said}."), class_="said")
    yield meanings(_steps(row["stage"] for row in compared.rows))


def _steps(stages: Iterable[str]) -> dict[str, str]:
    """What each checkpoint is."""
    found = {}
    for stage in dict.fromkeys(stages):
        if stage != PARENT:
            learned = ModelRecipe.learned(stage)
            further = f"trained further on {learned}" if learned else "not trained since: raw"
            found[stage] = STEPS.get(stage, further)
    return found


def _line(row: Row, compared: Compared, sizes: Mapping[tuple[str, str], int]) -> tuple[str, ...]:
    whole = compared.rows[0]
    kl = estimate(row["kl"], row["kl_low"], row["kl_high"], nats)
    return (
        row["label"],
        _share(millions(row["parameters"]), row, whole, "parameters"),
        stored(sizes[row["model"], row["stage"]]),
        _share(f"{row['kv_bytes_per_token']:,}", row, whole, "kv_bytes_per_token"),
        estimate(row["perplexity"], row["perplexity_low"], row["perplexity_high"], decimal),
        "0" if row is whole else kl,
        *(
            _speed(compared.speeds[row["label"]][what], row is whole)
            for what in ("read", "written")
        ),
    )


def _share(written: str, row: Row, whole: Row, name: str) -> str:
    if row is whole or not whole[name]:
        return written
    return f"{written} ({percent(row[name] / whole[name])} %)"


def _speed(found: tuple[float, float], parent: bool) -> str:
    own, times = found
    return decimal(own) + ("" if parent else f" ({times:.2f} x)")


def _changes(changes: Sequence[Change]) -> Iterable[str]:
    yield note(
        "Differences over the same sequences, paired, with their 95 % intervals: of the KL to the "
        "parent, and by what factor the perplexity changes."
    )
    yield table(
        ("Checkpoint", "Against", "KL, nats a token", "Perplexity, times"),
        ((each.after, each.before, change(*each.kl), _factor(each)) for each in changes),
    )


def _factor(each: Change) -> str:
    value, low, high = (math.exp(loss) for loss in each.loss)
    noise = ", within noise" if low <= 1 <= high else ""
    return estimate(value, low, high, "{:.3f}".format) + noise


def _answers(compared: Compared) -> Iterable[str]:
    """A column a checkpoint, for each prompt."""
    yield note(f"The likeliest token each time, cut after {compared.tokens_answered} tokens.")
    for prompt in dict.fromkeys(row["prompt"] for row in compared.answers):
        columns = (
            element(
                "div",
                element("b", text(row["label"])),
                element("div", text(row["answer"].strip() or "(nothing)"), class_="said"),
            )
            for row in compared.answers
            if row["prompt"] == prompt
        )
        yield element("h4", text(prompt)) + element("div", *columns, class_="answers")
