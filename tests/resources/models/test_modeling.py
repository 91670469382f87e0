from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.loading import load
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.models.packing import find_documents


def config(blocks: list[dict[str, Any]] | None = None, **values: Any) -> HeterogeneousDecoderConfig:
    sizes: dict[str, Any] = {
        "vocab_size": 50,
        "hidden_size": 16,
        "intermediate_size": 24,
        "num_hidden_layers": len(blocks) if blocks else 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": 1,
    }
    return HeterogeneousDecoderConfig(**{**sizes, **values}, block_configs=blocks)


def build(
    blocks: list[dict[str, Any]] | None = None, **values: Any
) -> HeterogeneousDecoderForCausalLM:
    torch.manual_seed(1)
    model = HeterogeneousDecoderForCausalLM(config(blocks, **values))
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


NOOP_ATTENTION = {"attention": {"kind": "noop"}}
NOOP_FFN = {"ffn": {"kind": "noop"}}
MIXED = [
    NOOP_ATTENTION,
    {"attention": {"kind": "full", "num_key_value_heads": 1}, "ffn": {"intermediate_size": 7}},
    {"attention": {"kind": "linear"}, "ffn": {"kind": "linear"}},
    {"attention": {"num_key_value_heads": 4}, **NOOP_FFN},
    {**NOOP_ATTENTION, **NOOP_FFN},
    {},
]
WINDOWED = [
    {"attention": {"window": 3}},
    {"attention": {"window": 6, "num_key_value_heads": 1}},
    {"attention": {"rope": False}},
    {"attention": {"window": 1}},
]
IDS = torch.randint(2, 50, (3, 20), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": False},
        {"num_key_value_heads": 4, "head_dim": 12},
        {
            "rope_parameters": {
                "rope_type": "llama3",
                "rope_theta": 10000.0,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 16,
            }
        },
    ],
)
def test_homogeneous_model_equals_llama(tmp_path: Path, extra: dict[str, Any]) -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    values = config(**extra).to_dict()
    for key in ("block_configs", "model_type", "architectures"):
        values.pop(key)
    llama = LlamaForCausalLM(LlamaConfig(**values)).eval()
    for parameter in llama.parameters():
        nn.init.normal_(parameter, std=0.3)
    llama.save_pretrained(tmp_path)
    ours = load(tmp_path)
    with torch.inference_mode():
        expected = llama(IDS, output_hidden_states=True)
        got = ours(IDS, output_hidden_states=True)
    torch.testing.assert_close(got.logits, expected.logits, rtol=1e-5, atol=1e-5)
    for mine, theirs in zip(got.hidden_states, expected.hidden_states, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-5, atol=1e-5)


def test_noop_equals_zeroed_projection() -> None:
    full = build()
    for zeroed, part, noop in (("self_attn.o_proj", "attention", 0), ("mlp.down_proj", "ffn", 2)):
        blocks: list[dict[str, Any]] = [{}, {}, {}]
        blocks[noop] = {part: {"kind": "noop"}}
        without = build(blocks)
        without.load_state_dict(full.state_dict(), strict=False)
        reference = build()
        reference.load_state_dict(full.state_dict())
        nn.init.zeros_(reference.model.layers[noop].get_submodule(zeroed).weight)
        assert torch.equal(without(IDS).logits, reference(IDS).logits)
    assert without.model.layers[2].mlp is None
    assert without.model.layers[2].post_attention_layernorm is None


def test_linear_parts_are_one_matrix() -> None:
    model = build([{"attention": {"kind": "linear"}, "ffn": {"kind": "linear"}}])
    layer = model.model.layers[0]
    x = torch.randn(1, 3, 16)
    h = x + layer.input_layernorm(x) @ layer.self_attn.linear_attn.weight.T
    expected = h + layer.post_attention_layernorm(h) @ layer.mlp.linear_mlp.weight.T
    torch.testing.assert_close(layer(x, model.context(IDS[:1, :3])), expected)


@pytest.mark.parametrize("blocks", [MIXED, WINDOWED])
def test_packed_documents_equal_documents_alone(blocks: list[dict[str, Any]]) -> None:
    model = build(blocks, qk_norm=blocks is WINDOWED)
    documents = torch.tensor([[0] * 7 + [1] * 13, [5] * 20, [3] * 5 + [2] + [4] * 4 + [-1] * 10])
    packed = model(IDS, document_ids=documents).logits
    for row, begin, end in ((0, 0, 7), (0, 7, 20), (1, 0, 20), (2, 0, 5), (2, 5, 6), (2, 6, 10)):
        alone = model(IDS[row : row + 1, begin:end]).logits[0]
        torch.testing.assert_close(packed[row, begin:end], alone, rtol=1e-5, atol=1e-5)
    packed[0, 7:].sum().backward()
    assert bool(torch.isfinite(model.model.embed_tokens.weight.grad).all())


def test_a_document_gets_no_gradient_from_another() -> None:
    model = build()
    documents = torch.tensor([[0] * 9 + [1] * 11])
    hidden = model.model.embed_tokens(IDS[:1]).detach().requires_grad_()
    logits = model.logits(model.run(hidden, model.context(IDS[:1], document_ids=documents)))
    logits[0, 9:].square().sum().backward()
    assert hidden.grad is not None
    assert torch.count_nonzero(hidden.grad[0, :9]) == 0
    assert torch.count_nonzero(hidden.grad[0, 9:]) > 0


