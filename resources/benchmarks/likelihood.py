"""Log-likelihoods of continuations and of whole texts under a causal model.

Token ids in, sums of log-probabilities out, accumulated in float32 whatever the model computes in.
Knows no benchmark and no tokenizer but for how a text is cut into context and continuation.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from resources.engines.causal import Causal

Encode = Callable[[Sequence[str]], list[list[int]]]
BATCH_TOKENS = 4096  # of one batch, contexts padded
PADDING = 1.25  # times their tokens that options may come to, padded to one length


@dataclass(frozen=True)
class Likelihood:
    """A continuation: the sum of its tokens' log-probabilities, how many they are, and whether
    greedy decoding would have written it."""

    logprob: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class TextLikelihood:
    """A text: the sum of its tokens' log-probabilities, and its tokens, words and UTF-8 bytes."""

    logprob: float
    tokens: int
    words: int
    bytes: int

    @property
    def perplexity(self) -> float:
        """exp(-logprob / tokens); infinite beyond what a float holds."""
        exponent = -self.logprob / max(self.tokens, 1)
        return math.exp(exponent) if exponent < 700 else math.inf

    @property
    def bits_per_byte(self) -> float:
        """-logprob / (bytes · ln 2)."""
        return -self.logprob / (max(self.bytes, 1) * math.log(2))


@dataclass(frozen=True)
class Group:
    """A context and all that is to follow it, as token ids."""

    context: tuple[int, ...]
    continuations: list[list[int]]


def cut(encode: Encode, pairs: Sequence[tuple[str, str]]) -> list[tuple[list[int], list[int]]]:
    """Token ids of contexts and their continuations.

    White space that ends a context belongs to the continuation, and the continuation is what the
    ids of both together hold beyond those of the context: as a model that goes on would write it.
    """
    moved = []
    for context, continuation in pairs:
        kept = context.rstrip()
        moved.append((kept, context[len(kept) :] + continuation))
    whole = encode([context + rest for context, rest in moved])
    before = encode([context for context, _ in moved])
    return [(both[: len(ids)], both[len(ids) :]) for both, ids in zip(whole, before, strict=True)]


def continuations(
    model: Causal,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    longest: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[str, float], None] | None = None,
) -> list[Likelihood]:
    """log p(continuation | context) of each pair, in their order.

    A context goes up once however many continuations it has: they are read after its cached keys
    and values. Contexts that are longer than `longest` tokens (with their continuation) lose their
    beginning.

    Raises:
        ValueError: an empty context or continuation, or one longer than `longest`.
    """
    numbers: dict[tuple[int, ...], list[int]] = {}
    for number, (context, continuation) in enumerate(pairs):
        if not len(context) or not len(continuation):
            empty = "context" if not len(context) else "continuation"
            raise ValueError(f"pair {number}: the {empty} has no token")
        if longest is not None and len(continuation) > longest:
            raise ValueError(
                f"pair {number}: a continuation of {len(continuation)} tokens does not fit the "
                f"model's {longest} positions"
            )
        over = 0 if longest is None else len(context) + len(continuation) - 1 - longest
        numbers.setdefault(tuple(context[max(over, 0) :]), []).append(number)
    groups = [
        Group(context, [list(pairs[n][1]) for n in owners]) for context, owners in numbers.items()
    ]
    found: list[Likelihood | None] = [None] * len(pairs)
    done = 0
    for batch in _batches(groups, batch_tokens):
        scored = _likelihoods(model, batch)
        for number in (n for group in batch for n in numbers[group.context]):
            found[number] = next(scored)
        done += len(batch)
        if progress is not None:
            progress(f"{done}/{len(groups)} contexts", done / len(groups))
    return [each for each in found if each is not None]


def texts(
    model: Causal,
    encoded: Sequence[Sequence[int]],
    written: Sequence[str],
    *,
    prefix: int,
    longest: int,
    batch_tokens: int = BATCH_TOKENS,
) -> list[TextLikelihood]:
    """log p of whole texts, each token given at most the `longest` - 1 before it.

    Texts go up in windows of `longest` tokens that do not overlap but for the one token that each
    later window begins with; the first begins with `prefix`, the token that begins or ends texts.
    """
    pairs: list[tuple[list[int], list[int]]] = []
    owners: list[int] = []
    for number, ids in enumerate(encoded):
        for start in range(0, len(ids), longest):
            before = prefix if start == 0 else ids[start - 1]
            pairs.append(([before], list(ids[start : start + longest])))
            owners.append(number)
    sums = [0.0] * len(encoded)
    for owner, each in zip(
        owners, continuations(model, pairs, batch_tokens=batch_tokens), strict=True
    ):
        sums[owner] += each.logprob
    return [
        TextLikelihood(total, len(ids), len(text.split()), len(text.encode()))
        for total, ids, text in zip(sums, encoded, written, strict=True)
    ]


