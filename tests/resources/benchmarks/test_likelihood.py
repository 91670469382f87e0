"""Log-likelihoods against logits computed one text at a time."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from resources.benchmarks.likelihood import Likelihood, TextLikelihood, continuations, cut, texts
from resources.engines.causal import Causal, ForeignModel
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

SHAPE = {
    "vocab_size": 40,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module", params=["ours", "theirs"])
def model(request: pytest.FixtureRequest) -> Causal:
    torch.manual_seed(0)
    if request.param == "ours":
        return HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**SHAPE)).eval()
    return ForeignModel(LlamaForCausalLM(LlamaConfig(**SHAPE)).eval())


@pytest.fixture
def passes(model: Causal, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The shapes of the token ids that went through the model."""
    shapes: list[tuple[int, ...]] = []
    real = type(model).__call__

    def watched(self: Causal, ids: torch.Tensor, **given: Any) -> Any:
        shapes.append(tuple(ids.shape))
        return real(self, ids, **given)

    monkeypatch.setattr(type(model), "__call__", watched)
    return shapes


def alone(model: Causal, context: list[int], continuation: list[int]) -> Likelihood:
    """The definition, a text at a time: Σ_t log softmax(logits_t)[next]."""
    ids = torch.tensor([context + continuation])
    with torch.no_grad():
        logs = torch.log_softmax(model(ids).logits[0].float(), dim=-1)
    at = range(len(context) - 1, len(context) + len(continuation) - 1)
    values = [float(logs[place, token]) for place, token in zip(at, continuation, strict=True)]
    greedy = all(int(logs[p].argmax()) == t for p, t in zip(at, continuation, strict=True))
    return Likelihood(sum(values), len(values), greedy)


TOKENS = st.lists(st.integers(0, 39), min_size=1, max_size=9)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(TOKENS, TOKENS), min_size=1, max_size=9), st.sampled_from([8, 40, 999]))
def test_batches_change_nothing(pairs: list[tuple[list[int], list[int]]], tokens: int) -> None:
    torch.manual_seed(0)
    ours = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**SHAPE)).eval()
    found = continuations(ours, pairs, batch_tokens=tokens)
    for each, (context, continuation) in zip(found, pairs, strict=True):
        expected = alone(ours, context, continuation)
        assert each.logprob == pytest.approx(expected.logprob, abs=1e-4)
        assert (each.tokens, each.greedy) == (expected.tokens, expected.greedy)


def test_a_context_goes_up_once(model: Causal, passes: list[tuple[int, ...]]) -> None:
    """Four options of one token are one pass; of more, one of the context and one of them all."""
    pairs = [([1, 2, 3], [option]) for option in (4, 5, 6, 7)]
    short = continuations(model, pairs)
    assert passes == [(1, 3)]
    passes.clear()
    longer = [([1, 2, 3], [option, 8, 9]) for option in (4, 5, 6, 7)] + [([1, 2], [9, 4])]
    found = continuations(model, longer)
    assert passes == [(2, 3), (5, 2)]
    for each, pair in zip([*short, *found], [*pairs, *longer], strict=True):
        assert each.logprob == pytest.approx(alone(model, *pair).logprob, abs=1e-4)


def test_a_long_option_does_not_lengthen_short_ones(
    model: Causal, passes: list[tuple[int, ...]]
) -> None:
    pairs = [([1, 2, 3], list(range(20)))] + [([4, 5], [option, 8, 9]) for option in range(6)]
    found = continuations(model, pairs)
    assert passes == [(2, 3), (1, 19), (6, 2)]
    for each, pair in zip(found, pairs, strict=True):
        assert each.logprob == pytest.approx(alone(model, *pair).logprob, abs=1e-4)


def test_long_contexts_lose_their_beginning(model: Causal) -> None:
    context = list(range(30))
    [found] = continuations(model, [(context, [3, 4])], longest=8)
    assert found.logprob == pytest.approx(alone(model, context[-7:], [3, 4]).logprob, abs=1e-4)
    with pytest.raises(ValueError, match="pair 0: a continuation of 9 tokens does not fit the"):
        continuations(model, [([1], [2] * 9)], longest=8)
    with pytest.raises(ValueError, match="pair 1: the continuation has no token"):
        continuations(model, [([1], [2]), ([1], [])])


def test_texts_go_up_in_windows(model: Causal) -> None:
    ids = [5, 6, 7, 8, 9, 10, 11]
    [found] = texts(model, [ids], ["two words"], prefix=1, longest=3)
    expected = (
        alone(model, [1], ids[:3]).logprob
        + alone(model, [7], ids[3:6]).logprob
        + alone(model, [10], ids[6:]).logprob
    )
    assert found.logprob == pytest.approx(expected, abs=1e-4)
    assert (found.tokens, found.words, found.bytes) == (7, 2, 9)


def test_measures_by_hand() -> None:
    found = TextLikelihood(logprob=-4 * math.log(2), tokens=2, words=1, bytes=8)
    assert found.perplexity == pytest.approx(4.0)
    assert found.bits_per_byte == pytest.approx(0.5)
    assert TextLikelihood(-1e6, 1, 1, 1).perplexity == math.inf


def test_space_before_a_continuation_belongs_to_it() -> None:
    def encode(written: list[str]) -> list[list[int]]:  # a token is a letter with the space before
        return [[ord(c) for c in text] for text in written]

    [(context, continuation)] = cut(encode, [("ab \n", "cd")])
    assert (bytes(context), bytes(continuation)) == (b"ab", b" \ncd")
