"""The options of a multiple-choice problem in every shape that data sets give them.

Reads labels and texts, and which option a published answer means. It does not know how a response
names its choice, and it guesses nothing: what two readings fit is refused.
"""

import ast
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_LABELS, _TEXTS = ("label", "labels", "key", "id", "letter"), ("text", "texts", "value", "choices")
_PREFIX = re.compile(r"^\s*\(?([A-Za-z]|\d{1,2})\s*[).:]\s*(?=\S)")


@dataclass(frozen=True)
class Options:
    """The options in order: `texts`, and the `labels` that their source gives them, if it does."""

    texts: tuple[str, ...]
    labels: tuple[str, ...] | None = None

    @property
    def letters(self) -> tuple[str, ...]:
        """What they are called here: letters, or numbers from 1 where there are more than 26."""
        count = len(self.texts)
        return tuple(LETTERS[:count]) if count <= 26 else tuple(map(str, range(1, count + 1)))

    def index(self, answer: Any) -> int:
        """Which option an answer means: its label or letter, its own text, or an index from 0.

        Raises ValueError where it means none, or could mean two.

        >>> found = read({"text": ["Rome", "Paris"], "label": ["1", "2"]})
        >>> found.index("2"), found.index("Rome"), read(["x", "y"]).index(1)
        (1, 0, 1)
        """
        shown = _spelled(answer)
        named = [i for i, label in enumerate(self.labels or ()) if label.upper() == shown.upper()]
        texts = [i for i, text in enumerate(self.texts) if text == shown]
        meant = named or texts if isinstance(answer, str) else named
        if not meant and isinstance(answer, str) and not self.labels:
            meant = [i for i, letter in enumerate(self.letters) if letter == shown.upper()]
        if not meant and isinstance(answer, bool):
            meant = texts
        if not meant and _is_index(answer):
            place = int(answer)
            meant = [place] if place < len(self.texts) else texts
        if len(meant) != 1:
            many = "several" if meant else "none"
            raise ValueError(f"answer {_shown(answer)} means {many} of {self.texts}")
        return meant[0]


def read(value: Any) -> Options:
    """The options in a value. Raises ValueError for what is none.

    >>> read({"A": "Rome", "B": "Paris"})
    Options(texts=('Rome', 'Paris'), labels=('A', 'B'))
    >>> read('["A) 21", "B) 22"]').texts, read([True, False]).texts
    (('21', '22'), ('True', 'False'))
    """
    if isinstance(value, str):
        value = _literal(value)
    if isinstance(value, Mapping):
        found = _of_mapping(value)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        found = _of_sequence(value)
    else:
        raise ValueError(f"choices must be a list or an object, found {_shown(value)}")
    if len(found.texts) < 2 or not all(text.strip() for text in found.texts):
        raise ValueError(f"choices must be two or more, none empty, found {_shown(value)}")
    if found.labels is not None and len(set(found.labels)) != len(found.labels):
        raise ValueError(f"two choices have one label: {_shown(found.labels)}")
    return found


def _literal(text: str) -> Any:
    """The value that a text stands for: JSON, or a list or dict as Python writes it."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"choices are no list or object: {_shown(text)}") from None


def _of_mapping(value: Mapping[str, Any]) -> Options:
    for texts in _TEXTS:
        listed = value.get(texts)
        if isinstance(listed, Sequence) and not isinstance(listed, str):
            labels = next((value[key] for key in _LABELS if key in value), None)
            if labels is None:
                return read(listed)
            if not isinstance(labels, Sequence) or len(labels) != len(listed):
                raise ValueError(f"{len(listed)} choices, but labels {_shown(labels)}")
            return Options(tuple(map(_text, listed)), tuple(map(_spelled, labels)))
    kept = {key: text for key, text in value.items() if text is not None}
    return Options(tuple(map(_text, kept.values())), tuple(map(str, kept)))


def _of_sequence(value: Sequence[Any]) -> Options:
    if value and all(isinstance(each, Mapping) for each in value):
        texts = [_member(each, _TEXTS) for each in value]
        labels = [next((each[key] for key in _LABELS if key in each), None) for each in value]
        named = None if None in labels else tuple(map(_spelled, labels))
        return Options(tuple(map(_text, texts)), named)
    texts = [_text(each) for each in value]
    prefixes = [_PREFIX.match(text) for text in texts]
    labels = [found[1].upper() for found in prefixes if found]
    count = len(texts)
    if labels in (list(LETTERS[:count]), [str(n) for n in range(1, count + 1)]) and count > 1:
        pairs = zip(texts, prefixes, strict=True)
        cut = [text[found.end() :].strip() for text, found in pairs if found]
        return Options(tuple(cut), tuple(labels))
    return Options(tuple(texts))


def _member(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in value:
            return value[name]
    raise ValueError(f"a choice has no text: {_shown(dict(value))}")


def _text(value: Any) -> str:
    """An option's text; a list or nothing is none."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool | int | float):
        return _spelled(value)
    raise ValueError(f"a choice must be a text, a number or a truth value, found {value!r}")


def _spelled(value: Any) -> str:
    return value.strip() if isinstance(value, str) else str(value)


def _is_index(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().isdigit()
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) and value >= 0 and value == int(value)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 160 else text[:157] + "..."