def _batches(groups: Sequence[Group], tokens: int) -> Iterator[list[Group]]:
    """The groups, long contexts first, as many at once as fit `tokens` with padded contexts."""
    batch: list[Group] = []
    for group in sorted(groups, key=lambda each: (-len(each.context), each.context)):
        several = [*batch, group]
        read = sum(len(each) for one in several for each in one.continuations)
        if batch and len(several[0].context) * len(several) + read > tokens:
            yield batch
            several = [group]
        batch = several
    if batch:
        yield batch


def _likelihoods(model: Causal, batch: Sequence[Group]) -> Iterator[Likelihood]:
    """The likelihood of every continuation of every group, in their order."""
    import torch

    owners = [row for row, group in enumerate(batch) for _ in group.continuations]
    options = [each for group in batch for each in group.continuations]
    found: list[Likelihood | None] = [None] * len(options)
    with torch.inference_mode():
        read = _read(model, [group.context for group in batch])
        for part in _slices(options):
            others = _after(model, read, [owners[n] for n in part], [options[n] for n in part])
            for row, number in enumerate(part):
                ids, first = options[number], read.logits[owners[number]][None]
                logits = (
                    first if others is None else torch.cat([first, others[row, : len(ids) - 1]])
                )
                found[number] = _scored(logits, ids)
    yield from (each for each in found if each is not None)


def _slices(options: Sequence[Sequence[int]]) -> Iterator[list[int]]:
    """The numbers of the options, long ones first, those together that waste little padding."""
    part: list[int] = []
    tokens = 0
    for number in sorted(range(len(options)), key=lambda n: -len(options[n])):
        read = len(options[number]) - 1
        padded = (len(options[part[0]]) - 1) * (len(part) + 1) if part else 0
        if part and padded > PADDING * (tokens + read):
            yield part
            part, tokens = [], 0
        part.append(number)
        tokens += read
    if part:
        yield part


def _scored(logits: torch.Tensor, ids: Sequence[int]) -> Likelihood:
    import torch

    logs = torch.log_softmax(logits.float(), dim=-1)
    wanted = torch.tensor(ids, device=logs.device)
    values = logs.gather(-1, wanted[:, None])[:, 0]
    greedy = bool((logs.argmax(dim=-1) == wanted).all())
    return Likelihood(float(values.sum()), len(ids), greedy)


@dataclass(frozen=True)
class _Read:
    """Contexts that went up: their keys and values, where they are padded `[B, S]`, the next
    position `[B, 1]`, and the logits `[B, V]` after them."""

    cache: Any
    mask: torch.Tensor
    next: torch.Tensor
    logits: torch.Tensor


def _read(model: Causal, contexts: Sequence[tuple[int, ...]]) -> _Read:
    """Contexts, padded before their beginning."""
    import torch

    from resources.engines.decoding import StaticCache

    width = max(map(len, contexts))
    ids = torch.zeros((len(contexts), width), dtype=torch.long)
    mask = torch.zeros_like(ids, dtype=torch.bool)
    for place, context in enumerate(contexts):
        ids[place, width - len(context) :] = torch.tensor(context)
        mask[place, width - len(context) :] = True
    ids, mask = ids.to(model.device), mask.to(model.device)
    positions = (mask.long().cumsum(dim=1) - 1).clamp(min=0)
    cache = getattr(model, "new_cache", StaticCache)()
    logits = model(
        ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        logits_to_keep=1,
    ).logits[:, -1]
    cache.advance(width)
    return _Read(cache, mask, positions[:, -1:] + 1, logits)


def _after(
    model: Causal, read: _Read, owners: Sequence[int], options: Sequence[Sequence[int]]
) -> torch.Tensor | None:
    """Logits `[options, T, V]` after each option's tokens but the last, padded after their end.

    `owners` says which context an option follows. None where all options are of one token.
    """
    import torch

    length = max(map(len, options)) - 1
    if not length:
        return None
    rows = torch.tensor(owners, device=model.device)
    cache = copy.deepcopy(read.cache)  # others follow the same contexts
    cache.select(rows)
    after = torch.zeros((len(options), length), dtype=torch.long)
    for place, option in enumerate(options):
        after[place, : len(option) - 1] = torch.tensor(option[:-1], dtype=torch.long)
    logits: torch.Tensor = model(
        after.to(model.device),
        attention_mask=torch.cat([read.mask[rows], read.mask.new_ones(after.shape)], dim=1),
        position_ids=read.next[rows] + torch.arange(length, device=model.device),
        past_key_values=cache,
    ).logits
    return logits
