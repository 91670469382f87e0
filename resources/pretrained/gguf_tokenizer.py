"""The tokenizer and chat template that a GGUF file carries, as transformers' own files.

It knows keys and vocabularies; it does not know weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from resources.models.errors import CheckpointError

# What a vocabulary's name for its way to split text needs beyond what transformers makes of it.
_DIGITS = {"type": "Digits", "individual_digits": True}
_SPLITS: dict[str, tuple[str, ...]] = {
    "smollm": ("digits",),
    "llama-bpe": ("whole words",),
    "llama3": ("whole words",),
    "llama-v3": ("whole words",),
    "qwen2": ("nfc",),
    "deepseek-r1-qwen": ("nfc",),
    "gpt-2": (),
}
_WORDS: tuple[dict[str, Any], ...] = (
    {"type": "Prepend", "prepend": "▁"},
    {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
)
_SPECIAL = {
    "bos_token": "bos_token_id",
    "eos_token": "eos_token_id",
    "unk_token": "unknown_token_id",
    "pad_token": "padding_token_id",
}


def write_tokenizer(file: Path, values: Mapping[str, Any], folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json; `values` are the file's keys.

    Raises CheckpointError for a vocabulary whose way to split text is not known.
    """
    from transformers.integrations.gguf import convert_gguf_tokenizer, get_gguf_tokenizer

    from resources.models.folders import write_json

    kind, split = values.get("tokenizer.ggml.model"), values.get("tokenizer.ggml.pre")
    if kind not in ("gpt2", "llama") or (kind == "gpt2" and split not in _SPLITS):
        key = "model" if kind not in ("gpt2", "llama") else "pre"
        raise CheckpointError(
            f"{file}: tokenizer.ggml.{key} = {values.get(f'tokenizer.ggml.{key}')!r} is not read: "
            "name the model's tokenizer folder, as in {path: …, tokenizer: ./folder}, or give its "
            "safetensors folder"
        )
    family, described, special = get_gguf_tokenizer(str(file))
    made, _ = convert_gguf_tokenizer(family, described)
    size = len(described["tokens"])
    tokenizer = _as_trained(json.loads(made.to_str()), kind, str(split), size)
    if values.get("tokenizer.ggml.add_bos_token", kind == "llama") and special.get("bos_token"):
        _begin_with(tokenizer, special["bos_token"], int(values["tokenizer.ggml.bos_token_id"]))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False))
    write_json(
        folder / "tokenizer_config.json",
        {
            **{name: token for name in _SPECIAL if (token := special.get(name)) is not None},
            "clean_up_tokenization_spaces": False,
            "tokenizer_class": "PreTrainedTokenizerFast",
        },
    )


def write_template(values: Mapping[str, Any], folder: Path) -> None:
    """Write the chat template, where the file has one; `values` are its keys."""
    template = values.get("tokenizer.chat_template")
    if template is not None:
        (folder / "chat_template.jinja").write_text(str(template))


def _as_trained(tokenizer: dict[str, Any], kind: str, split: str, size: int) -> dict[str, Any]:
    """The tokenizer with what its kind of vocabulary was trained with and GGUF does not carry.

    Tokens beyond the `size` of the vocabulary go: transformers adds GPT-2's where they are missing.
    """
    added = tokenizer["added_tokens"]
    tokenizer["added_tokens"] = [token for token in added if token["id"] < size]
    if kind == "llama":
        # As in Llama's own files: what stands first, and behind a special token, begins a word.
        # Transformers leaves that out where a text begins with a space or with a special token.
        tokenizer["normalizer"] = {"type": "Sequence", "normalizers": list(_WORDS)}
        tokenizer["pre_tokenizer"] = None
    for need in _SPLITS.get(split, ()) if kind == "gpt2" else ():
        if need == "digits":
            splits = tokenizer["pre_tokenizer"]
            tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [_DIGITS, splits]}
        elif need == "whole words":
            tokenizer["model"]["ignore_merges"] = True
        elif need == "nfc":
            tokenizer["normalizer"] = {"type": "NFC"}
    return tokenizer


def _begin_with(tokenizer: dict[str, Any], token: str, index: int) -> None:
    """Let plain text begin with the token, as the model was trained."""
    first = {"SpecialToken": {"id": token, "type_id": 0}}
    text, second = ({"Sequence": {"id": id, "type_id": n}} for n, id in enumerate("AB"))
    tokenizer["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [first, text],
        "pair": [first, text, second],
        "special_tokens": {token: {"id": token, "ids": [index], "tokens": [token]}},
    }
