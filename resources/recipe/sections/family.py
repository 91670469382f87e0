"""The shared half of a recipe: tasks, teacher, SFT data, pass rates, rewards, evaluation.

Knows nothing of a single model's path (see `model.py`).
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from resources.recipe.errors import nearest
from resources.recipe.programs import LIBRARIES
from resources.recipe.sections.base import (
    DOMAINS,
    Computed,
    Count,
    CountOrZero,
    Depth,
    Domain,
    Given,
    Learning,
    Name,
    NonNegative,
    PositiveShare,
    Sampling,
    Section,
    Text,
    check_proportions,
    impossible,
)
from resources.recipe.sections.benchmark import Benchmark
from resources.recipe.sections.cleaning import Cleaning
from resources.recipe.sections.data import HELD_TEXT, CorpusMix, Source, unmixable
from resources.recipe.sections.feedback_edit import FeedbackEdit
from resources.recipe.sections.judge import Judge
from resources.recipe.sections.roles import Role, RoleName
from resources.recipe.sections.vote import Vote
from resources.tasks.generate import kinds
from resources.tasks.held_out import DEEPEST_TRAINED


class Problems(Section):
    """Training questions of a domain: `train` procedural ones, beside those of declared sources.

    `kinds` weighs the domain's generators (empty: all equally); `depths` weighs serial depth k.
    """

    train: CountOrZero = Field(description="number of generated training problems")
    kinds: dict[str, NonNegative]
    depths: dict[Depth, NonNegative]

    @model_validator(mode="before")
    @classmethod
    def _sources_are_declared(cls, data: Any) -> Any:
        """An empty list of `extra_sources`, as recipes had it, says nothing."""
        if not isinstance(data, dict) or "extra_sources" not in data:
            return data
        if data["extra_sources"]:
            raise impossible(
                "extra_sources: declare each under `sources`, as `NAME: {kind: problems, verifier: "
                "math, path: …, fields: …, license: …}`, and leave them out here"
            )
        return {key: value for key, value in data.items() if key != "extra_sources"}

    @model_validator(mode="after")
    def _something_to_draw(self) -> Self:
        check_proportions(self.kinds, "kinds", empty_allowed=True)
        if self.train:
            check_proportions(self.depths, "depths")
            deepest = max(self.depths)
            if deepest > DEEPEST_TRAINED:
                raise impossible(
                    f"depths: {deepest} is only held out; training stops at {DEEPEST_TRAINED}"
                )
        return self


class HeldOut(Section):
    """Benchmark problems, stratified: `per_domain_per_depth` of each domain at each depth k."""

    per_domain_per_depth: Count
    depths: list[Depth] = Field(min_length=1)


class Corpus(Section):
    """Procedural text for importance, block training, distillation; `max_tokens` a document."""

    documents: Count
    max_tokens: Count


def _form(corpus: Any) -> str:
    mixed = isinstance(corpus, CorpusMix)
    if isinstance(corpus, dict):
        mixed = "mix" in corpus or not corpus.keys() & Corpus.model_fields.keys()
    return "declared" if mixed else "procedural"


AnyCorpus = Annotated[
    Annotated[Corpus, Tag("procedural")] | Annotated[CorpusMix, Tag("declared")],
    Discriminator(_form),
]


class SftDomain(Section):
    """How many questions of a domain are answered, and how often with thinking on and off.

    `judge`: the role `judge` is asked about the answers whose verdict is `unknown`, or about `all`.
    `feedback_edit`: answers with thinking off are edited by feedback, and what that gains is
    `measured`, or also `used`: a chosen edit takes its draft's place.
    """

    prompts: Count
    samples_on: CountOrZero
    samples_off: CountOrZero
    generation: Sampling | None = None
    judge: Literal["unknown", "all"] | None = None
    feedback_edit: Literal["measured", "used"] | None = None

    @model_validator(mode="after")
    def _something_is_sampled(self) -> Self:
        if not self.samples_on + self.samples_off:
            raise impossible("samples_on and samples_off are both 0; drop the domain instead")
        return self


class PublishedRows(Section):
    """Published row counts of a domain, for comparison in the report (null: not broken down)."""

    on: CountOrZero | None
    off: CountOrZero | None
    total: Count


class PassRates(Sampling):
    """Which checkpoint estimates difficulty, on how many prompts and samples.

    Prompts with a pass rate at or above `discard_at` are dropped.
    """

    model: Name
    artifact: Name
    domains: list[Domain] = Field(min_length=1)
    prompts: Count
    samples: Count
    discard_at: PositiveShare


class InstructionPrompts(Section):
    """Synthetic prompts with 1 to `max_constraints` checkable instructions each."""

    prompts: Count
    max_constraints: Annotated[int, Field(ge=1, le=10)]


class RewardModel(Learning):
    """The reward model: trained from `base`/`artifact` on ranked samples, or taken `pretrained`.

    With `pretrained` (a path or hub id) nothing is trained.
    """

    base: Name
    artifact: Name
    pretrained: Given | None = None
    prompts: Count
    samples: Annotated[int, Field(ge=2)]
    temperature: Annotated[float, Field(gt=0)]
    top_p: PositiveShare
    max_new_tokens: Count


class Decoding(Section):
    """Sampling of one reasoning mode at evaluation."""

    temperature: NonNegative
    top_p: PositiveShare


class HeldOutBenchmarks(Computed):
    """Evaluation on held-out problems of our own `domains`: `samples` a problem (one where
    decoding is greedy)."""

    samples: Count
    max_new_tokens: Count
    on: Decoding
    off: Decoding
    domains: list[Domain] = Field(min_length=1)


class SideBySide(Computed):
    """Every checkpoint of a model on the same `tokens` tokens of held-out text of the mixture, and
    its greedy answers to the same `prompts`, for the report."""

    tokens: Count
    sequence_length: Count
    prompts: list[Text] = Field(default_factory=list)
    max_new_tokens: Count = 96


class Benchmarks(Section):
    """What every checkpoint is measured by: our own held-out problems, and benchmarks by name.

    Both stand in one mapping: what names a key of `HeldOutBenchmarks` is of `own`, every other
    mapping is a benchmark that the recipe declares under its key.
    """

    own: HeldOutBenchmarks | None = None
    declared: dict[Name, Benchmark] = Field(default_factory=dict)
    parts: ClassVar[tuple[str, str] | None] = ("own", "declared")

    @model_validator(mode="before")
    @classmethod
    def _apart(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        named = {
            key: value
            for key, value in data.items()
            if (value is None or isinstance(value, dict))
            and key not in HeldOutBenchmarks.model_fields
        }
        rest = {key: value for key, value in data.items() if key not in named}
        return {"declared": named} | ({"own": rest} if rest else {})


class Family(Section):
    """What the models of a family share; a section that no model's stages need may be left out.

    `programs` that models write are `run` against their tests, or left `unjudged` where the machine
    cannot isolate them: their verdicts are `unknown`, and what has no other is dropped. `libraries`
    are what they may import beside the standard library, by the names of imports.
    """

    name: Name
    seed: CountOrZero
    teacher: Given | None = Field(
        default=None, description="reasoning teacher: bundled/…, a path, or a hub id"
    )
    off_generator: Name = Field(
        default="teacher",
        description="'teacher', or the model whose parent answers with thinking off",
    )
    roles: dict[RoleName, Role] = Field(default_factory=dict)
    license: Text | None = None
    problems: dict[Domain, Problems] = Field(default_factory=dict)
    held_out: HeldOut | None = None
    watched_folder: str | None = None
    corpus: AnyCorpus = Corpus(documents=6000, max_tokens=256)
    sources: dict[Name, Source] = Field(default_factory=dict)
    sft_data: dict[Domain, SftDomain] = Field(default_factory=dict)
    cleaning: Cleaning | None = None
    generation: Sampling | None = None
    judge: Judge = Judge()
    feedback_edit: FeedbackEdit = FeedbackEdit()
    vote: Vote = Vote()
    published_rows: dict[str, PublishedRows] | None = None
    pass_rates: PassRates | None = None
    instruction_prompts: InstructionPrompts | None = None
    reward_model: RewardModel | None = None
    benchmarks: Benchmarks | None = None
    side_by_side: SideBySide | None = None
    programs: Literal["run", "unjudged"] = "run"
    libraries: list[Text] = Field(default_factory=lambda: list(LIBRARIES))

    def served(self, role: RoleName) -> Role | None:
        """A role whose model only a server has, or in which rules answer; None where a checkpoint
        does."""
        found = self.roles.get(role)
        return found if found is not None and (found.served or found.scripted) else None

    @property
    def given_teacher(self) -> str | dict[str, Any] | None:
        """The teacher as a checkpoint; None where there is none, or only a server has it."""
        role = self.roles.get("teacher")
        if role is None or role.model is None:
            return self.teacher
        return None if role.served else role.model

    @property
    def teacher_key(self) -> tuple[str, ...]:
        """Where the teacher's checkpoint is written down."""
        named = "teacher" in self.roles and self.roles["teacher"].model is not None
        return ("roles", "teacher", "model") if named else ("teacher",)

    @property
    def own_benchmarks(self) -> HeldOutBenchmarks | None:
        """How our own held-out problems measure; None where they do not."""
        return self.benchmarks.own if self.benchmarks else None

    @property
    def declared_benchmarks(self) -> dict[str, Benchmark]:
        """The benchmarks that the recipe declares, by name."""
        return dict(self.benchmarks.declared) if self.benchmarks else {}

    @property
    def running(self) -> dict[str, Any]:
        """What of how programs are run is in the key of what runs them: what is not the default."""
        kept: dict[str, Any] = {} if self.programs == "run" else {"programs": self.programs}
        return kept if tuple(self.libraries) == LIBRARIES else kept | {"libraries": self.libraries}

    @property
    def unjudged(self) -> frozenset[str]:
        """The domains that nothing is trained on or scored by, since no answer has a verdict."""
        return frozenset() if self.programs == "run" else frozenset({"code"})

    def problem_sources(self, domain: str) -> dict[str, Source]:
        """The declared sources of problems of a domain, by name, as they stand."""
        return {
            name: source
            for name, source in self.sources.items()
            if source.kind == "problems" and source.verifier == domain
        }

    @property
    def mixed_sources(self) -> dict[str, Source]:
        """The sources that the corpus mixes, by name; none where it is procedural."""
        if isinstance(self.corpus, CorpusMix):
            return self.corpus.sources(self.sources)
        return {}

    @model_validator(mode="after")
    def _benchmarks_find_text(self) -> Self:
        mixture = isinstance(self.corpus, CorpusMix) and self.corpus.holdout > 0
        for name, benchmark in self.declared_benchmarks.items():
            if benchmark.path == HELD_TEXT and not mixture:
                raise impossible(
                    f"benchmarks.{name}.path: {HELD_TEXT} is what a mixture holds out; give corpus "
                    "a mix and a holdout, or name files"
                )
        return self

    @model_validator(mode="after")
    def _sources_are_there(self) -> Self:
        if isinstance(self.corpus, CorpusMix):
            for key, wrong in unmixable(self.corpus, self.sources):
                raise impossible(f"corpus.mix.{key}: {wrong}")
        for name in self.sources:
            if name in DOMAINS:
                raise impossible(f"sources.{name}: is the name of a domain; give it another")
        return self

    @model_validator(mode="after")
    def _held_out_text_is_there(self) -> Self:
        if self.side_by_side is None:
            return self
        if not isinstance(self.corpus, CorpusMix):
            raise impossible("side_by_side: it reads what a mixture holds out; give corpus a mix")
        if not self.corpus.share_apart(self.sources):
            raise impossible("side_by_side: it reads held-out text; set corpus.holdout to 1%")
        return self

    @model_validator(mode="before")
    @classmethod
    def _sources_make_domains(cls, data: Any) -> Any:
        """A domain that only sources of problems name has no procedural ones."""
        sources = data.get("sources") if isinstance(data, dict) else None
        problems = data.get("problems") or {} if isinstance(data, dict) else {}
        if not isinstance(sources, dict) or not isinstance(problems, dict):
            return data
        named = [
            each.get("verifier")
            for each in sources.values()
            if isinstance(each, dict) and each.get("kind") == "problems"
        ]
        made = {name: {"train": 0, "kinds": {}, "depths": {}} for name in named if name in DOMAINS}
        return {**data, "problems": {**made, **problems}} if made else data

    @model_validator(mode="after")
    def _domains_have_problems(self) -> Self:
        for domain, section in self.problems.items():
            if not section.train and not self.problem_sources(domain):
                raise impossible(
                    f"problems.{domain}: train is 0 and no source has the verifier {domain}; a "
                    "domain needs problems"
                )
        for domain, problems in self.problems.items():
            for kind in problems.kinds:
                if kind not in kinds(domain):
                    raise impossible(
                        f"problems.{domain}.kinds: no kind '{kind}'; {nearest(kind, kinds(domain))}"
                    )
        for where, used in (
            ("sft_data", list(self.sft_data)),
            ("pass_rates.domains", self.pass_rates.domains if self.pass_rates else []),
            ("benchmarks.domains", self.own_benchmarks.domains if self.own_benchmarks else []),
        ):
            for domain in used:
                if domain not in self.problems:
                    raise impossible(
                        f"{where} names '{domain}', which has no problems; "
                        f"add it to 'problems' or use one of {', '.join(self.problems)}"
                    )
        return self
