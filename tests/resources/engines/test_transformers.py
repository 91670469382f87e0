from __future__ import annotations

from pathlib import Path

import pytest
import torch

from resources.chat.chat import Chat
from resources.engines.protocol import Completion, Engine, Request, Sampling, request_key
from resources.engines.transformers import TransformersEngine
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.loading import load
from resources.models.modeling import HeterogeneousDecoderForCausalLM

GREEDY = Sampling(temperature=0.0, max_new_tokens=16)
WARM = Sampling(temperature=1.0, max_new_tokens=16, seed=1)
REQUESTS = [
    Request(
        (("system", "detailed thinking on"), ("user", f"What is {i} + 2?" + " mod 7" * (i % 4)))
    )
    for i in range(9)
]


@pytest.fixture(scope="module", params=["llama", "mixed"])
def model(request: pytest.FixtureRequest, tiny_llama: Path) -> HeterogeneousDecoderForCausalLM:
    plain = load(tiny_llama)
    if request.param == "llama":
        return plain
    values = plain.config.to_dict()
    values["block_configs"] = [
        {"attention": {"kind": "noop"}},
        {"attention": {"num_key_value_heads": 1}},
        {"ffn": {"kind": "noop"}},
        {"attention": {"kind": "linear"}, "ffn": {"intermediate_size": 20}},
    ]
    torch.manual_seed(3)
    mixed = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values)).eval()
    for parameter in mixed.parameters():
        if parameter.dim() > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return mixed


def engine(
    model: HeterogeneousDecoderForCausalLM, chat: Chat, batch_size: int = 4
) -> TransformersEngine:
    return TransformersEngine(model, chat, "v1", batch_size=batch_size)


def tokens(completions: list[Completion]) -> list[list[int]]:
    return [completion.token_ids for completion in completions]


def test_greedy_equals_generate(model: HeterogeneousDecoderForCausalLM, tiny_chat: Chat) -> None:
    completions = engine(model, tiny_chat).generate(REQUESTS, GREEDY)
    for request, completion in zip(REQUESTS, completions, strict=True):
        prompt = torch.tensor([completion.prompt_ids])
        ids = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=16,
            do_sample=False,
            eos_token_id=3,
            pad_token_id=3,
        )[0, prompt.shape[1] :].tolist()
        assert completion.token_ids == ids
        assert completion.finish_reason == ("stop" if ids[-1] == 3 else "length")
        assert completion.completion_tokens == len(ids)
        assert completion.prompt_tokens == prompt.shape[1]
        assert completion.prompt_ids == tiny_chat.prompts([request.conversation()])[0]
        assert completion.text == tiny_chat.decode([i for i in ids if i != 3])
        assert completion.logprobs is None


def test_a_request_is_answered_alike_in_any_company(
    model: HeterogeneousDecoderForCausalLM, tiny_chat: Chat
) -> None:
    together = tokens(engine(model, tiny_chat, 9).generate(REQUESTS, WARM))
    alone = [tokens(engine(model, tiny_chat, 1).generate([r], WARM))[0] for r in REQUESTS]
    backwards = tokens(engine(model, tiny_chat, 2).generate(REQUESTS[::-1], WARM))[::-1]
    assert together == alone == backwards
    assert len({tuple(ids) for ids in together}) == len(REQUESTS)


def test_samples_seeds_and_versions_differ(
    model: HeterogeneousDecoderForCausalLM, tiny_chat: Chat
) -> None:
    request = REQUESTS[0]
    samples = [Request(request.messages, sample_index=i) for i in range(4)]
    drawn = tokens(engine(model, tiny_chat).generate(samples, WARM))
    drawn += tokens(engine(model, tiny_chat).generate([request], Sampling(1.0, seed=2)))
    other = TransformersEngine(model, tiny_chat, "v2")
    drawn += tokens(other.generate([request], WARM))
    assert len({tuple(ids) for ids in drawn}) == 6
    assert drawn[0] == tokens(engine(model, tiny_chat).generate([request], WARM))[0]


