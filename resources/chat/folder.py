"""What a folder says about its chat: tokenizer, template, toggle, date; and their digest.

Reads files only, so that a digest costs no tokenizer and no library.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from resources.chat import llama3
from resources.chat.additions import additions, stated
from resources.chat.errors import ChatError
from resources.chat.toggle import Toggle

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
SPECIAL = "special_tokens_map.json"
ADDED = "added_tokens.json"
TEMPLATE = "chat_template.jinja"
CHAT = "chat.json"  # what a recipe said beside tokenizer and template; absent: the defaults
GENERATION = "generation_config.json"
MORE_TEMPLATES = "additional_chat_templates"
# Everything of a folder that makes its chat; a checkpoint takes them along wherever it goes.
FILES = (TOKENIZER, CONFIG, SPECIAL, ADDED, TEMPLATE, CHAT)
_NAMED = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token")
_OWN = "heterogeneous_llama"  # the model type of checkpoints that this library wrote


@dataclass(frozen=True)
class Settings:
    """A folder's chat but for the tokenizer itself.

    `template` is the one for plain conversations, `tool_template` the one with tools where the
    folder has two.
    """

    template: str
    tool_template: str
    toggle: Toggle
    date: datetime.date | None = None

    @property
    def dated(self) -> bool:
        """Whether a template asks for the date."""
        sources = self.template + self.tool_template
        return "strftime_now" in sources or "date_string" in sources


def settings(
    folder: Path,
    *,
    tokenizer: Path | None = None,
    template: Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> Settings:
    """What the files of a checkpoint or tokenizer folder say.

    `tokenizer` (a folder), `template` (a file) and `given` (what `chat.json` holds) take the place
    of the folder's own. Raises ChatError, naming file and field, where there is no template or a
    value is no such thing.
    """
    if template is not None:
        templates = {"default": _text(template)}
    else:
        templates = _templates(folder, tokenizer or folder)
    if "default" not in templates:
        raise ChatError(
            f"{folder}: no {TEMPLATE}, and {CONFIG} has no chat_template: give an instruct model, "
            "or name one: {path: …, template: ./chat.jinja}"
        )
    values = {**said(folder), **(given or {})}
    unknown = sorted(set(values) - {"thinking", "date"})
    if unknown:
        raise ChatError(f"{folder / CHAT}: unknown {', '.join(unknown)}; it takes thinking, date")
    try:
        toggle = Toggle.of(values.get("thinking"))
        date = _date(values.get("date"))
    except ValueError as error:
        raise ChatError(f"{folder / CHAT}: {error}") from error
    default = templates["default"]
    return Settings(default, templates.get("tool_use", default), toggle, date)


def digest(
    folder: Path,
    *,
    tokenizer: Path | None = None,
    template: Path | None = None,
    given: Mapping[str, Any] | None = None,
) -> str:
    """The chat's identity, 16 hexadecimal digits: equal digests mean equal ids and masks.

    Covers the tokenizer (its content, not its file's layout), what other files add to it, the
    special tokens' names, the template, the toggle, and the date where the template asks for one.
    The arguments are those of `settings`. Raises ChatError as it does, and without a tokenizer.
    """
    source = tokenizer or folder
    if not (source / TOKENIZER).is_file():
        raise ChatError(f"{source}: no {TOKENIZER}")
    content, added = _tokenizer(source)
    chat = settings(folder, tokenizer=tokenizer, template=template, given=given)
    return identity(content, special_tokens(source), chat, added)


def adds(folder: Path) -> bool:
    """Whether other files of a tokenizer folder say more of tokens than its tokenizer.json."""
    return bool(_tokenizer(folder)[1])


def _tokenizer(folder: Path) -> tuple[str, list[list[Any]]]:
    """The hash of a tokenizer.json's content, and what other files add to it."""
    status = (folder / TOKENIZER).stat()
    content, known = _content(folder / TOKENIZER, status.st_size, status.st_mtime_ns)
    configs: list[Mapping[str, Any]] = [_json(folder / CONFIG), _json(folder / SPECIAL)]
    return content, additions(known, configs, _json(folder / ADDED))


# The hash of a tokenizer.json's bytes → that of what it says, and the added tokens in it.
_Content = tuple[str, dict[str, dict[str, Any]]]
_contents: dict[str, _Content] = {}


@lru_cache(maxsize=64)
def _content(file: Path, size: int, modified: int) -> _Content:
    """The hash of a tokenizer.json's content, read once a process while it stays as it is.

    A family's checkpoints all bring the same file along: its bytes are parsed once.
    """
    written = hashlib.sha256(file.read_bytes()).hexdigest()
    if written not in _contents:
        values = _json(file)
        _contents[written] = content_hash(values), stated(values)
    return _contents[written]


def content_hash(tokenizer: Any) -> str:
    """The hash of what a tokenizer.json says, however it is laid out."""
    text = json.dumps(tokenizer, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def identity(
    tokenizer: str, special: Mapping[str, str], chat: Settings, added: Sequence[Any] = ()
) -> str:
    """The digest of a chat's parts.

    `tokenizer` is the hash of its tokenizer.json's content, `added` what stands beyond it.
    """
    parts = {
        "tokenizer": tokenizer,
        "special": dict(special),
        "template": chat.template,
        "tool_template": chat.tool_template,
        "toggle": chat.toggle.as_json(),
        "date": chat.date.isoformat() if chat.dated and chat.date is not None else None,
        **({"added": list(added)} if added else {}),
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def special_tokens(folder: Path) -> dict[str, str]:
    """The named special tokens (`bos_token` and so on), as the tokenizer's files give them."""
    found: dict[str, str] = {}
    for name in (SPECIAL, CONFIG):
        values = _json(folder / name)
        for key in _NAMED:
            value = values.get(key)
            text = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(text, str):
                found[key] = text
    return found


def said(folder: Path) -> dict[str, Any]:
    """What the folder's `chat.json` holds; nothing where there is none."""
    return _json(folder / CHAT)


def stop_tokens(folder: Path) -> tuple[int, ...]:
    """The ids at which generation ends, as `generation_config.json` lists them."""
    ids = _json(folder / GENERATION).get("eos_token_id")
    listed = ids if isinstance(ids, list) else [ids]
    return tuple(int(one) for one in listed if isinstance(one, int) and not isinstance(one, bool))


def _templates(folder: Path, tokenizer: Path) -> dict[str, str]:
    """Templates by name, from where transformers looks for them, in its order.

    A folder's own files come before what another tokenizer brings.
    """
    if tokenizer != folder and not (folder / TEMPLATE).is_file():
        return _templates(tokenizer, tokenizer)
    found: dict[str, str] = {}
    inside = _json(tokenizer / CONFIG).get("chat_template")
    if isinstance(inside, str):
        found["default"] = inside
    elif isinstance(inside, list):
        named = [one for one in inside if isinstance(one, Mapping)]
        found.update({str(one.get("name")): one.get("template", "") for one in named})
    elif isinstance(inside, Mapping):
        found.update(inside)
    for name, template in found.items():
        if not isinstance(template, str):
            raise ChatError(f"{tokenizer / CONFIG}: chat_template {name!r} is no text: correct it")
    if (folder / TEMPLATE).is_file():
        found["default"] = _text(folder / TEMPLATE)
    for file in sorted((folder / MORE_TEMPLATES).glob("*.jinja")):
        found[file.stem] = _text(file)
    if not found and _json(folder / "config.json").get("model_type") == _OWN:
        # Written before checkpoints brought their template along.
        found["default"] = llama3.CHAT_TEMPLATE
    return found


def _text(template: Path) -> str:
    try:
        return template.read_text(encoding="utf-8")
    except (OSError, UnicodeError) as error:
        raise ChatError(f"{template}: cannot be read as UTF-8 text ({error})") from error


def _json(file: Path) -> dict[str, Any]:
    """A file's mapping, empty where the file is not there."""
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ChatError(f"{file}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ChatError(f"{file}: not valid JSON ({error})") from error
    if not isinstance(values, dict):
        raise ChatError(f"{file}: it must be a mapping, not {type(values).__name__}")
    return values


def _date(value: Any) -> datetime.date | None:
    if value is None or isinstance(value, datetime.date):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        raise ChatError(f"date is {value!r}: write it as 2025-01-31") from None
