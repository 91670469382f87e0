"""What a folder says about its chat: tokenizer, template, toggle, date; and their digest.

Reads files only, so that a digest costs no tokenizer and no library.
"""

from __future__ import annotations

import datetime
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from resources.chat import llama3
from resources.chat.errors import ChatError
from resources.chat.toggle import Toggle

TOKENIZER = "tokenizer.json"
CONFIG = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"
CHAT = "chat.json"  # what a recipe said beside tokenizer and template; absent: the defaults
GENERATION = "generation_config.json"
MORE_TEMPLATES = "additional_chat_templates"
# Everything of a folder that makes its chat; a checkpoint takes them along wherever it goes.
FILES = (TOKENIZER, CONFIG, "special_tokens_map.json", TEMPLATE, CHAT)
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


def settings(folder: Path) -> Settings:
    """What the files of a checkpoint or tokenizer folder say.

    Raises ChatError, naming file and field, where there is no template or a value is no such thing.
    """
    templates = _templates(folder)
    if "default" not in templates:
        raise ChatError(
            f"{folder}: the tokenizer has no chat template (no {TEMPLATE}, no chat_template in "
            f"{CONFIG}): give one beside the parent, `template: FILE.jinja`"
        )
    values = _json(folder / CHAT)
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


def write_settings(
    folder: Path, thinking: Mapping[str, Any] | None = None, date: datetime.date | None = None
) -> None:
    """Write `chat.json` for what differs from the defaults, and no file where nothing does."""
    toggle = Toggle.of(thinking)
    values: dict[str, Any] = {}
    if toggle != Toggle():
        values["thinking"] = toggle.as_json()
    if date is not None:
        values["date"] = date.isoformat()
    if values:
        (folder / CHAT).write_text(json.dumps(values, indent=2, sort_keys=True) + "\n")


def digest(folder: Path) -> str:
    """The chat's identity, 16 hexadecimal digits: equal digests mean equal ids and masks.

    Covers the tokenizer (its content, not its file's layout), the special tokens' names, the
    template, the toggle, and the date where the template asks for one. Files that have not changed
    are read once a process. Raises ChatError as `settings` does, and without a tokenizer.
    """
    names = (*FILES, "config.json")
    files = [file for name in names if (file := folder / name).is_file()]
    more = folder / MORE_TEMPLATES
    files += sorted(more.glob("*.jinja")) if more.is_dir() else []
    state = tuple((str(f), (s := f.stat()).st_size, s.st_mtime_ns) for f in files)
    return _digest(folder, state)


@lru_cache(maxsize=64)
def _digest(folder: Path, state: tuple[tuple[str, int, int], ...]) -> str:
    if not (folder / TOKENIZER).is_file():
        raise ChatError(f"{folder}: no {TOKENIZER}")
    return identity(_json(folder / TOKENIZER), special_tokens(folder), settings(folder))


def identity(tokenizer: Any, special: Mapping[str, str], chat: Settings) -> str:
    """The digest of a chat's parts: `tokenizer` is the content of its tokenizer.json."""
    sources = chat.template + chat.tool_template
    dated = "strftime_now" in sources or "date_string" in sources
    parts = {
        "tokenizer": tokenizer,
        "special": dict(special),
        "template": chat.template,
        "tool_template": chat.tool_template,
        "toggle": chat.toggle.as_json(),
        "date": chat.date.isoformat() if dated and chat.date is not None else None,
    }
    text = json.dumps(parts, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def special_tokens(folder: Path) -> dict[str, str]:
    """The named special tokens (`bos_token` and so on), as the tokenizer's files give them."""
    found: dict[str, str] = {}
    for name in ("special_tokens_map.json", CONFIG):
        values = _json(folder / name)
        for key in _NAMED:
            value = values.get(key)
            text = value.get("content") if isinstance(value, Mapping) else value
            if isinstance(text, str):
                found[key] = text
    return found


def stop_tokens(folder: Path) -> tuple[int, ...]:
    """The ids at which generation ends, as `generation_config.json` lists them."""
    ids = _json(folder / GENERATION).get("eos_token_id")
    listed = ids if isinstance(ids, list) else [ids]
    return tuple(int(one) for one in listed if isinstance(one, int) and not isinstance(one, bool))


def _templates(folder: Path) -> dict[str, str]:
    """Templates by name, from where transformers looks for them, in its order."""
    found: dict[str, str] = {}
    inside = _json(folder / CONFIG).get("chat_template")
    if isinstance(inside, str):
        found["default"] = inside
    elif isinstance(inside, list):
        found.update({one["name"]: one["template"] for one in inside})
    elif isinstance(inside, Mapping):
        found.update(inside)
    if (folder / TEMPLATE).is_file():
        found["default"] = (folder / TEMPLATE).read_text(encoding="utf-8")
    for file in sorted((folder / MORE_TEMPLATES).glob("*.jinja")):
        found[file.stem] = file.read_text(encoding="utf-8")
    if not found and _json(folder / "config.json").get("model_type") == _OWN:
        # Written before checkpoints brought their template along.
        found["default"] = llama3.CHAT_TEMPLATE
    return found


def _json(file: Path) -> dict[str, Any]:
    """A file's mapping, empty where the file is not there."""
    if not file.is_file():
        return {}
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
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
