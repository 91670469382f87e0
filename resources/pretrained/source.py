"""What a recipe names as a given model: a folder, a hub id or a GGUF file, as one typed record.

The text is read here and nowhere else; the record travels from the recipe to the artifact. It does
not open what it names.
"""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Self

from resources.chat.errors import ChatError
from resources.chat.toggle import Toggle

BUNDLED = Path(__file__).resolve().parent.parent / "models" / "bundled"
OWN = "own"
FIELDS = ("path", "tokenizer", "template", "thinking", "date")
THINKING = ("on", "off", "tags")
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_REVISION = re.compile(r"^[\w.][\w./-]*$")
_ADDRESS = re.compile(r"^[a-z]+://[^/]+/([\w.-]+/[\w.-]+)(?:/.*)?$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


class SourceError(ValueError):
    """What is written names no source; the message says what would be one."""


@dataclass(frozen=True)
class ParentSource:
    """Where a given model comes from.

    `location` is an absolute path (kinds `folder` and `gguf`) or a hub id (kind `hub`), whose
    `revision` is as written and whose `commit` is what that was found to be. `tokenizer` (a folder)
    and `template` (a Jinja file) replace the model's own; `thinking` says how its template's
    reasoning toggle is worked, `date` (2025-01-31) which day a template writes that asks for one;
    both go along as `chat.json`.
    """

    kind: Literal["folder", "hub", "gguf"]
    location: str
    revision: str | None = None
    commit: str | None = None
    tokenizer: str | None = None
    template: str | None = None
    thinking: Mapping[str, Any] | None = None
    date: str | None = None

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> Self:
        """The source that `record` describes, the inverse of `record()`."""
        return cls(**record)

    def record(self) -> dict[str, Any]:
        """As JSON values, for the settings and the manifest of a build."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @property
    def chat(self) -> dict[str, Any]:
        """What stands in the model's `chat.json` for it, above what the model's own says."""
        given = {"thinking": self.thinking, "date": self.date}
        return {name: value for name, value in given.items() if value is not None}

    def at(self, commit: str) -> Self:
        """The same, with the commit that its revision is."""
        return replace(self, commit=commit)

    @property
    def name(self) -> str:
        """In short: the folder's or file's name, or the hub id with its revision."""
        return str(self) if self.kind == "hub" else Path(self.location).name

    def __str__(self) -> str:
        """As a recipe would say it: the path, or the hub id with its revision or commit."""
        revision = self.revision or self.commit
        return self.location if revision is None else f"{self.location}@{revision}"


def is_commit(revision: str | None) -> bool:
    """Whether a revision is a full commit hash, which never moves.

    >>> is_commit("main"), is_commit("0" * 40)
    (False, True)
    """
    return revision is not None and bool(_COMMIT.match(revision))


def is_hub_id(text: str) -> bool:
    """Whether a text has the form of a hub id, `org/name`, without a revision.

    >>> is_hub_id("meta-llama/Llama-3.1-8B"), is_hub_id("./models/mine")
    (True, False)
    """
    return bool(_HUB_ID.match(text)) and not text.startswith(("./", "../"))


def parse(value: str | Mapping[str, Any], directory: Path) -> ParentSource:
    """The source that a recipe in `directory` names: a text, or a mapping with `path`.

    A text is `bundled/<name>`, a path (`/x`, `~/x`, `./x`, `../x`; relative ones to the recipe), a
    path that ends in `.gguf`, or a hub id `org/name`, with `@REV` for a branch, tag or commit.
    A mapping has `path` and at least one of `tokenizer`, `template` (`own` or a path), `thinking`
    and `date`.

    Raises:
        SourceError: it is none of these.

    >>> parse("org/model@v1.0", Path("."))
    ParentSource(kind='hub', location='org/model', revision='v1.0', commit=None, tokenizer=None, \
template=None, thinking=None, date=None)
    """
    if isinstance(value, str):
        return _named(value, directory)
    if not isinstance(value, Mapping):
        found = "nothing" if value is None else repr(value)
        raise SourceError(
            "must be a folder, a GGUF file or a hub id org/name, or a mapping with path, not "
            f"{found}"
        )
    unknown = sorted(set(value) - set(FIELDS))
    if unknown:
        raise SourceError(f"unknown key '{unknown[0]}': a parent has {', '.join(FIELDS)}")
    if not isinstance(value.get("path"), str):
        raise SourceError("path is missing: write the folder, GGUF file or hub id of the model")
    thinking = value.get("thinking")
    if thinking is not None and (
        not isinstance(thinking, Mapping) or not thinking or set(thinking) - set(THINKING)
    ):
        raise SourceError(
            f"thinking must be a mapping with {', '.join(THINKING)}, not {thinking!r}"
        )
    try:
        Toggle.of(thinking)
    except ChatError as error:
        raise SourceError(str(error)) from None
    return replace(
        _named(value["path"], directory),
        tokenizer=_own_or_path(value, "tokenizer", directory),
        template=_own_or_path(value, "template", directory),
        thinking=None if thinking is None else json.loads(json.dumps(thinking)),
        date=_day(value.get("date")),
    )


def _day(value: Any) -> str | None:
    if value is None:
        return None
    try:
        return datetime.date.fromisoformat(str(value)).isoformat()
    except ValueError:
        raise SourceError(f"date is {value!r}: write it as 2025-01-31") from None


def _named(text: str, directory: Path) -> ParentSource:
    if text.startswith("bundled/"):
        return ParentSource("folder", str(BUNDLED / text.removeprefix("bundled/")))
    if text.endswith(".gguf"):
        return ParentSource("gguf", _absolute(text, directory))
    if text.startswith(("/", "~", "./", "../")):
        return ParentSource("folder", _absolute(text, directory))
    name, marked, revision = text.partition("@")
    if is_hub_id(name):
        if marked and not _REVISION.match(revision):
            raise SourceError(
                f"'{text}': '{revision}' is no revision; write {name}@<branch, tag or commit>"
            )
        return ParentSource("hub", name, revision or None)
    if found := _ADDRESS.match(text):
        raise SourceError(
            f"'{text}' is an address; write {found[1]}@<revision>, as a model of the hub is named"
        )
    if any(each.isspace() for each in text):
        raise SourceError(f"'{text}' holds spaces, and no hub id does; a folder is ./{text}")
    if is_hub_id(text.rpartition("/")[0]) or (directory / text).is_dir():
        raise SourceError(f"'{text}' is no hub id, which is org/name; a folder here is ./{text}")
    raise SourceError(
        f"'{text}' is no path; write bundled/<name>, ./<folder>, /<folder>, <file>.gguf or a hub "
        "id org/name@<revision>"
    )


def _own_or_path(value: Mapping[str, Any], key: str, directory: Path) -> str | None:
    given = value.get(key, OWN)
    if given == OWN:
        return None
    if not isinstance(given, str):
        raise SourceError(f"{key} must be '{OWN}' or a path, not {given!r}")
    return _absolute(given, directory)


def _absolute(path: str, directory: Path) -> str:
    return str((directory / Path(path).expanduser()).resolve())
