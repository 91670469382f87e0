"""Small GGUF files, written as llama.cpp's converter writes the real ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tests.resources.pretrained.folders import TEMPLATE

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from sentencepiece import SentencePieceProcessor

HIDDEN, WIDTH, LAYERS, HEADS, KV = 64, 96, 2, 4, 2
# Qwen3's heads are wider than their share of the hidden size; transformers, which the tests compare
# with, takes them to be 128 whatever a file says.
SIZES: dict[str, dict[str, int]] = {
    "llama": {},
    "qwen2": {},
    "qwen3": {"attention__key_length": 128, "attention__value_length": 128},
}


def write(
    file: Path,
    tokenizer: Path | SentencePieceProcessor,
    *,
    architecture: str = "llama",
    quantized: bool = False,
    half: bool = False,
    kv: int | None = KV,
    parts: int = 1,
    without: tuple[str, ...] = (),
    tensors: dict[str, np.ndarray[Any, Any]] | None = None,
    **keys: Any,
) -> Path:
    """A small GGUF file with a tokenizer, a folder's or SentencePiece's own.

    Matrices are float32, `half` or `quantized`; without `kv` the file does not say how many heads
    of keys there are, and there are as many as of queries; it is one of `parts`.

    `keys` of the architecture have double underscores for dots.
    """
    from gguf import GGMLQuantizationType, GGUFWriter
    from gguf.quants import quantize

    writer = GGUFWriter(file, architecture)
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(HIDDEN)
    writer.add_feed_forward_length(WIDTH)
    writer.add_head_count(HEADS)
    if kv is not None:
        writer.add_head_count_kv(kv)
    if parts > 1:
        writer.add_uint16("split.count", parts)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    if isinstance(tokenizer, Path):
        tokens = _byte_level(writer, tokenizer, keys.pop("pre", "gpt-2"))
    else:
        tokens = _sentencepiece(writer, tokenizer)
    writer.add_chat_template(TEMPLATE)
    for name, value in keys.items():
        add = {str: writer.add_string, float: writer.add_float32, int: writer.add_uint32}
        add[type(value)](f"{architecture}.{name.replace('__', '.')}", value)
    generator = np.random.default_rng(0)
    size = int(keys.get("attention__key_length", HIDDEN // HEADS))
    for name, shape in _shapes(architecture, tokens, size, kv or HEADS).items():
        if name not in without:
            numbers = generator.standard_normal(shape).astype(np.float32) / 8
            if quantized and len(shape) == 2:
                kind = GGMLQuantizationType.Q8_0
                writer.add_tensor(name, quantize(numbers, kind), raw_dtype=kind)
            else:
                writer.add_tensor(name, numbers.astype("f2") if half and shape[1:] else numbers)
    for name, numbers in (tensors or {}).items():
        writer.add_tensor(name, numbers)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def _shapes(architecture: str, tokens: int, size: int, kv: int) -> dict[str, tuple[int, ...]]:
    """The tensors of a model with heads of that size, by name."""
    shapes: dict[str, tuple[int, ...]] = {
        "token_embd.weight": (tokens, HIDDEN),
        "output_norm.weight": (HIDDEN,),
        "output.weight": (tokens, HIDDEN),
    }
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.attn_norm.weight": (HIDDEN,),
            f"blk.{layer}.attn_q.weight": (HEADS * size, HIDDEN),
            f"blk.{layer}.attn_k.weight": (kv * size, HIDDEN),
            f"blk.{layer}.attn_v.weight": (kv * size, HIDDEN),
            f"blk.{layer}.attn_output.weight": (HIDDEN, HEADS * size),
            f"blk.{layer}.ffn_norm.weight": (HIDDEN,),
            f"blk.{layer}.ffn_gate.weight": (WIDTH, HIDDEN),
            f"blk.{layer}.ffn_up.weight": (WIDTH, HIDDEN),
            f"blk.{layer}.ffn_down.weight": (HIDDEN, WIDTH),
        }
        if architecture == "qwen2":
            rows = {"q": HEADS * size, "k": kv * size, "v": kv * size}
            shapes |= {f"blk.{layer}.attn_{part}.bias": (n,) for part, n in rows.items()}
        if architecture == "qwen3":
            shapes |= {f"blk.{layer}.attn_{part}_norm.weight": (size,) for part in "qk"}
    return shapes


def _byte_level(writer: GGUFWriter, tokenizer: Path, pre: str) -> int:
    """The vocabulary of a folder's tokenizer; its size."""
    vocabulary = json.loads((tokenizer / "tokenizer.json").read_text())
    tokens = dict(vocabulary["model"]["vocab"])
    special = {one["id"]: one["special"] for one in vocabulary["added_tokens"]}
    tokens |= {one["content"]: one["id"] for one in vocabulary["added_tokens"]}
    ordered = sorted(tokens, key=lambda token: tokens[token])
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(ordered)
    writer.add_token_types(
        [3 if special.get(i) else 4 if i in special else 1 for i in range(len(ordered))]
    )
    writer.add_token_merges([" ".join(pair) for pair in vocabulary["model"]["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(3)
    return len(ordered)


def _sentencepiece(writer: GGUFWriter, pieces: SentencePieceProcessor) -> int:
    """SentencePiece's own vocabulary with scores, as Llama 2's files have it; its size."""
    every = range(pieces.vocab_size())
    writer.add_tokenizer_model("llama")
    writer.add_token_list([pieces.id_to_piece(i) for i in every])
    writer.add_token_scores([pieces.get_score(i) for i in every])
    kinds = (("is_unknown", 2), ("is_control", 3), ("is_byte", 6))
    writer.add_token_types(
        [next((n for kind, n in kinds if getattr(pieces, kind)(i)), 1) for i in every]
    )
    writer.add_bos_token_id(pieces.bos_id())
    writer.add_eos_token_id(pieces.eos_id())
    writer.add_unk_token_id(pieces.unk_id())
    return int(pieces.vocab_size())