def test_logprobs_are_the_models_at_temperature_one(
    model: HeterogeneousDecoderForCausalLM, tiny_chat: Chat
) -> None:
    sampling = Sampling(temperature=0.7, top_p=0.9, max_new_tokens=16)
    completions = engine(model, tiny_chat).generate(REQUESTS, sampling, logprobs=True)
    for completion in completions:
        prompt = completion.prompt_ids
        ids = torch.tensor([prompt + completion.token_ids])
        with torch.inference_mode():
            scores = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        expected = scores.gather(1, ids[0, len(prompt) :, None]).squeeze(1)
        torch.testing.assert_close(torch.tensor(completion.logprobs), expected, rtol=0, atol=1e-4)


def test_finished_sequences_leave_the_batch(
    model: HeterogeneousDecoderForCausalLM, tiny_chat: Chat
) -> None:
    def many_stops(batch_size: int) -> TransformersEngine:
        made = engine(model, tiny_chat, batch_size)
        made.stop = frozenset(range(3, 40))
        return made

    sizes: list[int] = []
    handle = model.register_forward_pre_hook(lambda module, args: sizes.append(len(args[0])))
    hot = Sampling(temperature=3.0, max_new_tokens=20)
    requests = [Request(REQUESTS[0].messages, i) for i in range(16)]
    try:
        completions = many_stops(16).generate(requests, hot)
    finally:
        handle.remove()
    assert sizes[0] == 1, "equal prompts are read once"
    assert sizes[1] > 12 and sizes[-1] < 12
    assert sum(c.finish_reason == "stop" for c in completions) > 4
    alone = [many_stops(1).generate([request], hot)[0] for request in requests]
    assert tokens(alone) == tokens(completions)


def test_the_context_ends_an_answer_and_a_full_prompt_has_none(
    tiny_llama: Path, tiny_chat: Chat
) -> None:
    short = load(tiny_llama)
    short.config.max_position_embeddings = 100
    requests = [Request((("user", "x" * n),)) for n in (10, 200, 70)]
    sampling = Sampling(temperature=0.0, max_new_tokens=500)
    first, full, second = engine(short, tiny_chat).generate(requests, sampling)
    assert not full.answered and (full.text, full.token_ids) == ("", [])
    for completion in (first, second):
        total = completion.prompt_tokens + completion.completion_tokens
        assert total == 100 or completion.finish_reason == "stop"
    with pytest.raises(ValueError, match="no room in the model's context of 100"):
        list(engine(short, tiny_chat).stream(requests[1], sampling))


def test_batches_are_fixed_by_the_sorted_requests(tiny_llama: Path, tiny_chat: Chat) -> None:
    model = load(tiny_llama)
    made = list(engine(model, tiny_chat, 4).batches(REQUESTS, WARM))
    assert [len(batch) for batch in made] == [4, 4, 1]
    done = {index for index, _ in made[0]}
    rest = [request for index, request in enumerate(REQUESTS) if index not in done]
    again = list(engine(model, tiny_chat, 4).batches(rest, WARM))
    assert [[rest[i] for i, _ in batch] for batch in again] == [
        [REQUESTS[i] for i, _ in batch] for batch in made[1:]
    ]


def test_the_protocol(tiny_llama: Path, tiny_chat: Chat) -> None:
    made = engine(load(tiny_llama), tiny_chat)
    assert isinstance(made, Engine)
    assert made.generate([], WARM) == []
    keys = {
        request_key(request, version, sampling, tiny_chat)
        for request in (REQUESTS[0], REQUESTS[1], Request(REQUESTS[0].messages, 1))
        for version in ("v1", "v2")
        for sampling in (WARM, GREEDY, Sampling(1.0, 0.9))
    }
    assert len(keys) == 18
    for values in ({"temperature": -1}, {"top_p": 0}, {"max_new_tokens": 0}):
        with pytest.raises(ValueError, match="must be"):
            Sampling(**{"temperature": 1.0, **values})
