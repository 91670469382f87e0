"""The architecture half of a model's path: Puzzle NAS and FFN Fusion; knows no training data."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from resources.models.export.limits import NEVER_FIRST
from resources.recipe.errors import nearest
from resources.recipe.sections.base import (
    Computed,
    Count,
    CountOrZero,
    Name,
    Positive,
    Section,
    Text,
    Training,
    impossible,
)
from resources.recipe.sections.effort import Effort, Material, StageSection
from resources.recipe.sections.search import Search

ATTENTION = re.compile(r"^(full|kv_[1-9]\d*|linear|noop)$")
FFN = re.compile(r"^(full|ratio_[1-9]\d?(\.\d+)?|linear|noop)$")
Metric = Literal["kl", "kl_long", "lm_loss", "hidden_cosine", "hidden_mse", "top_k", "task"]
WAYS = 7  # to choose, that a study of the search measures besides random ones
MOST_GROUPS = 99  # Dagster shows partitions well up to a hundred


class Importance(Section):
    """Channel importance: mean |activation| times the down column's norm over `tokens`."""

    tokens: Count
    sequence_length: Count


class Group(Section):
    """A layer group of its own: first and last layer, and what differs from the library's."""

    layers: Annotated[list[CountOrZero], Field(min_length=2, max_length=2)]
    tokens: Count | None = None
    learning_rate: Positive | None = None

    @property
    def name(self) -> str:
        """The group's partition."""
        return f"layers_{self.layers[0]}-{self.layers[1]}"


class Library(Training):
    """Block library: variants a layer, trained block by block on `tokens` each.

    `groups` is the number of layer groups (partitions), or the groups themselves. Lists include
    the parent, `full`. `coupling`: attention and FFN variants trained apart and composed, or every
    pair trained as one block.
    """

    attention: list[str] = Field(min_length=1)
    ffn: list[str] = Field(min_length=1)
    groups: Count | Annotated[list[Group], Field(min_length=1)]
    coupling: Literal["decoupled", "coupled"] = "decoupled"

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

    @model_validator(mode="after")
    def _groups_are_in_order(self) -> Self:
        count = self.groups if isinstance(self.groups, int) else len(self.groups)
        if count > MOST_GROUPS:
            raise impossible(f"groups: {count} are more than {MOST_GROUPS}; make them larger")
        after = 0
        for group in [] if isinstance(self.groups, int) else self.groups:
            first, last = group.layers
            if first != after or last < first:
                raise impossible(
                    f"groups: [{first}, {last}] does not go on from layer {after}; list every "
                    "layer once, in order"
                )
            after = last + 1
        return self

    def partitions(self) -> dict[str, dict[str, object]]:
        """Partition name -> what its group adds to the library's own section."""
        if isinstance(self.groups, int):
            width = len(str(self.groups))
            return {
                f"group_{number + 1:0{width}d}": {"group": number} for number in range(self.groups)
            }
        return {
            group.name: {
                name: value
                for name, value in group.model_dump(mode="json").items()
                if value is not None
            }
            for group in self.groups
        }


class Prescreen(Section):
    """Pairs of variants are scored by the sum of their halves' scores first, on `tokens`; the
    `keep` best of every layer are scored exactly, the others keep the sum of their halves'
    scores."""

    tokens: Count
    keep: Count


class LongContext(Section):
    """The long-context set of the metric `kl_long`."""

    tokens: Count
    sequence_length: Count


class FusedRuns(Section):
    """Runs scored as one fused block, so that fusion competes in the search: how many
    attention-free layers, of which FFN variants (one for the whole run)."""

    lengths: list[Annotated[int, Field(ge=2)]] = Field(min_length=1)
    ffn: list[str] = Field(min_length=1)


class Scores(Section):
    """Replace-1-block scores over `tokens`: each of `metrics` is 0 for the parent, lower is better.

    `kl` and `kl_long` nats a token to the parent, `lm_loss` nats a token above the parent's,
    `hidden_cosine` 1 - cosine and `hidden_mse` the normalised error of the last hidden state,
    `top_k` the share of tokens whose `k` most likely of the parent do not hold the child's first,
    `task` the share of `task_problems` that the parent answers and the child does not, less the
    reverse.
    """

    tokens: Count
    sequence_length: Count
    metrics: list[Metric] = Field(min_length=1)
    k: Count = 1
    task_problems: Count | None = None
    long_context: LongContext | None = None
    prescreen: Prescreen | None = None
    fused_runs: FusedRuns | None = None

    @model_validator(mode="after")
    def _metrics_have_their_data(self) -> Self:
        if "kl_long" in self.metrics and self.long_context is None:
            raise impossible("metrics: kl_long needs the section long_context")
        if "task" in self.metrics and self.task_problems is None:
            raise impossible("metrics: task needs task_problems, a number of problems")
        if self.prescreen is not None and self.prescreen.tokens > self.tokens:
            raise impossible(
                f"prescreen.tokens {self.prescreen.tokens} is above tokens {self.tokens}; rank on "
                "at most what is scored"
            )
        return self


