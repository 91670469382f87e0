"""The architecture half of a model's path: Puzzle NAS and FFN Fusion; knows no training data."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from resources.recipe.base import (
    Count,
    CountOrZero,
    NonNegative,
    Positive,
    PositiveShare,
    Section,
    Training,
    impossible,
)
from resources.recipe.errors import nearest

ATTENTION = re.compile(r"^(full|kv_[1-9]\d*|linear|noop)$")
FFN = re.compile(r"^(full|ratio_[1-9]\d?|linear|noop)$")
COLUMNS = (
    "parameters",
    "weight_bytes",
    "kv_bytes_per_token",
    "activation_bytes",
    "memory_bytes",
    "prefill_seconds",
    "decode_seconds",
)


class Importance(Section):
    """Channel importance: mean |activation| times the down column's norm over `tokens`."""

    tokens: Count
    sequence_length: Count


class Library(Training):
    """Block library: variants a layer, trained block by block (decoupled) on `tokens` each.

    `groups` is the number of layer groups (partitions). Lists include the parent, `full`.
    """

    attention: list[str] = Field(min_length=1)
    ffn: list[str] = Field(min_length=1)
    groups: Count

    @model_validator(mode="after")
    def _variants_exist(self) -> Self:
        for kind, names, pattern, example in (
            ("attention", self.attention, ATTENTION, "full, kv_<n>, linear or noop"),
            ("ffn", self.ffn, FFN, "full, ratio_<percent>, linear or noop"),
        ):
            for name in names:
                if not pattern.match(name):
                    raise impossible(f"{kind} has no variant '{name}'; write {example}")
            if len(set(names)) != len(names):
                raise impossible(f"{kind} repeats a variant; name each once")
            if "full" not in names:
                raise impossible(f"{kind} must include 'full', the parent's own block")
        return self


class Scores(Section):
    """Replace-1-block scores: mean KL divergence to the parent over `tokens`."""

    tokens: Count
    sequence_length: Count
    metric: Literal["kl"]


class Costs(Section):
    """What block costs are computed for: bytes a value, batch in sequences, context in tokens.

    `memory_bytes` = weight_bytes + batch x context x kv_bytes_per_token + activation_bytes.
    """

    dtype_bytes: Annotated[int, Field(ge=1, le=4)]
    batch: Count
    context: Count


class Bound(Section):
    """An absolute limit in the column's own unit."""

    max: NonNegative
    min: NonNegative | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is not None and self.min > self.max:
            raise impossible(f"min {self.min:g} is above max {self.max:g}; swap them")
        return self


def _limit_kind(value: Any) -> str:
    return "bound" if isinstance(value, dict | Bound) else "share"


Limit = Annotated[
    Annotated[PositiveShare, Tag("share")] | Annotated[Bound, Tag("bound")],
    Discriminator(_limit_kind),
]


class Rule(Section):
    """Rows a rule speaks of: every candidate that matches all the given fields."""

    layer: CountOrZero | None = None
    attention: str | None = None
    ffn: str | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.attention is None and self.ffn is None:
            raise impossible("name an attention or an ffn variant")
        return self


class Search(Section):
    """Architecture search: `limits` by column, a share of the parent or an absolute bound."""

    limits: dict[str, Limit] = Field(min_length=1)
    objective: Literal["kl"]
    fixed: list[Rule]
    forbidden: list[Rule]
    max_noops: CountOrZero | None
    max_distinct: Count | None
    time_limit: Positive = Field(description="solver seconds")

    @model_validator(mode="after")
    def _columns_and_rules(self) -> Self:
        for column in self.limits:
            if column not in COLUMNS:
                raise impossible(
                    f"limits: no column '{column}' in block costs; {nearest(column, COLUMNS)}"
                )
        for rule in self.fixed:
            if rule.layer is None:
                raise impossible("fixed: name the layer of each fixed block")
            if rule.layer == 0 and rule.attention == "noop":
                raise impossible(
                    "fixed: layer 0 cannot have noop attention (serving needs a real attention "
                    "before the first FFN); fix another variant"
                )
        return self


class Puzzle(Section):
    """Puzzle NAS: importance, block library, scores, costs, search."""

    importance: Importance
    library: Library
    scores: Scores
    costs: Costs
    search: Search

    @model_validator(mode="after")
    def _rules_name_variants(self) -> Self:
        for where, rules in (("fixed", self.search.fixed), ("forbidden", self.search.forbidden)):
            for rule in rules:
                for kind, name, known in (
                    ("attention", rule.attention, self.library.attention),
                    ("ffn", rule.ffn, self.library.ffn),
                ):
                    if name is not None and name not in known:
                        raise impossible(
                            f"search.{where} names {kind} '{name}', which the library lacks; "
                            f"{nearest(name, known)}"
                        )
        banned = {
            rule.attention
            for rule in self.search.forbidden
            if rule.layer in (0, None) and rule.ffn is None
        }
        if set(self.library.attention) - banned <= {"noop"}:
            raise impossible(
                "search.forbidden leaves layer 0 only noop attention; allow it a real one"
            )
        return self


class Fusion(Section):
    """FFN Fusion: runs of at least `min_run` attention-free layers become one wide FFN each.

    `max_dependency` is the largest cosine distance between a layer's contribution with and without
    an earlier layer of its run, measured on `tokens`. `max_run` bounds a run's length (null: no
    bound). `windows` names the runs, first and last layer inclusive (null: found by dependency).
    """

    min_run: Annotated[int, Field(ge=2)]
    max_run: Annotated[int, Field(ge=2)] | None
    leave_last: bool
    max_dependency: Annotated[float, Field(gt=0, le=2)]
    tokens: Count
    sequence_length: Count
    windows: list[Annotated[list[CountOrZero], Field(min_length=2, max_length=2)]] | None

    @model_validator(mode="after")
    def _windows_are_runs(self) -> Self:
        if self.max_run is not None and self.max_run < self.min_run:
            raise impossible(f"max_run {self.max_run} is below min_run {self.min_run}")
        last = -1
        for first, end in self.windows or []:
            if first <= last or end < first + 1:
                raise impossible(
                    f"windows: [{first}, {end}] overlaps the one before it or is shorter than two "
                    "layers; give rising, disjoint [first, last] pairs"
                )
            last = end
        return self