def test_a_window_hides_what_lies_before_it() -> None:
    """One layer with a window of 3: the last token depends on itself and the two before it."""
    model = build([{"attention": {"window": 3}}])
    for packing in ({}, {"document_ids": torch.zeros(1, 20, dtype=torch.long)}):
        state = model.embed(IDS[:1]).detach().requires_grad_()
        model.run(state, model.context(IDS[:1], **packing))[0, 12].square().sum().backward()
        assert state.grad is not None
        assert state.grad[0].abs().sum(-1).nonzero().flatten().tolist() == [10, 11, 12]


def test_every_part_of_a_windowed_model_learns() -> None:
    """Packed training reaches all weights, and chunked logits give the gradient of whole ones."""
    from resources.training.distilling import in_chunks
    from resources.training.objectives import Loss, distillation

    model, teacher = build(WINDOWED, qk_norm=True), build(WINDOWED, qk_norm=True)
    torch.nn.init.normal_(teacher.lm_head.weight)
    documents = torch.tensor([[0] * 7 + [1] * 13])
    context = model.context(IDS[:1], document_ids=documents)
    with torch.no_grad():
        target = teacher.finish(teacher.run(teacher.embed(IDS[:1]), context))
    weights = torch.ones(1, 20)

    def term(state: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> Loss:
        return distillation(model.head(state), teacher.head(target), weight, 20.0)

    gradients = []
    for chunked in (False, True):
        model.zero_grad()
        state = model.finish(model.run(model.embed(IDS[:1]), context))
        loss = (
            in_chunks(term, weights, 6, state, target) if chunked else term(state, target, weights)
        )
        loss.loss.backward()
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    for name, whole in gradients[0].items():
        assert whole is not None and bool(whole.abs().sum() > 0), name
        torch.testing.assert_close(gradients[1][name], whole, rtol=1e-4, atol=1e-6)


def test_positions_restart_in_every_document() -> None:
    packing = find_documents(torch.tensor([[4, 4, 4, 7, 7], [0, 0, -1, -1, -1]]))
    assert packing.positions.tolist() == [[0, 1, 2, 0, 1], [0, 1, 0, 0, 0]]


@pytest.mark.parametrize("blocks", [MIXED, WINDOWED])
def test_padded_rows_equal_rows_alone(blocks: list[dict[str, Any]]) -> None:
    model = build(blocks)
    mask = torch.ones(3, 20, dtype=torch.long)
    mask[0, :6] = 0
    mask[2, :15] = 0
    logits = model(IDS, attention_mask=mask).logits
    for row, begin in ((0, 6), (1, 0), (2, 15)):
        alone = model(IDS[row : row + 1, begin:]).logits[0]
        torch.testing.assert_close(logits[row, begin:], alone, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("blocks", [None, MIXED, WINDOWED, [NOOP_ATTENTION] * 2])
def test_cached_steps_equal_one_pass(blocks: list[dict[str, Any]] | None) -> None:
    model = build(blocks)
    with torch.inference_mode():
        whole = model(IDS).logits
        first = model(IDS[:, :8], use_cache=True)
        cache = first.past_key_values
        logits = [first.logits]
        pieces = [(8, 9), (9, 10), (10, 16), (16, 20)]
        for begin, end in pieces:
            positions = torch.arange(begin, end)[None]
            out = model(IDS[:, begin:end], position_ids=positions, past_key_values=cache)
            logits.append(out.logits)
    torch.testing.assert_close(torch.cat(logits, 1), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("blocks", [MIXED, WINDOWED])
def test_generate_with_padding_equals_generate_alone(blocks: list[dict[str, Any]]) -> None:
    model = build(blocks)
    mask = torch.ones(2, 10, dtype=torch.long)
    mask[0, :4] = 0
    settings = {"max_new_tokens": 12, "do_sample": False, "pad_token_id": 1}
    both = model.generate(IDS[:2, :10], attention_mask=mask, **settings)
    alone = model.generate(IDS[:1, 4:10], attention_mask=mask[:1, 4:], **settings)
    length = alone.shape[1] - 6
    assert both[0, 10 : 10 + length].tolist() == alone[0, 6:].tolist()


def test_a_run_from_any_layer_gives_the_logits() -> None:
    model = build(MIXED)
    context = model.context(IDS)
    states = [model.embed(IDS)]
    for layer in model.layers:
        states.append(layer(states[-1], context))
    expected = model(IDS).logits
    for index, hidden in enumerate(states):
        assert torch.equal(model.logits(model.run(hidden, context, model.layers[index:])), expected)


@pytest.mark.parametrize(
    ("blocks", "message"),
    [
        ([{"attention": {"kind": "sliding"}}], r"block_configs\[0\].attention: kind 'sliding'"),
        ([{"attention": {"num_key_value_heads": 3}}], "3 key-value heads do not divide 4"),
        ([{"ffn": {"intermediate_size": 0}}], "must be a positive integer"),
        ([{"ffn": {"width": 3}}], "unknown key 'width'"),
        ([{"attention": {"window": 0}}], "window must be a positive integer"),
    ],
)
def test_wrong_blocks_are_refused(blocks: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(blocks)
    with pytest.raises(ValueError, match="2 entries for num_hidden_layers = 3"):
        config([{}, {}], num_hidden_layers=3)


def test_packed_rows_take_no_mask() -> None:
    with pytest.raises(ValueError, match="without attention_mask"):
        build()(IDS, attention_mask=torch.ones(3, 20), document_ids=torch.zeros(3, 20))
