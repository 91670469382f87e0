"""Method `perplexity`: how well the model foretells whole texts, by token and by byte."""

from __future__ import annotations

import math
from collections.abc import Sequence

from resources.benchmarks.answers import Answer, Asked, Measure, Subject
from resources.benchmarks.intervals import ratio
from resources.benchmarks.likelihood import texts


def answer(subject: Subject, asked: Asked, seed: int) -> list[Answer]:
    """One answer a text, without a verdict: its log-likelihood, tokens and bytes."""
    from resources.chat.chat import Chat
    from resources.engines.causal import load_causal
    from resources.models.precision import Precision

    chat = Chat.load(subject.folder)
    device = subject.execution.device
    dtype = Precision(asked.protocol.dtype, device).weights(subject.folder)
    model = load_causal(subject.folder, device=device, dtype=dtype)
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


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
