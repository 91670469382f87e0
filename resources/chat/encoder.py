"""From rendered text to token ids, in batches; text inside contents is never a special token.

Contents are escaped before a template sees them: after the first character of every special
token's text stands a mark that no text holds. What the template writes has no mark, so that both
can be told apart afterwards, and only the template's become tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from resources.chat.cutting import Cutter
from resources.chat.errors import ChatError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

# Code points that Unicode keeps from ever being characters.
MARK = "\ufdd0"
_ALIAS = ("\ufdee", "\ufdef")

Span = tuple[int, int]
Encoded = tuple[list[int], list[bool]]


@dataclass(frozen=True)
class Sample:
    """A rendered text, the spans of it that carry loss, and whether its contents are escaped.

    Where all but the first `skip` tokens carry loss, that says so without a look at the spans.
    """

    text: str
    spans: tuple[Span, ...] = ()
    escaped: bool = False
    skip: int | None = None

    def __str__(self) -> str:
        """As people read it."""
        return self.text.replace(MARK, "") if self.escaped else self.text


class Encoder:
    """A fast tokenizer's view on texts. `plain` names special tokens that are text after all."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, plain: Iterable[str] = ()) -> None:
        backend = getattr(tokenizer, "backend_tokenizer", None)
        if backend is None or not hasattr(backend, "encode_batch_fast"):
            raise ChatError(
                f"{type(tokenizer).__name__} is no fast tokenizer: a tokenizer.json is needed"
            )
        self.backend: Any = backend
        special = {t.content for t in backend.get_added_tokens_decoder().values() if t.special}
        special |= set(tokenizer.all_special_tokens)
        self.special = sorted(special - set(plain) - {""})
        # The longest first, so that a token is never read as a shorter one and a rest.
        choices = "|".join(map(re.escape, sorted(self.special, key=lambda t: (-len(t), t))))
        self._first = re.compile(f"(?=(?:{choices or '(?!)'}))(.)", re.DOTALL)
        self._written = re.compile(f"(?:{choices or '(?!)'})(?!{MARK})")

    def escape(self, value: Any) -> tuple[Any, bool]:
        """A value with every special token's text in it marked, and whether there was any.

        Raises ChatError where text to be marked comes with code points that no text may hold.
        """
        marked = self._marked(value)
        if marked is value:
            return value, False
        if _holds(value, (MARK, *_ALIAS)):
            raise ChatError(
                "a text holds a special token's text beside U+FDD0, U+FDEE or U+FDEF, which are "
                "no characters: remove them"
            )
        return marked, True

    def written(self, text: str) -> list[re.Match[str]]:
        """The special tokens that a template wrote into a rendered text, in order."""
        return list(self._written.finditer(text))

    def ids(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Token ids of rendered texts, escaped contents as text."""
        return [ids for ids, _ in self._encode(samples, masked=False)]

    def masked(self, samples: Sequence[Sample]) -> list[Encoded]:
        """Token ids of rendered texts, and a mask: true on tokens that lie inside a span.

        A token that begins before its span, or goes on behind it, is not inside.
        """
        return self._encode(samples, masked=True)

    def plain(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of texts that no template rendered: nothing in them is special."""
        return self.ids([Sample(text, (), escaped) for text, escaped in map(self.escape, texts)])

    def _encode(self, samples: Sequence[Sample], *, masked: bool) -> list[Encoded]:
        """In batches: the escaped ones apart, and those whose tokens' places need not be known."""
        groups: dict[tuple[bool, bool], list[int]] = {}
        for index, one in enumerate(samples):
            groups.setdefault((one.escaped, masked and one.skip is None), []).append(index)
        found: list[Encoded] = [([], [])] * len(samples)
        for (escaped, placed), members in groups.items():
            chosen = [samples[index] for index in members]
            if escaped:
                chosen = [self._restored(sample) for sample in chosen]
            made = self._batch(chosen, escaped, placed)
            for index, encoded in zip(members, made, strict=True):
                found[index] = encoded
        return found

    def _batch(self, samples: Sequence[Sample], restored: bool, placed: bool) -> list[Encoded]:
        backend = self._aliased[0] if restored else self.backend
        backend.no_truncation()
        backend.no_padding()
        before, backend.encode_special_tokens = backend.encode_special_tokens, restored
        texts = [sample.text for sample in samples]
        try:
            if placed:
                encodings = backend.encode_batch(texts, add_special_tokens=False)
                ids = [encoding.ids for encoding in encodings]
            else:
                ids = (self._aliased_cutter if restored else self._cutter).ids(texts)
        except (TypeError, UnicodeError) as error:
            raise ChatError(f"a text cannot be encoded ({error}): is it valid Unicode?") from error
        finally:
            backend.encode_special_tokens = before
        if restored:
            real = self._aliased[1]
            ids = [[real.get(token, token) for token in one] for one in ids]
        if not placed:
            skips = (sample.skip or 0 for sample in samples)
            return [
                (one, [False] * skip + [True] * (len(one) - skip))
                for one, skip in zip(ids, skips, strict=True)
            ]
        masks = [_mask(e.offsets, s.spans) for e, s in zip(encodings, samples, strict=True)]
        return list(zip(ids, masks, strict=True))

    @cached_property
    def _cutter(self) -> Cutter:
        return Cutter(self.backend)

    @cached_property
    def _aliased_cutter(self) -> Cutter:
        return Cutter(self._aliased[0])

    @cached_property
    def _aliases(self) -> dict[str, str]:
        return {text: f"{number}".join(_ALIAS) for number, text in enumerate(self.special)}

    @cached_property
    def _aliased(self) -> tuple[Any, dict[int, int]]:
        """A copy that knows the special tokens by other names only, and what its ids stand for."""
        from tokenizers import AddedToken, Tokenizer

        copy: Any = Tokenizer.from_str(self.backend.to_str())
        known = {token.content: token for token in copy.get_added_tokens_decoder().values()}
        added = []
        for text, alias in self._aliases.items():
            token = known.get(text)
            added.append(
                AddedToken(
                    alias,
                    lstrip=token.lstrip if token is not None else False,
                    rstrip=token.rstrip if token is not None else False,
                    normalized=False,
                    special=False,
                )
            )
        copy.add_tokens(added)
        real: dict[int, int] = {}
        for text, alias in self._aliases.items():
            real[copy.token_to_id(alias)] = self.backend.token_to_id(text)
        return copy, real

    def _restored(self, sample: Sample) -> Sample:
        """What the template wrote as aliases, the rest unmarked; and the spans where they lie."""
        edges = sorted({0, len(sample.text), *(edge for span in sample.spans for edge in span)})
        moved, parts, length = {0: 0}, [], 0
        for start, end in pairwise(edges):
            part = self._written.sub(lambda m: self._aliases[m.group()], sample.text[start:end])
            parts.append(part.replace(MARK, ""))
            length += len(parts[-1])
            moved[end] = length
        spans = tuple((moved[start], moved[end]) for start, end in sample.spans)
        return Sample("".join(parts), spans, skip=sample.skip)

    def _marked(self, value: Any) -> Any:
        """The value with its texts marked; the very same object where nothing is to be marked."""
        if isinstance(value, str):
            return self._first.sub(rf"\1{MARK}", value) if self._first.search(value) else value
        if isinstance(value, Mapping):
            pairs = [(self._marked(key), self._marked(part)) for key, part in value.items()]
            same = all(
                key is name and part is found
                for (key, part), (name, found) in zip(value.items(), pairs, strict=True)
            )
            return value if same else dict(pairs)
        if isinstance(value, list | tuple):
            parts = [self._marked(part) for part in value]
            return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
        return value


def _holds(value: Any, characters: Sequence[str]) -> bool:
    if isinstance(value, str):
        return any(character in value for character in characters)
    if isinstance(value, Mapping):
        return any(_holds(part, characters) for pair in value.items() for part in pair)
    return isinstance(value, list | tuple) and any(_holds(part, characters) for part in value)


def _mask(offsets: Sequence[Span], spans: Sequence[Span]) -> list[bool]:
    """True on the tokens whose characters all lie inside a span.

    Tokenizers that trim offsets leave white space between tokens to the token that follows it.
    """
    if not offsets:
        return []
    places = np.asarray(offsets, dtype=np.int64)
    starts, ends = places[:, 0], places[:, 1]
    starts = np.minimum(starts, np.concatenate([[0], np.maximum.accumulate(ends)[:-1]]))
    inside = np.zeros(len(places), dtype=bool)
    for start, end in spans:
        inside |= (starts >= start) & (ends <= end) & (ends > start)
    return inside.tolist()
