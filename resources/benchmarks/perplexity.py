"""Method `perplexity`: how well the model foretells whole texts, by token and by byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

from resources.benchmarks.answers import Answer, Asked, Measure, Subject
from resources.benchmarks.intervals import Z95
from resources.benchmarks.likelihood import texts


def answer(subject: Subject, asked: Asked, seed: int) -> list[Answer]:
    """One answer a text, without a verdict: its log-likelihood, tokens and bytes."""
    from resources.chat.chat import Chat
    from resources.engines.causal import load_causal

    chat = Chat.load(subject.folder)
    model = load_causal(subject.folder, device=subject.execution.device)
    written = [problem["prompt"] for problem in asked.problems]
    begin = chat.tokenizer.bos_token_id
    prefix = begin if begin is not None else chat.stop_id
    longest = int(model.config.max_position_embeddings)
    found = texts(model, chat.texts(written), written, prefix=prefix, longest=longest)
    return [
        Answer(
            problem,
            "",
            None,
            f"perplexity {each.perplexity:.3f}",
            numbers={"logprob": each.logprob, "tokens": each.tokens, "bytes": each.bytes},
        )
        for problem, each in zip(asked.problems, found, strict=True)
    ]


def measure(answers: Sequence[Answer], asked: Asked) -> list[Measure]:
    """`perplexity` over all tokens and `bits_per_byte` over all bytes; a text is the trial."""
    logs = [-float(each.numbers["logprob"]) for each in answers]
    nats, low, high = ratio(logs, [float(each.numbers["tokens"]) for each in answers])
    bits = ratio(logs, [float(each.numbers["bytes"]) * math.log(2) for each in answers])
    return [
        Measure("perplexity", _exp(nats), _exp(low), _exp(high), len(answers)),
        Measure("bits_per_byte", *bits, len(answers)),
    ]


def ratio(above: Sequence[float], below: Sequence[float]) -> tuple[float, float, float]:
    """sum(above) / sum(below) and its 95 % interval, a pair the trial (delta method).

    >>> ratio([2.0, 4.0], [1.0, 2.0])
    (2.0, 2.0, 2.0)
    """
    count, total = len(above), sum(below)
    value = sum(above) / total
    if count < 2:
        return value, -math.inf, math.inf
    spread = sum((a - value * b) ** 2 for a, b in zip(above, below, strict=True))
    half = Z95 * math.sqrt(spread * count / (count - 1)) / total
    return value, value - half, value + half


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
