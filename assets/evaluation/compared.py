"""What became of a parent, as facts: its children's sizes, perplexity, KL, speed and answers, what
each step changed, and what vLLM made of the export.

Reads what `side_by_side.py` measured, model by model, and puts the models of one parent together;
`children.py` shows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from resources.benchmarks.intervals import Estimate, difference
from resources.recipe.sections.model import PARENT, ModelRecipe
from warehouse.store import Artifact

ASSET = "side_by_side"
EXPORT, IN_VLLM = "exported", "equal_in_vllm"
Row = dict[str, Any]


@dataclass(frozen=True)
class Change:
    """What lies between two checkpoints, paired by sequence: the difference of KL to the parent,
    nats a token, and the difference of cross-entropy, of which perplexities differ by the factor
    exp."""

    after: str
    before: str
    kl: Estimate
    loss: Estimate


@dataclass
class Compared:
    """The models of one parent. `rows` are of `side_by_side`, the parent's once and first, each
    with its `label`; `speeds[label]` are (prefill, decode) tokens a second and how many times the
    parent's that is, measured in turn; `served[model]` says what vLLM made of its export."""

    models: list[str]
    rows: list[Row]
    tokens_answered: int = 0
    answers: list[Row] = field(default_factory=list)
    speeds: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    served: dict[str, str] = field(default_factory=dict)

    def of(self, model: str) -> list[Row]:
        """The rows of a model, its parent's first."""
        return [self.rows[0], *(row for row in self.rows[1:] if row["model"] == model)]


def gathered(by_key: Mapping[str, Artifact], parents: Mapping[str, str]) -> list[Compared]:
    """What was compared, by parent; `parents` says which checkpoint each model comes from."""
    there = [model for model in parents if f"{model}/{ASSET}" in by_key]
    groups: dict[str, list[str]] = {}
    for model in there:
        groups.setdefault(parents[model], []).append(model)
    return [_group(by_key, models) for models in groups.values()]


def _group(by_key: Mapping[str, Artifact], models: list[str]) -> Compared:
    made = Compared(models, [])
    sums: dict[str, np.ndarray] = {}
    for model in models:
        artifact = by_key[f"{model}/{ASSET}"]
        for row in artifact.table(ASSET).to_pylist():
            name = label(models, model, row["stage"])
            if name not in {each["label"] for each in made.rows}:
                made.rows.append(row | {"label": name})
                made.speeds[name] = _speeds(artifact.observations, row["stage"])
        for row in artifact.table("answers_shown").to_pylist():
            name = label(models, model, row["stage"])
            if (row["prompt"], name) not in {(a["prompt"], a["label"]) for a in made.answers}:
                made.answers.append(row | {"label": name})
        made.tokens_answered = artifact.manifest["recipe"]["max_new_tokens"]
        for stage, found in _sums(artifact).items():
            sums.setdefault(label(models, model, stage), found)
        if said := _served(by_key.get(f"{model}/{EXPORT}")):
            made.served[model] = said
    seed = by_key[f"{models[0]}/{ASSET}"].manifest["seed"]
    made.changes = [_change(after, before, sums, seed) for after, before in _pairs(made)]
    return made


def label(models: Sequence[str], model: str, stage: str) -> str:
    """What a checkpoint is called: with its model's name where there are several.

    >>> label(["a"], "a", "distilled"), label(["a", "b"], "b", "distilled")
    ('distilled', 'b distilled')
    """
    return stage if len(models) == 1 or stage == PARENT else f"{model} {stage}"


def is_raw(row: Row) -> bool:
    """Whether a checkpoint is a child that was put together and not trained since.

    >>> [is_raw({"stage": stage}) for stage in ("parent", "assembled", "fused", "distilled")]
    [False, True, True, False]
    """
    return row["stage"] != PARENT and ModelRecipe.learned(row["stage"]) is None


def _pairs(compared: Compared) -> Iterable[tuple[str, str]]:
    """What is set against what: every checkpoint against the one before it, a model's last against
    its raw one, and the raw ones of further models against the first's."""
    raw = []
    for model in compared.models:
        line = compared.of(model)
        for before, after in pairwise(line):
            yield after["label"], before["label"]
        start = [at for at, row in enumerate(line) if is_raw(row)]
        if start:
            raw.append(line[start[-1]]["label"])
            if len(line) - start[-1] > 2:
                yield line[-1]["label"], raw[-1]
    for further in raw[1:]:
        yield further, raw[0]


def _sums(artifact: Artifact) -> dict[str, np.ndarray]:
    """By stage, of every sequence KL, tokens, loss and predictions, `[N, 4]`."""
    found: dict[str, list[list[float]]] = {}
    for row in artifact.table("side_by_side_sequences").to_pylist():
        values = [row[name] for name in ("kl", "tokens", "loss", "predictions")]
        found.setdefault(row["stage"], []).append(values)
    return {stage: np.array(rows, float) for stage, rows in found.items()}


def _change(after: str, before: str, sums: Mapping[str, np.ndarray], seed: int) -> Change:
    one, other = sums[after], sums[before]
    if not np.array_equal(one[:, [1, 3]], other[:, [1, 3]]):
        raise ValueError(f"{after} and {before} were not measured on the same sequences")
    return Change(
        after,
        before,
        difference(one[:, :2], other[:, :2], seed),
        difference(one[:, 2:], other[:, 2:], seed),
    )


def _speeds(observed: Mapping[str, Any], stage: str) -> dict[str, tuple[float, float]]:
    """Tokens a second, and how many times the parent's that is."""
    found = {}
    for what in ("read", "written"):
        own = observed[f"{stage}_{what}_tokens_per_second"]
        beside = observed[f"{stage}_beside_{what}_tokens_per_second"]
        found[what] = own, own / beside
    return found


def _served(export: Artifact | None) -> str:
    """What the check of an export says of vLLM."""
    checks = export.checks if export is not None else ()
    return next((each.description for each in checks if each.name == IN_VLLM), "")
