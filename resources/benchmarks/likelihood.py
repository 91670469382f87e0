"""Log-likelihoods of continuations and of whole texts under a causal model.

Token ids in, sums of log-probabilities out, accumulated in float32 whatever the model computes in.
Knows no benchmark and no tokenizer but for how a text is cut into context and continuation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Encode = Callable[[Sequence[str]], list[list[int]]]
BATCH_TOKENS = 8192  # of one forward pass, padding included


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
    model: Any,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    longest: int | None = None,
    batch_tokens: int = BATCH_TOKENS,
    progress: Callable[[str, float], None] | None = None,
) -> list[Likelihood]:
    """log p(continuation | context) of each pair, in their order.

    What shares all but its last token goes up once: options of one token cost one pass together.
    Contexts that are longer than `longest` tokens (with their continuation) lose their beginning.

    Raises:
        ValueError: an empty context or continuation, or one longer than `longest`.
    """
    rows: dict[tuple[int, ...], list[int]] = {}
    for number, (context, continuation) in enumerate(pairs):
        if not len(context) or not len(continuation):
            empty = "context" if not len(context) else "continuation"
            raise ValueError(f"pair {number}: the {empty} has no token")
        if longest is not None and len(continuation) > longest:
            raise ValueError(
                f"pair {number}: a continuation of {len(continuation)} tokens does not fit the "
                f"model's {longest} positions"
            )
        ids = (*context, *continuation)
        read = ids[-longest - 1 :][:-1] if longest is not None else ids[:-1]
        rows.setdefault(tuple(read), []).append(number)
    found: list[Likelihood | None] = [None] * len(pairs)
    done = 0
    for batch in _batches(list(rows), batch_tokens):
        kept = max(len(pairs[number][1]) for ids in batch for number in rows[ids])
        for ids, logs in zip(batch, _log_probabilities(model, batch, kept), strict=True):
            for number in rows[ids]:
                found[number] = _scored(logs, pairs[number][1])
        done += len(batch)
        if progress is not None:
            progress(f"{done}/{len(rows)} texts", done / len(rows))
    return [each for each in found if each is not None]


def texts(
    model: Any,
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


def _batches(rows: Sequence[tuple[int, ...]], tokens: int) -> Iterator[list[tuple[int, ...]]]:
    """The rows, long ones first, as many at once as fit `tokens` padded."""
    batch: list[tuple[int, ...]] = []
    for row in sorted(rows, key=lambda ids: (-len(ids), ids)):
        if batch and len(batch[0]) * (len(batch) + 1) > tokens:
            yield batch
            batch = []
        batch.append(row)
    if batch:
        yield batch


def _log_probabilities(
    model: Any, batch: Sequence[tuple[int, ...]], kept: int
) -> Iterator[torch.Tensor]:
    """Log-probabilities `[kept, V]` of what follows the last tokens of each row, float32.

    Rows are padded before their beginning, so that the head runs on their ends alone.
    """
    import torch

    width = len(batch[0])
    ids = torch.zeros((len(batch), width), dtype=torch.long, device=model.device)
    mask = torch.zeros_like(ids)
    for place, row in enumerate(batch):
        ids[place, width - len(row) :] = torch.tensor(row, device=model.device)
        mask[place, width - len(row) :] = 1
    positions = (mask.cumsum(dim=1) - 1).clamp(min=0)
    with torch.inference_mode():
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            use_cache=False,
            logits_to_keep=kept,
        ).logits
        for row in logits:
            yield torch.log_softmax(row.float(), dim=-1)


def _scored(logs: torch.Tensor, continuation: Sequence[int]) -> Likelihood:
    import torch

    wanted = torch.tensor(list(continuation), device=logs.device)
    last = logs[-len(wanted) :]
    values = last.gather(-1, wanted[:, None])[:, 0]
    greedy = bool((last.argmax(dim=-1) == wanted).all())
    return Likelihood(float(values.sum()), len(wanted), greedy)
