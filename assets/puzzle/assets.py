"""The Puzzle stage's assets, for every model whose recipe has a puzzle section.

One function an asset, in the order of the data; each says what of the recipe its asset depends on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from assets.puzzle.runs import wide_ffn
from resources.recipe.chats import tokens_of
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Section
from resources.recipe.sections.model import ModelRecipe
from resources.recipe.sections.puzzle import Fusion, Profile, Puzzle, Study
from resources.store.spec import Spec

LIBRARY_VERSION = "3"
# What models with one library have in common, the parent that it was made of included.
LIBRARY = (
    "parent",
    "channel_importance",
    "block_library",
    "block_scores",
    "block_costs",
    "cost_profile",
)


def specs(recipe: Recipe) -> list[Spec]:
    """From channel importance to the assembled (and fused) checkpoint, model by model."""
    return [
        spec
        for name, model in recipe.models.items()
        if model.puzzle is not None
        for spec in _specs(_Assets(recipe, name, model.puzzle), model)
    ]


def _specs(assets: _Assets, model: ModelRecipe) -> list[Spec]:
    profile, study = assets.puzzle.costs.profile, assets.puzzle.study
    library = [
        assets.channel_importance(),
        assets.block_library(),
        assets.block_scores(),
        assets.block_costs(),
        *([assets.cost_profile(profile)] if profile else []),
    ]
    made = [
        *([] if assets.puzzle.library_of else library),
        assets.architecture(),
        assets.assembled(),
        *([assets.cost_report(profile)] if profile else []),
        *([assets.search_study(study)] if study else []),
    ]
    return made + ([assets.fused(model.fusion)] if model.fusion else [])


def _values(section: Section, *without: str) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude=set(without))


@dataclass(frozen=True)
class _Assets:
    """The assets of one model, from its puzzle section."""

    recipe: Recipe
    name: str
    puzzle: Puzzle

    def channel_importance(self) -> Spec:
        return self._spec(
            "channel_importance",
            "library.importance:channel_importance",
            self._inputs("parent", "corpus"),
            _values(self.puzzle.importance) | self._dtype(),
            checks=("importance_finite",),
            kinds=("torch",),
            description="FFN channels and key-value heads ranked by what they contribute.",
        )

    def block_library(self) -> Spec:
        groups = self.puzzle.library.groups
        return self._spec(
            "block_library",
            "library.build:build_library",
            self._inputs("parent", "corpus", "channel_importance"),
            _values(self.puzzle.library, "groups")
            | {"data_seed": self.recipe.family.seed}
            | ({"groups": groups} if isinstance(groups, int) else {})
            | self._dtype(),
            partitions=self.puzzle.library.partitions(),
            version=LIBRARY_VERSION,
            checks=("library_trained",),
            kinds=("torch", "safetensors"),
            pool="gpu",
            description="Sub-blocks of every variant, each trained to imitate its parent block; "
            "a layer group a partition.",
        )

    def block_scores(self) -> Spec:
        return self._spec(
            "block_scores",
            "scoring.build:score_blocks",
            self._inputs("parent", "corpus", "block_library"),
            _values(self.puzzle.scores) | self._variants() | self._dtype(),
            checks=("scores_complete",),
            kinds=("torch",),
            pool="gpu",
            description="What one replaced block does to the parent, for every layer and variant.",
        )

    def block_costs(self) -> Spec:
        return self._spec(
            "block_costs",
            "costs.closed_form:block_costs",
            self._inputs("parent"),
            _values(self.puzzle.costs, "profile") | self._variants(),
            checks=("costs_consistent",),
            kinds=("python",),
            description="Parameters and bytes of every layer and variant, in closed form.",
        )

    def cost_profile(self, profile: Profile) -> Spec:
        runs, variants = self.puzzle.scores.fused_runs, self._variants()
        wide = [wide_ffn(ffn, n) for ffn in runs.ffn for n in runs.lengths] if runs else []
        variants["ffn"] = list(dict.fromkeys([*variants["ffn"], *wide]))
        return self._spec(
            "cost_profile",
            "costs.profile:read_profile" if profile.file else "costs.profile:measure_profile",
            self._inputs("parent"),
            _values(profile, "file") | variants | {"dtype_bytes": self.puzzle.costs.dtype_bytes},
            source=str(self.recipe.local(profile.file)) if profile.file else None,
            checks=("profile_complete",),
            reproducibility="exact" if profile.file else "statistical",
            kinds=("torch",),
            pool="gpu",
            description="Measured seconds of every block variant, with hardware and software.",
        )

    def architecture(self) -> Spec:
        search = self.puzzle.search
        rescored = ("block_library", "corpus") if search.rounds or search.measured else ()
        return self._spec(
            "architecture",
            "choice.choose:choose_architecture",
            self._inputs("parent", "block_scores", "block_costs", *rescored, *self._timed()),
            _values(self.puzzle.search) | self._sample() | (self._dtype() if rescored else {}),
            checks=("limits_met",),
            kinds=("pulp", "highs"),
            description="A variant per layer with the least total score within the limits.",
        )

    def assembled(self) -> Spec:
        return self._spec(
            "assembled",
            "choice.assemble:assemble",
            self._inputs("parent", "block_library", "architecture", "corpus"),
            self._judged() | self._dtype(),
            checks=("kl_finite",),
            kinds=("torch", "safetensors"),
            description="The searched model, put together from parent and library, untrained.",
        )

    def cost_report(self, profile: Profile) -> Spec:
        return self._spec(
            "cost_report",
            "costs.report:compare_costs",
            self._inputs("parent", "assembled", "block_costs", "cost_profile"),
            {"dtype_bytes": self.puzzle.costs.dtype_bytes, "repeats": profile.repeats},
            checks=("prediction_holds",),
            reproducibility="statistical",
            kinds=("torch",),
            description="Predicted against measured costs of the chosen model.",
        )

    def search_study(self, study: Study) -> Spec:
        read = ("parent", "block_library", "corpus", "block_scores", "block_costs", "architecture")
        return self._spec(
            "search_study",
            "study:study_search",
            self._inputs(*read, *self._timed()),
            _values(study) | {"search": _values(self.puzzle.search)} | self._dtype(),
            checks=("study_measured",),
            kinds=("torch",),
            pool="gpu",
            description="The search against other ways to choose at equal cost, and the sum of "
            "scores against the true KL of random assemblies.",
        )

    def fused(self, fusion: Fusion) -> Spec:
        return self._spec(
            "fused",
            "fusing.plan:fuse_checkpoint",
            self._inputs("parent", "assembled", "architecture", "corpus"),
            _values(fusion) | self._dtype(),
            checks=("kl_finite",),
            kinds=("torch", "safetensors"),
            description="Runs of attention-free layers as one layer with a wide FFN each.",
        )

    def _variants(self) -> dict[str, Any]:
        """The variants of both kinds, which costs and scores are of too."""
        library = self.puzzle.library
        return {"attention": list(library.attention), "ffn": list(library.ffn)}

    def _dtype(self) -> dict[str, str]:
        """What is computed in, where the recipe says it."""
        return {"dtype": self.puzzle.dtype} if self.puzzle.dtype else {}

    def _sample(self) -> dict[str, Any]:
        """The text that the scores were measured on, for what is compared with them."""
        return {key: getattr(self.puzzle.scores, key) for key in ("tokens", "sequence_length")}

    def _judged(self) -> dict[str, Any]:
        """The text that the chosen model is judged on: no less than it was chosen by."""
        sample, measured = self._sample(), self.puzzle.search.measured
        if measured:
            sample["tokens"] = max(sample["tokens"], measured.tokens)
        return sample

    def _timed(self) -> tuple[str, ...]:
        """The cost profile, for a search whose limits are in seconds."""
        return ("cost_profile",) if self.puzzle.search.timed else ()

    def _inputs(self, *names: str) -> dict[str, str]:
        """Assets of the model by name; `corpus` is the text in its own tokens."""
        tokens = tokens_of(self.recipe, self.name)
        owner = self.puzzle.library_of or self.name
        return {
            name: tokens
            if name == "corpus"
            else f"{owner if name in LIBRARY else self.name}/{name}"
            for name in names
        }

    def _spec(
        self,
        asset: str,
        fn: str,
        inputs: dict[str, str],
        values: dict[str, Any],
        *,
        checks: tuple[str, ...],
        **more: Any,
    ) -> Spec:
        return Spec(
            key=f"{self.name}/{asset}",
            stage="puzzle",
            fn=f"assets.puzzle.{fn}",
            inputs=inputs,
            recipe=values,
            seed=self.recipe.family.seed,
            model=self.name,
            checks=tuple(f"assets.puzzle.checks:{check}" for check in checks),
            **more,
        )
