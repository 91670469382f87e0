"""One declared benchmark: its files, how a problem is asked, and how an answer is judged.

Templates are Jinja texts over the declared fields, `choices`, `answer` and `metadata` Jinja
expressions; see `resources/templating.py`. Opens no file.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BeforeValidator, Field, model_validator
from pydantic_core import PydanticCustomError

from resources.recipe.sections.base import (
    Computed,
    Count,
    CountOrZero,
    NonNegative,
    PositiveShare,
    Reasoning,
    Section,
    Text,
    impossible,
)
from resources.recipe.sections.data import HELD_TEXT, Documents, Files, Records
from resources.templating import TemplateError, checked

Method = Literal["generate", "loglikelihood", "perplexity"]
Verifier = Literal["math", "choice", "code", "instructions", "tools", "exact"]
# What decides how is asked and judged, not which problems there are.
PROTOCOL = {
    "system",
    "style",
    "normalize",
    "extract",
    "delimiter",
    "stop",
    "samples",
    "thinking",
    "temperature",
    "top_p",
    "max_new_tokens",
    "dtype",
}
INSTRUCTED = ("instruction_id_list", "kwargs")  # metadata of a problem of instructions
METHODS: tuple[str, ...] = get_args(Method)
VERIFIERS: tuple[str, ...] = get_args(Verifier)


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class FewShot(Section):
    """Worked examples before the question: the first rows of a split or file that nothing is asked
    from. `path` is where they lie, where it is not the benchmark's own data set."""

    examples: CountOrZero
    path: Text | None = None
    split: Text = "train"
    target: Text = Field(default="{{ answer }}", description="what stands as their answer")


class Continuations(Section):
    """Problems made of documents: which of `options` texts of `after` words goes on with a passage
    of `words` words; the wrong ones go on with other documents. Templates see `context`, `options`
    and `answer`, an index."""

    words: Count = 40
    after: Count = 8
    options: Annotated[int, Field(ge=2, le=26)] = 4


