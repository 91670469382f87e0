"""The architecture search's section: limits, rules, the target that will run the model.

Knows columns and variant names; knows nothing of how they are measured or solved.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from resources.recipe.errors import nearest
from resources.recipe.sections.base import (
    Count,
    CountOrZero,
    NonNegative,
    Positive,
    Section,
    Text,
    impossible,
)

TIMED = (
    "prefill_seconds",
    "decode_seconds",
    "latency_seconds",
    "time_to_first_token",
    "throughput",
)
COLUMNS = (
    "parameters",
    "weight_bytes",
    "kv_bytes_per_token",
    "activation_bytes",
    "memory_bytes",
    *TIMED,
)


class Bound(Section):
    """An absolute limit in the column's own unit; one of the two may be left out."""

    max: NonNegative | None = None
    min: NonNegative | None = None

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min is None and self.max is None:
            raise impossible("give max, min or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise impossible(f"min {self.min:g} is above max {self.max:g}; swap them")
        return self


def _limit_kind(value: Any) -> str:
    return "bound" if isinstance(value, dict | Bound) else "share"


Limit = Annotated[
    Annotated[Positive, Tag("share")] | Annotated[Bound, Tag("bound")],
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


class Target(Section):
    """What will run the model; variants it cannot run are taken out before the search.

    `vllm` is stock vLLM with the exported configuration class (any width), `nemotron_nas` a reader
    of the published layout alone (widths in steps of 256), `vllm_plugin` vLLM with this package's
    model in it (any block, and parents with windows or normalised queries), `transformers` this
    package's own model.
    """

    engine: Literal["vllm", "nemotron_nas", "vllm_plugin", "transformers"]
    tensor_parallel: Count = 1
    dtype: Literal["float32", "bfloat16", "float8"] = "bfloat16"
    hardware: Text | None = None


class Pareto(Section):
    """The front drawn beside the choice: least objective at `points` bounds on `column`."""

    column: str
    points: Count


class Measured(Section):
    """The choice by true KL on `tokens` tokens, in place of the least sum of scores.

    Judged are the optimum and `solutions` diverse ones, `steps` re-scored steps from the parent,
    what a person would cut by hand and the baselines; the `improved` best of them go through
    `rounds` of re-scoring first.
    """

    tokens: Count
    steps: Count = 4
    improved: CountOrZero = 2


class Search(Section):
    """Architecture search: `limits` by column, a share of the parent or an absolute bound.

    A plain number is the largest allowed share of the parent's total (of `throughput`: the least
    multiple of it). `groups` are [first, last] layers that take one variant, `batches` sizes of
    which each is solved and the best taken, `solutions` how many architectures are kept, differing
    in `min_distance` layers, `rounds` how often blocks are scored again around the choice, and
    `measured` lets true KL decide among many.
    """

    limits: dict[str, Limit] = Field(min_length=1)
    objective: str
    fixed: list[Rule]
    forbidden: list[Rule]
    max_noops: CountOrZero | None
    max_distinct: Count | None
    time_limit: Positive = Field(description="solver seconds")
    target: Target | None = None
    groups: list[Annotated[list[CountOrZero], Field(min_length=2, max_length=2)]] = Field(
        default_factory=list
    )
    batches: list[Count] = Field(default_factory=list)
    solutions: Count = 1
    min_distance: Count = 1
    pareto: Pareto | None = None
    rounds: CountOrZero = 0
    measured: Measured | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _columns_and_rules(self) -> Self:
        for column in [*self.limits, *([self.pareto.column] if self.pareto else [])]:
            if column not in COLUMNS:
                raise impossible(
                    f"limits: no column '{column}' in block costs; {nearest(column, COLUMNS)}"
                )
        for column, limit in self.limits.items():
            if not isinstance(limit, Bound) and limit > 1 and column != "throughput":
                raise impossible(
                    f"limits: {column} {limit:g} is above 1, a share of the parent; write "
                    f"{{max: {limit:g}}} for an absolute bound"
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

    @property
    def timed(self) -> bool:
        """Whether the search needs measured seconds."""
        columns = {*self.limits, *([self.pareto.column] if self.pareto else [])}
        return bool(columns & set(TIMED))
