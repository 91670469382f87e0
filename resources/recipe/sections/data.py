"""Data that a recipe brings: sources of text and conversations, and the mixture of the corpus.

Says what a source is and what this build does not read yet; opens no file (see
`resources/sources`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from resources.pretrained.source import is_hub_id
from resources.recipe.errors import nearest
from resources.recipe.sections.base import (
    DOMAINS,
    Count,
    CountOrZero,
    Positive,
    Section,
    Text,
    impossible,
)

_PROBLEM = "question expected_answer choices tests subject subtopic difficulty metadata id"
# What each kind may map, our name -> their column.
FIELDS: dict[str, tuple[str, ...]] = {
    kind: tuple(names.split())
    for kind, names in {
        "text": "text",
        "conversations": "messages role content train system tools prompt query response",
        "problems": _PROBLEM,
        "responses": f"{_PROBLEM} response thinking model",
        "preferences": "prompt role content chosen rejected chosen_score rejected_score "
        "first second preference",
    }.items()
}
MIXED = ("text", "conversations")  # the kinds of which a corpus is made
DRAWN = ("conversations", "responses")  # those that an SFT stage draws from
JUDGED = ("problems", "responses")  # those whose `verifier` says the domain
QuestionKind = Literal["proof", "choice", "binary", "invalid"]  # of math, beside an answer to find
VOTED = ("math", "science")  # the domains whose problems may get an answer by vote
INSIDE = "metadata."  # before our name of one entry of a problem's metadata
PYTHON = "python:"  # a path that means text which ships with Python itself
GYM = "reasoning_gym:"  # a path that means rows which reasoning-gym generates
HELD_TEXT = "corpus:held_out"  # a path that means the text which the mixture holds out
WRITTEN = "parent:"  # a path that means what a model's parent writes itself
BROUGHT = ("documentation", "docstrings", "source")
_HUB = re.compile(r"hub:(?P<id>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?")


def _share(value: Any) -> Any:
    """A share as written: 0.01, or `1%`."""
    if isinstance(value, str) and (found := re.fullmatch(r"(-?\d+(?:\.\d+)?)\s*%", value.strip())):
        return float(found[1]) / 100
    return value


ShareOrPercent = Annotated[float, Field(ge=0, lt=1), BeforeValidator(_share)]


def hub(path: str) -> tuple[str, str] | None:
    """The data set id and revision of `hub:org/name@REV`; None for a path of files.

    >>> hub("hub:openai/gsm8k@e53f048")
    ('openai/gsm8k', 'e53f048')
    >>> hub("hub:openai/gsm8k")
    ('openai/gsm8k', 'main')
    """
    found = _HUB.fullmatch(path)
    return None if found is None else (found["id"], found["revision"] or "main")


class Answers(Section):
    """Who answers a source's problems, and how often with thinking on and off.

    `by` answers with thinking on; with thinking off the recipe's model for that does, where it has
    one. `judge` and `feedback_edit` as in `sft_data`.
    """

    by: Literal["teacher", "off"]
    thinking_on: CountOrZero = 0
    thinking_off: CountOrZero = 0
    judge: Literal["unknown", "all"] | None = None
    feedback_edit: Literal["measured", "used"] | None = None

    @model_validator(mode="after")
    def _something_is_sampled(self) -> Self:
        if not self.thinking_on + self.thinking_off:
            raise impossible("thinking_on and thinking_off are both 0; leave `answers` out instead")
        return self


class Files(Section):
    """Files of rows that a user brings: where they lie, and which of their columns means what.

    `path` is a file, a folder, a glob, `package:NAME/FILE` of an installed package,
    `hub:org/name@REV` (with `files`, a glob of raw files in it, else its converted Parquet of
    `config` and `split`), or `python:documentation`, `python:docstrings`, `python:source`, text
    that ships with Python itself, or `reasoning_gym:TASK?seed=7&skip=4&…`, generated rows with
    different `question`s and `answer`. `fields` maps our names to their columns. `format` is told
    by the file's name where it is not given; `document` says what one document of a plain text file
    is. More than the share `max_drop` of rows that do not fit stops the asset.
    """

    kind: str
    path: Text
    files: Text | None = None
    config: Text | None = None
    split: Text = "train"
    format: Literal["jsonl", "json", "parquet", "csv", "text"] | None = None
    fields: dict[str, Text] = Field(default_factory=dict)
    encoding: Literal["utf-8", "latin-1"] = "utf-8"
    document: Literal["file", "paragraph", "line"] = "file"
    license: Text
    limit: Count | None = None
    max_drop: ShareOrPercent = 0.01

    @model_validator(mode="after")
    def _path_is_one(self) -> Self:
        if re.match(r"[a-z][a-z0-9+]*://", self.path, re.IGNORECASE):
            raise impossible(
                f"path: '{self.path}' is an address; fetch it and give the file, or write "
                "hub:org/name@REV"
            )
        try:
            Path(self.path).expanduser()
        except RuntimeError:
            raise impossible(
                f"path: '{self.path}' names a home that is not there; give the whole path"
            ) from None
        if self.path.startswith("hub:") and hub(self.path) is None:
            raise impossible(f"path '{self.path}' is no hub data set; write hub:org/name@REV")
        if self.files is not None and not self.path.startswith("hub:"):
            raise impossible("files is the glob inside a hub data set; put it in path instead")
        return self

    @property
    def columns(self) -> dict[str, str]:
        """`fields` with what an absent mapping means."""
        return dict(self.fields)

    @property
    def tools_as_text(self) -> bool:
        """Whether calls, results and tools of conversations are written into the turns."""
        return False

    @property
    def domain(self) -> str:
        """The domain of problems. ValueError where it has none."""
        raise ValueError(f"{self.path} is of kind {self.kind}, which has no domain")

    @property
    def voted(self) -> bool:
        """Whether rows without a known answer are taken."""
        return False


class Records(Files):
    """Rows of declared fields, `a.b` a field inside one, each value as it stands."""

    kind: Literal["records"] = "records"


class Documents(Files):
    """Whole texts, of which `fields` maps `text`."""

    kind: Literal["text"] = "text"


class Source(Files):
    """Data that a user brings to train on: what it is, where it lies, what its columns mean.

    `fields` maps `text`; or `messages` (with `role`, `content`, `train` inside a turn); or
    `prompt`, `query`, `response` and `system` of one exchange; or of problems `question` with
    `expected_answer`, `choices`, `tests`, …, whose domain is that of the `verifier`, and of
    responses `response`, `thinking` and `model` beside; or of preferences `chosen` and `rejected`.
    `truth: vote` takes rows without an answer, whose problems get one by vote; `answers` has the
    problems answered; `drop` names kinds of math problems that are not taken. `holdout` is the
    share of conversations kept from training. Their `tools` are rendered by each model's template,
    or as `text`: written into the turns between Hermes' tags. A path may also be `parent:MODEL`:
    what that model's parent answers to the first `limit` bundled prompts, each answer
    `max_new_tokens` long at most.
    """

    kind: Literal["problems", "conversations", "responses", "text", "preferences"]
    max_new_tokens: Count | None = None
    verifier: Text | None = None
    truth: Literal["vote"] | None = None
    drop: list[QuestionKind] = Field(default_factory=list)
    answers: Answers | None = None
    holdout: ShareOrPercent = 0.01
    over_long: Literal["drop", "cut"] = "drop"
    tools: Literal["template", "text"] = "template"

    @model_validator(mode="after")
    def _fields_mean_something(self) -> Self:
        known = FIELDS[self.kind]
        if self.path.startswith(PYTHON):
            what = self.path.removeprefix(PYTHON)
            if what not in BROUGHT:
                raise impossible(f"path: Python brings no '{what}'; {nearest(what, BROUGHT)}")
            if self.kind != "text" or self.fields or self.format:
                raise impossible(f"{self.path} is of kind text, without 'fields' and 'format'")
        self._written_whole()
        if self.tools_as_text and self.kind != "conversations":
            raise impossible(f"tools is for conversations; a source of kind {self.kind} has none")
        self._problems_have_a_domain()
        if self.kind == "preferences" and self.fields:
            self._one_is_preferred()
        for name in self.fields:
            inside = self.kind in JUDGED and name.startswith(INSIDE)
            if name not in known and not inside:
                raise impossible(f"fields: no '{name}' in {self.kind}; {nearest(name, known)}")
        if self.kind == "conversations" and self.fields:
            if ("messages" in self.fields) == ("response" in self.fields):
                raise impossible(
                    "fields must map either 'messages' (a list of turns) or "
                    "'prompt' and 'response' (one exchange)"
                )
            if "response" in self.fields and "prompt" not in self.fields:
                raise impossible("fields maps 'response' but not 'prompt'; map both")
        return self

    def _problems_have_a_domain(self) -> None:
        if self.answers is not None and self.kind != "problems":
            raise impossible(f"answers: only problems are answered, not {self.kind}")
        if self.truth is not None and self.kind not in JUDGED:
            raise impossible(f"truth: is of {' and '.join(JUDGED)}, not of {self.kind}")
        if self.drop and (self.kind, self.verifier) != ("problems", "math"):
            raise impossible(
                "drop: kinds are told apart among problems of math alone; leave it out"
            )
        if self.kind not in JUDGED:
            return
        if self.verifier not in DOMAINS:
            given = "is missing" if self.verifier is None else f"'{self.verifier}' is none"
            right = "choices are science's" if self.verifier == "choice" else ""
            raise impossible(
                f"verifier {given}; it says the domain of the problems, one of "
                f"{', '.join(DOMAINS)}" + (f" ({right})" if right else "")
            )
        if self.truth == "vote" and self.verifier not in VOTED:
            raise impossible(
                f"truth: answers of {self.verifier} are not voted on, only those of "
                f"{' and '.join(VOTED)}; leave it out"
            )
        needed = ("question",) if self.kind == "problems" else ("question", "response")
        for name in needed:
            if self.fields and name not in self.fields:
                raise impossible(f"fields must map '{name}' to a column of the source")

    def _one_is_preferred(self) -> None:
        pair, told = {"chosen", "rejected"}, {"first", "second", "preference"}
        mapped = set(self.fields)
        if not (pair <= mapped and not told & mapped) and not (
            told <= mapped and not pair & mapped
        ):
            raise impossible(
                "fields must map either 'chosen' and 'rejected', or 'first', 'second' and "
                "'preference' (below 0: the first is better)"
            )

    def _written_whole(self) -> None:
        written = self.path.startswith(WRITTEN)
        if written != (self.max_new_tokens is not None):
            raise impossible(f"max_new_tokens goes with a path {WRITTEN}MODEL, and it with that")
        if written and (self.kind != "conversations" or self.fields or not self.limit):
            raise impossible(
                f"{self.path} is of kind conversations, with a `limit` of prompts, without 'fields'"
            )

    @property
    def tools_as_text(self) -> bool:
        """Whether calls, results and tools of conversations are written into the turns."""
        return self.tools == "text"

    @property
    def domain(self) -> str:
        """The domain of problems. ValueError where it has none."""
        return super().domain if self.verifier is None else self.verifier

    @property
    def voted(self) -> bool:
        """Whether rows without a known answer are taken."""
        return self.truth == "vote"

    @property
    def read_as(self) -> dict[str, Any]:
        """What of the declaration decides the rows that are read."""
        ignored = {"holdout", "max_drop", "over_long", "answers", "drop"}
        if self.kind not in JUDGED:
            ignored.add("verifier")
        return self.model_dump(mode="json", exclude=ignored, exclude_defaults=True)

    @property
    def columns(self) -> dict[str, str]:
        """`fields` with what an absent mapping means."""
        if self.kind == "text":
            return {"text": "text"} | self.fields
        if self.kind in JUDGED or "response" in self.fields:
            return dict(self.fields)
        if self.kind == "preferences":
            turns = {"role": "role", "content": "content"}
            usual = {name: name for name in ("prompt", "chosen", "rejected")}
            return turns | (self.fields or usual)
        return {"messages": "messages", "role": "role", "content": "content", "train": "train"} | (
            self.fields
        )


class CorpusMix(Section):
    """The corpus as a mixture: a weight for each source, and how many tokens in all.

    A key of `mix` is the name of a source of kind text or conversations, or a hub data set
    `hub:org/name@REV` with a column `text`. `holdout` is the share of documents, by hash of their
    text, that scores and evaluation read and nothing is trained on.
    """

    mix: dict[Text, Positive] = Field(min_length=1)
    tokens: Count = Field(description="tokens to train on, held-out text not counted")
    holdout: ShareOrPercent = 0.05

    def sources(self, declared: Mapping[str, Source]) -> dict[str, Source]:
        """The mixed sources by name, hub data sets under a name made of theirs."""
        found: dict[str, Source] = {}
        for key in self.mix:
            if key in declared:
                found[key] = declared[key]
            else:
                found[slug(key)] = Source(kind="text", path=key, license="unstated")
        return found

    def share_apart(self, declared: Mapping[str, Source]) -> float:
        """The share that is held out of every source: that of conversations too, where it is more.

        Both are decided by the same hash, so that nothing an SFT stage holds out is trained on.
        """
        mixed = self.sources(declared).values()
        own = [each.holdout for each in mixed if each.kind == "conversations"]
        return max([self.holdout, *own])

    @property
    def weights(self) -> dict[str, float]:
        """`mix` by the names of `sources`."""
        return {slug(key): weight for key, weight in self.mix.items()}


def slug(key: str) -> str:
    """A key of a mixture as a name.

    >>> slug("hub:HuggingFaceFW/fineweb-edu@main"), slug("c4")
    ('hub_huggingfacefw_fineweb_edu_main', 'c4')
    """
    return re.sub(r"[^a-z0-9]+", "_", key.lower()) if key.startswith("hub:") else key


def unmixable(mix: CorpusMix, sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    """(key of the mixture, what is wrong) for every key that is no readable source."""
    for key in mix.mix:
        if key in sources:
            kind = sources[key].kind
            if kind not in MIXED:
                yield key, f"is of kind {kind}; the corpus reads text and conversations"
        elif key.startswith("hub:"):
            if hub(key) is None:
                yield key, "is no hub data set; write hub:org/name@REV"
        else:
            right = nearest(key, sources)
            if is_hub_id(key):
                right = f"write hub:{key} for a data set of the hub"
            yield key, f"no such source; {right}"


def not_yet(sources: Mapping[str, Source]) -> Iterator[tuple[str, str]]:
    """(source, reason) for everything declared that this build cannot do: `check` lists it all."""
    for name, source in sources.items():
        if source.verifier is not None and source.kind not in JUDGED:
            yield name, "verifiers of sources come with the next release; leave `verifier` out"