class Benchmark(Files, Computed):
    """A benchmark: problems of a published test split, held out whole, and the protocol.

    `prompt` asks (Jinja text); `question` is the text that training data are compared with (absent:
    the prompt). `answer` is an expression: the expected text, or of `choices` the index, letter or
    text. `tests` is a program with asserts, `metadata` what a verifier wants besides. `style` is
    the model's own chat, or the plain text alone. `extract` is a pattern whose last match (its
    first group) is the answer; `stop` ends a plain one. `thinking` asks in each mode named.
    """

    kind: Literal["benchmark"] = "benchmark"
    split: Text = "test"
    fields: dict[str, Text] = Field(min_length=1)
    method: Method = "generate"
    verifier: Verifier | None = None
    style: Literal["chat", "plain"] = "chat"
    system: Text | None = None
    prompt: Text = "{{ question }}"
    question: Text | None = None
    choices: Text | None = None
    answer: Text | None = None
    tests: Text | None = None
    metadata: dict[str, Text] = Field(default_factory=dict)
    few_shot: FewShot = FewShot(examples=0)
    continuations: Continuations | None = None
    delimiter: str = " "
    normalize: Literal["none", "characters", "tokens"] = "none"
    extract: Text | None = None
    program: Text = "{{ response }}"
    stop: list[Text] = Field(default_factory=list)
    samples: Count = 1
    thinking: Annotated[list[Reasoning], BeforeValidator(_several)] = Field(default_factory=list)
    temperature: NonNegative = 0.0
    top_p: PositiveShare = 1.0
    max_new_tokens: Count = 512

    @model_validator(mode="before")
    @classmethod
    def _lies_somewhere(cls, data: Any) -> Any:
        """Without a path it was meant to be one that comes with the package; its name is wrong."""
        if isinstance(data, dict) and "path" not in data:
            raise PydanticCustomError("no_benchmark", "no bundled benchmark has this name")
        return data

    @model_validator(mode="after")
    def _templates_are_some(self) -> Self:
        texts = (self.prompt, self.question, self.tests, self.program, self.few_shot.target)
        expressions = (self.choices, self.answer, *self.metadata.values())
        try:
            for source in filter(None, texts):
                checked(source)
            for source in filter(None, expressions):
                checked(source, expression=True)
            re.compile(self.extract or "")
        except (TemplateError, re.error) as error:
            raise impossible(str(error)) from None
        return self

    @model_validator(mode="after")
    def _protocol_holds(self) -> Self:
        if self.method == "generate" and self.verifier is None:
            raise impossible(f"verifier is missing; one of {', '.join(VERIFIERS)} judges an answer")
        if self.method != "generate" and (self.verifier or self.thinking or self.samples > 1):
            raise impossible(
                f"method {self.method} generates nothing; leave out verifier, thinking and samples"
            )
        if self.method == "loglikelihood" and self.choices is None:
            raise impossible("method loglikelihood compares choices; give choices, an expression")
        if self.verifier == "choice" and self.choices is None:
            raise impossible("verifier choice needs choices, an expression that lists them")
        if self.verifier == "code" and self.tests is None:
            raise impossible("verifier code runs tests; give tests, a Jinja text of asserts")
        if self.verifier == "instructions" and set(INSTRUCTED) - set(self.metadata):
            raise impossible(f"verifier instructions reads metadata {' and '.join(INSTRUCTED)}")
        if self.samples > 1 and not self.temperature:
            raise impossible("samples above 1 need a temperature above 0; greedy ones are equal")
        if self.stop and self.style == "chat":
            raise impossible("stop ends plain answers; a chat has its turn-end token")
        if self.thinking and self.style == "plain":
            raise impossible("thinking is a chat's; leave it out, or 'style: chat'")
        if self.few_shot.examples:
            self._examples_lie_apart()
        if self.continuations is not None:
            self._documents_give_problems()
        elif self.path == HELD_TEXT:
            raise impossible(f"path: {HELD_TEXT} is documents; say `continuations`, or name files")
        return self

    def _documents_give_problems(self) -> None:
        if set(self.fields) != {"text"} or self.few_shot.examples:
            raise impossible("continuations reads documents: fields maps text alone, no few_shot")
        if self.limit is None:
            raise impossible("continuations needs limit, how many passages it asks about")

    def _examples_lie_apart(self) -> None:
        path = self.few_shot.path or self.path
        same = path == self.path and (
            not path.startswith("hub:") or self.few_shot.split == self.split
        )
        if same:
            raise impossible(
                "few_shot: its examples are those that are asked; give few_shot.path, a file of "
                "the training split, or few_shot.examples 0"
            )

    @property
    def read_as(self) -> dict[str, Any]:
        """What of the declaration decides the problems; with `asked_as` all of it."""
        return self.model_dump(mode="json", exclude=PROTOCOL, exclude_defaults=True)

    @property
    def asked_as(self) -> dict[str, Any]:
        """What of the declaration decides only how they are asked and judged."""
        return self.model_dump(mode="json", include=PROTOCOL, exclude_defaults=True)

    @property
    def expected(self) -> str:
        """The expression of the expected answer."""
        if self.answer is not None:
            return self.answer
        return "expected_answer" if "expected_answer" in self.fields else "answer"

    @property
    def problems(self) -> Records | Documents:
        """Where the problems lie: rows of fields, or documents, any of which may be asked about."""
        named = {name: getattr(self, name) for name in Files.model_fields if name != "kind"}
        if self.continuations is not None:
            return Documents(**named | {"limit": None})
        return Records(**named)

    @property
    def examples(self) -> Records | None:
        """Where the worked examples lie."""
        shot, problems = self.few_shot, self.problems
        if not shot.examples or isinstance(problems, Documents):
            return None
        where = {"path": shot.path or self.path, "split": shot.split, "limit": shot.examples}
        return problems.model_copy(update=where)
