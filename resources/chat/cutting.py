"""Long texts encoded piece by piece, with the very ids of the whole.

A fast tokenizer needs some hundred bytes a character while it encodes. A text is cut before a space
that follows a letter, for tokenizers each part of which is known to treat both sides apart; others
encode it whole. Knows a tokenizer's parts and texts, no chats.

Why the ids are the same, part by part. Added tokens: none holds a letter before a space, or takes
away the white space behind a letter of its own. Normalizers: none composes or replaces across a
space. Pre-tokenizers: none looks back, and no match goes on from a letter to a space. The model:
BPE merges within what the pre-tokenizer gives; where that does not end at the cut, no token of the
vocabulary holds a letter before the space, so no merge goes over it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

PIECE = 1 << 18  # characters, about,
AT_ONCE = 4  # pieces
LETTERS = "A-Za-zÀ-ÖØ-öø-ÿΑ-ΡΣ-Ωα-ωА-яЁё"
_CUT = re.compile(rf"(?<=[{LETTERS}])(?= )")
_OVER = re.compile(rf"(?:[{LETTERS}]|<0x[0-9A-F]{{2}}>)[▁ ]")  # of a SentencePiece vocabulary
_ENDS = r"\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SHORT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|"
# Patterns that text is split by, each of which splits between a letter and a space.
PATTERNS = (
    _SHORT + r"[^\r\n\p{L}\p{N}]?\p{L}+|" + _ENDS % "{1,3}",  # Llama 3
    _SHORT + r"[^\r\n\p{L}\p{N}]?\p{L}+|" + _ENDS % "",  # Qwen 2 and 3
    _SHORT + r" ?\p{L}+|" + _ENDS % "",  # the bundled one
)


@dataclass(frozen=True)
class _Rules:
    """What pieces need to know: the added tokens, each with whether it is special, and the
    tokenizer for what does not begin a text, where that is another one."""

    added: Sequence[tuple[str, bool]]
    further: Any = None


class Cutter:
    """Encodes texts with a tokenizer, long ones in pieces where its parts allow it."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend

    def ids(self, texts: Sequence[str]) -> list[list[int]]:
        """The token ids of each text; none has special tokens added to it."""
        found: list[list[int]] = [[]] * len(texts)
        short = [index for index, text in enumerate(texts) if len(text) <= AT_ONCE * PIECE]
        encoded = _encode(self.backend, [texts[index] for index in short])
        for index, ids in zip(short, encoded, strict=True):
            found[index] = ids
        for index, text in enumerate(texts):
            if len(text) > AT_ONCE * PIECE:
                found[index] = self._long(text)
        return found

    def _long(self, text: str) -> list[int]:
        first, *rest = self.pieces(text)
        [ids] = _encode(self.backend, [first])
        further = self.backend
        if rest and self._rules is not None and self._rules.further is not None:
            further = self._rules.further
            further.encode_special_tokens = self.backend.encode_special_tokens
        for start in range(0, len(rest), AT_ONCE):
            for each in _encode(further, rest[start : start + AT_ONCE]):
                ids += each
        return ids

    def pieces(self, text: str) -> list[str]:
        """The text in pieces of about `PIECE` characters, in one where it may not be cut."""
        rules, places = self._rules, [0]
        while rules and (found := _CUT.search(text, places[-1] + PIECE)) is not None:
            places.append(found.start())
        if rules and rules.further is not None and len(places) > 1:
            # What writes a space before a text does so behind an added token too.
            plain = self.backend.encode_special_tokens
            looked_for = [token for token, special in rules.added if not (plain and special)]
            added = re.compile("|".join(map(re.escape, looked_for)) or "(?!)")
            inside = added.search(text, places[1])
            if inside is not None and inside.end() < len(text):
                places = [0]
        return [text[begin:end] for begin, end in pairwise([*places, len(text)])]

    @cached_property
    def _rules(self) -> _Rules | None:
        """None where a part of the tokenizer is not known to treat both sides of a cut apart."""
        parts = json.loads(self.backend.to_str())
        normalizers = _flat(parts["normalizer"], "normalizers")
        splitters = _flat(parts["pre_tokenizer"], "pretokenizers")
        splits = [_splits(part) for part in splitters]
        if not all(map(_local, normalizers)) or None in splits or not _apart(parts["added_tokens"]):
            return None
        model = parts["model"]
        affixes = model.get("continuing_subword_prefix") or model.get("end_of_word_suffix")
        if model["type"] != "BPE" or model.get("dropout") or affixes:
            return None
        kinds = {part["type"] for part in (*normalizers, *splitters)}
        spaced = kinds & {"Replace", "Metaspace"} and "ByteLevel" not in kinds
        if True not in splits and not (spaced and _unmerged(model["vocab"])):
            return None
        added = [(token["content"], bool(token["special"])) for token in parts["added_tokens"]]
        return _Rules(added, _without_prefix(parts, normalizers) if "Prepend" in kinds else None)


def _encode(backend: Any, texts: Sequence[str]) -> list[list[int]]:
    encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    return [encoding.ids for encoding in encodings]


def _flat(part: Mapping[str, Any] | None, inside: str) -> list[Mapping[str, Any]]:
    """A normalizer's or pre-tokenizer's parts, those of sequences in their place."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [one for each in part[inside] for one in _flat(each, inside)]
    return [part]


def _local(normalizer: Mapping[str, Any]) -> bool:
    """Whether a normalizer is known to change nothing across a space."""
    if normalizer["type"] == "Replace":
        return bool(normalizer["pattern"] == {"String": " "} and normalizer["content"] == "▁")
    return normalizer["type"] in ("NFC", "Prepend")


def _splits(part: Mapping[str, Any]) -> bool | None:
    """Whether a pre-tokenizer splits between a letter and a space; None where it is not known."""
    kind = part["type"]
    if kind == "ByteLevel" and not part["add_prefix_space"]:
        return bool(part.get("use_regex", True))
    if kind == "Digits":
        return False
    if kind == "Metaspace" and part["replacement"] == "▁":
        # It writes no space before what begins with one, as every further piece does.
        return bool(part.get("split", True))
    if kind == "Split" and part["behavior"] == "Isolated" and not part["invert"]:
        return True if part["pattern"].get("Regex") in PATTERNS else None
    return None


def _apart(added: Sequence[Mapping[str, Any]]) -> bool:
    """Whether no added token reaches from a letter to a space."""
    inside, last = re.compile(rf"[{LETTERS}][ ▁]"), re.compile(rf"[{LETTERS}]\Z")
    return not any(
        inside.search(token["content"]) or (token["rstrip"] and last.search(token["content"]))
        for token in added
    )


def _unmerged(vocabulary: Mapping[str, int]) -> bool:
    """Whether no token holds a space behind a letter, so that no merge goes from one to the other;
    the space itself is known."""
    return "▁" in vocabulary and not any(map(_OVER.search, vocabulary))


def _without_prefix(parts: Mapping[str, Any], normalizers: Sequence[Mapping[str, Any]]) -> Any:
    """The tokenizer of these parts that writes no space before a text."""
    from tokenizers import Tokenizer

    kept = [part for part in normalizers if part["type"] != "Prepend"]
    sequence = {"type": "Sequence", "normalizers": kept}
    bare = {**parts, "normalizer": sequence, "truncation": None, "padding": None}
    return Tokenizer.from_str(json.dumps(bare))