class Profile(Section):
    """Measured seconds of blocks: from `file` (made elsewhere by `heirloom profile`), else measured
    here, `repeats` times, as the difference of `blocks` and twice as many blocks, for prompts of
    `prefill` tokens and the `decode`-th token after them."""

    batches: list[Count] = Field(min_length=1)
    prefill: Count
    decode: Count
    blocks: Count = 4
    repeats: Count = 5
    file: Text | None = None


class Costs(Section):
    """What block costs are computed for: bytes a value, batch in sequences, context in tokens.

    `memory_bytes` = weight_bytes + batch x context x kv_bytes_per_token + activation_bytes.
    """

    dtype_bytes: Annotated[int, Field(ge=1, le=4)]
    batch: Count
    context: Count
    profile: Profile | None = None


class Study(Section):
    """What the search is worth: other ways to choose at equal cost, and `assemblies` random models
    whose true KL on `tokens` is set against the sum of their scores; `random` of them keep the
    limits and stand beside the search."""

    assemblies: Count
    random: Count
    tokens: Count
    sequence_length: Count


class Puzzle(Computed, StageSection):
    """Puzzle NAS: importance, block library, scores, costs, search, and a study of the search.

    `library_of` names another model of the same parent whose library, scores and costs this one
    searches too, under limits of its own: nothing of them is made twice. `dtype` is what all of it,
    and fusion after it, computes in; children train with float32 weights.
    """

    library_of: Name | None = None
    importance: Importance
    library: Library
    scores: Scores
    costs: Costs
    search: Search
    study: Study | None = None

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """Searching, measured where it is, and what is made for it, where that is its own."""
        made, layers = {}, material.layers
        library, scores, measured = self.library, self.scores, self.search.measured
        candidates = len(library.attention) * len(library.ffn) - 1
        # From cached prefix activations, half of the model runs on average.
        scored = scores.tokens * layers * candidates / 2
        changes = (self.search.rounds or 0) * (measured.improved if measured else 1)
        steps = measured.steps - 1 if measured else 0
        if changes + steps:  # each scores single changes again: all, or those worth it, about half
            again = scored * (changes + steps) / (2 if measured else 1)
            made["architecture"] = Effort(scores.tokens, scored=again)
        if self.study is not None:
            whole = WAYS + self.study.random + self.study.assemblies
            # Beside whole models, a run of neighbours from every layer on: half a model each.
            tokens = self.study.tokens * whole + self.study.tokens * layers // 2
            made["search_study"] = Effort(tokens, scored=tokens)
        if self.library_of is not None:
            return made
        trained = sum(v not in {"full", "noop"} for v in [*library.attention, *library.ffn])
        read, tokens = self.importance.tokens, library.tokens or 0
        made["channel_importance"] = Effort(read, scored=read)
        # A variant trains half a block in each layer: half of the model's training cost.
        made["block_library"] = Effort(tokens, trained=tokens * trained / 2, scored=tokens)
        made["block_scores"] = Effort(scores.tokens, scored=scored)
        return made

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
        if self.search.objective not in self.scores.metrics:
            raise impossible(
                f"search.objective '{self.search.objective}' is not among scores.metrics; add it"
            )
        if self.search.timed and self.costs.profile is None:
            raise impossible(
                "search: a limit or front in measured seconds needs costs.profile; add it"
            )
        runs = self.scores.fused_runs
        for name in runs.ffn if runs else []:
            if name not in self.library.ffn or name == "linear":
                raise impossible(
                    f"scores.fused_runs names ffn '{name}', which no run can be made of; use a "
                    "width of library.ffn"
                )
        banned = {
            rule.attention
            for rule in self.search.forbidden
            if rule.layer in (NEVER_FIRST["layer"], None) and rule.ffn is None
        }
        if set(self.library.attention) - banned <= {NEVER_FIRST["attention"]}:
            raise impossible(
                "search.forbidden leaves layer 0 only noop attention; allow it a real one"
            )
        return self


class Fusion(StageSection):
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

    def efforts(self, checkpoint: str, material: Material) -> dict[str, Effort]:
        """Nothing that counts: a few passes over little text."""
        return {}

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
