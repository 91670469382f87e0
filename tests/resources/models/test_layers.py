"""A resident parent and one read layer by layer give the model's own numbers, bit for bit."""

from __future__ import annotations

import gc
import json
import re
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from resources.models.config import HeterogeneousDecoderConfig
from resources.models.decoder import LayerSource
from resources.models.errors import CheckpointError
from resources.models.layers import LayerReader
from resources.models.loading import load
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.resources.models import folders

IDS = torch.randint(2, 50, (2, 12), generator=torch.Generator().manual_seed(0))
DOCUMENTS = torch.tensor([[0] * 5 + [1] * 7, [2] * 12])
POSITIONS = torch.tensor([[*range(5), *range(7)], [*range(12)]])


def made(name: str) -> Any:
    if name in folders.FAMILIES:
        return folders.theirs(name)
    return folders.heterogeneous(
        tie_word_embeddings=name.endswith("tied"), qkv_bias=True, mlp_bias=True
    )


def walk(source: LayerSource, **packing: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
    states = [source.embed(IDS)]
    context = source.context(IDS, **packing)
    for index in range(source.config.num_hidden_layers):
        states.append(source.layer(index)(states[-1], context))
    return states, source.logits(states[-1])


@pytest.mark.parametrize("shard", ["5GB", "4KB"])
@pytest.mark.parametrize("name", [*folders.FAMILIES, "heterogeneous", "heterogeneous_tied"])
def test_both_sources_give_the_bits_of_the_model(tmp_path: Path, name: str, shard: str) -> None:
    folder = folders.save(made(name), tmp_path, shard)
    assert (folder / "model.safetensors.index.json").is_file() == (shard == "4KB")
    model = load(folder)
    for packing in ({}, {"position_ids": POSITIONS, "document_ids": DOCUMENTS}):
        with torch.no_grad():
            whole = model(IDS, **packing, output_hidden_states=True)
            expected, logits = whole.hidden_states, whole.logits
        for source in (model, LayerReader(folder), LayerReader(folder, keep_head=True)):
            states, got = walk(source, **packing)
            assert torch.equal(got, logits)
            assert torch.equal(source.logits(states[-1]), logits)
            for mine, theirs in zip(states[:-1], expected[:-1], strict=True):
                assert torch.equal(mine, theirs)
            assert torch.equal(model.finish(states[-1]), expected[-1])


@pytest.mark.parametrize("stored", ["float32", "bfloat16"])
@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
def test_any_dtype_is_read_as_any_other(tmp_path: Path, stored: str, dtype: str) -> None:
    folder = folders.save(folders.heterogeneous().to(getattr(torch, stored)), tmp_path)
    model, reader = load(folder, dtype=dtype), LayerReader(folder, dtype=dtype)
    assert {tensor.dtype for tensor in model.parameters()} == {reader.dtype}
    expected, got = walk(model), walk(reader)
    assert got[1].dtype == getattr(torch, dtype)
    assert torch.equal(got[1], expected[1])


def test_layers_are_in_evaluation_mode_without_gradients(tmp_path: Path) -> None:
    folder = folders.save(folders.heterogeneous(), tmp_path)
    reader, model = LayerReader(folder), load(folder)
    block = reader.layer(2)
    assert not block.training
    assert not any(parameter.requires_grad for parameter in block.parameters())
    assert not walk(reader)[1].requires_grad
    for source in (model, reader):
        for index in (-1, 5):
            with pytest.raises(IndexError, match=f"no layer {index}: the layers are 0 to 4"):
                source.layer(index)
    with pytest.raises(IndexError, match="has rows 0 to 49, not 3 to 50"):
        LayerReader(folder).embed(torch.tensor([[3, 50]]))


def peak(growth_of: Any) -> int:
    """Bytes by which the process grew at most while the function ran (Linux)."""
    switch = Path("/proc/self/clear_refs")
    if not switch.exists():
        pytest.skip("this system does not let a process measure its own peak memory")
    gc.collect()
    switch.write_text("5")  # The peak starts anew.

    def read(key: str) -> int:
        match = re.search(rf"{key}:\s+(\d+) kB", Path("/proc/self/status").read_text())
        assert match is not None
        return int(match[1]) * 1024

    before = read("VmRSS")
    growth_of()
    return read("VmHWM") - before


def test_memory_is_a_few_layers_and_the_rows_asked_for(tmp_path: Path) -> None:
    with torch.device("meta"):
        model = HeterogeneousDecoderForCausalLM(
            HeterogeneousDecoderConfig(
                **{
                    **folders.SIZES,
                    "vocab_size": 60_000,
                    "hidden_size": 128,
                    "intermediate_size": 5_000,
                    "num_hidden_layers": 8,
                    "tie_word_embeddings": True,
                }
            )
        )
    model.config.save_pretrained(tmp_path)
    tensors = {
        name: torch.zeros(tensor.shape)
        for name, tensor in model.state_dict().items()
        if name != "lm_head.weight"
    }
    layer = sum(t.nbytes for name, t in tensors.items() if name.startswith("model.layers.0."))
    table = tensors["model.embed_tokens.weight"].nbytes
    assert layer > 7e6 and table > 30e6
    save_file(tensors, tmp_path / "model.safetensors")
    del tensors
    reader = LayerReader(tmp_path)
    context = reader.context(IDS)
    hidden = reader.layer(0)(reader.embed(IDS), context)  # Fills the allocator and thread pools.

    def run() -> None:
        state = hidden
        for index in range(8):
            state = reader.layer(index)(state, context)

    # A layer, and the largest of its tensors as it lies in the file.
    assert peak(run) < 2.5 * layer
    assert peak(lambda: reader.embed(IDS)) < table / 4


def test_a_dropped_layer_is_gone(tmp_path: Path) -> None:
    reader = LayerReader(folders.save(folders.heterogeneous(), tmp_path))
    for keep_nothing in (lambda: reader.layer(2), lambda: reader._read_head()[0]):
        module = keep_nothing()
        references = [weakref.ref(parameter) for parameter in module.parameters()]
        assert references
        del module
        gc.collect()
        assert not any(reference() is not None for reference in references)


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    model = folders.heterogeneous()
    one = LayerReader(folders.save(model, tmp_path / "one"))
    many = LayerReader(folders.save(model, tmp_path / "many", "4KB"), dtype="bfloat16")
    digests = [one.layer_digest(index) for index in range(5)]
    assert digests == [many.layer_digest(index) for index in range(5)]
    assert len(set(digests)) == 5
    with torch.no_grad():
        model.model.layers[1].mlp.down_proj.weight[0, 0] += 1
    changed = LayerReader(folders.save(model, tmp_path / "changed"))
    assert [changed.layer_digest(i) == digests[i] for i in range(5)] == [1, 0, 1, 1, 1]
    half = LayerReader(folders.save(model.bfloat16(), tmp_path / "half"))
    assert half.layer_digest(0) != digests[0]
    with pytest.raises(IndexError, match="no layer 5"):
        one.layer_digest(5)


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    return folders.save(folders.heterogeneous(), tmp_path / "sharded", "4KB")


def test_broken_folders_are_refused_with_the_file_and_the_cure(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    places = json.loads(index.read_text())["weight_map"]
    name = "model.layers.2.self_attn.k_proj.weight"
    shard = sharded / places[name]
    whole, listed = shard.read_bytes(), index.read_text()

    def refused(message: str, file: Path = shard) -> None:
        for read in (load, LayerReader):
            with pytest.raises(CheckpointError, match=message) as caught:
                read(sharded)
            assert str(file) in str(caught.value)
            assert "fetch or write the folder again" in str(caught.value)

    for length in (0, 5, 60, len(whole) - 4):
        shard.write_bytes(whole[:length])
        refused("truncated or damaged")
    shard.unlink()
    refused("missing, though the index names it")
    tensors = {key: value for key, value in load_file_bytes(whole, shard).items() if key != name}
    save_file(tensors, shard)
    refused(f"no tensor {name}, which model.safetensors.index.json places there")
    index.write_text(json.dumps({"weight_map": {k: v for k, v in places.items() if k != name}}))
    refused(f"1 missing tensors, first {name}", index)
    extra = "model.layers.0.self_attn.q_proj.weight"
    save_file({**tensors, name: torch.zeros(4, 16), extra: torch.zeros(16, 16)}, shard)
    index.write_text(json.dumps({"weight_map": {**places, extra: shard.name}}))
    refused(f"unexpected tensor {extra}")
    save_file({**tensors, name: torch.zeros(8, 16)}, shard)
    index.write_text(listed)
    refused(rf"{name} is \[8, 16\], which does not fit config.json, where it is \[4, 16\]")
    for wrong in ("{", "[]", "{}", '{"weight_map": {"a": ["b"]}}'):
        index.write_text(wrong)
        refused("not a safetensors index", index)


def load_file_bytes(content: bytes, file: Path) -> dict[str, torch.Tensor]:
    """The tensors of a file, put back as it was."""
    file.write_bytes(content)
    return load_file(file)


def test_a_file_cut_while_in_use_is_refused(tmp_path: Path) -> None:
    folder = folders.save(folders.heterogeneous(), tmp_path)
    reader = LayerReader(folder)
    file = folder / "model.safetensors"
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:-8])
    for use in (
        lambda: reader.layer(4),
        lambda: reader.embed(IDS),
        lambda: reader.logits(torch.zeros(1, 1, 16)),
        lambda: reader.layer_digest(4),
    ):
        with pytest.raises(CheckpointError, match=r"model\.safetensors: cannot be read"):
            use()


def test_integers_are_no_weights(tmp_path: Path) -> None:
    folder = folders.save(folders.heterogeneous(), tmp_path)
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"].to(torch.int8)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight is stored as I8; quantized"):
        LayerReader(folder)


def test_a_tied_head_may_be_stored_if_it_is_the_embedding(tmp_path: Path) -> None:
    folder = folders.save(folders.heterogeneous(tie_word_embeddings=True), tmp_path)
    file = folder / "model.safetensors"
    tensors = load_file(file)
    expected = load(folder)(IDS).logits
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    save_file(tensors, file)
    assert torch.equal(load(folder)(IDS).logits, expected)
    assert torch.equal(walk(LayerReader(folder))[1], expected)
    tensors["lm_head.weight"][7, 3] += 1
    save_file(tensors, file)
    for read in (load, LayerReader):
        with pytest.raises(CheckpointError, match="set tie_word_embeddings to false"):
            read(folder)
