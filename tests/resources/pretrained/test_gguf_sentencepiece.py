"""A GGUF file with SentencePiece's vocabulary: its ids are SentencePiece's own."""

from __future__ import annotations

import io
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from resources.pretrained.gguf import convert
from tests.resources.chat.tokenizers import converted
from tests.resources.pretrained.folders import TEMPLATE
from tests.resources.pretrained.gguf_files import write

sentencepiece = pytest.importorskip("sentencepiece")


@pytest.fixture(scope="module")
def pieces() -> Any:
    """A small model trained as Llama 2's was: BPE, bytes for what is unknown, no rewriting."""
    made = io.BytesIO()
    lines = [line for text in sorted(topics.values())[:40] for line in text.splitlines()]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([line for line in lines if line.strip()][:1500]),
        model_writer=made,
        model_type="bpe",
        vocab_size=500,
        byte_fallback=True,
        character_coverage=0.99,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        split_digits=True,
        num_threads=1,
        minloglevel=2,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=made.getvalue())


@pytest.fixture(scope="module")
def tokenizer(pieces: Any, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """What we write of a file with that vocabulary."""
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("sentencepiece")
    convert(write(folder / "m.gguf", pieces), folder / "made")
    return AutoTokenizer.from_pretrained(folder / "made", trust_remote_code=False)


TEXTS = (
    "What is 1 + 2 mod 7?",
    "größer: 12 345\t!",
    "東京 🙂\n\n",
    "def f(x):\n    return x",
    " a",
)


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_sentencepieces_own(text: str, pieces: Any, tokenizer: Any) -> None:
    assert tokenizer(text, add_special_tokens=False).input_ids == pieces.encode(text)
    # Llama's own files ask for the begin token before plain text.
    assert tokenizer(text).input_ids == [pieces.bos_id(), *pieces.encode(text)]
    assert tokenizer.decode(tokenizer(text, add_special_tokens=False).input_ids) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_ids_of_any_text_are_sentencepieces_own(text: str, pieces: Any, tokenizer: Any) -> None:
    assert tokenizer(text, add_special_tokens=False).input_ids == pieces.encode(text)


@pytest.mark.parametrize("text", ["<s>[INST] Why? [/INST]", " a</s> b", "</s>x", "<s>\n"])
def test_text_around_special_tokens_is_read_as_by_llamas_own_conversion(
    text: str, pieces: Any, tokenizer: Any, tmp_path: Path
) -> None:
    (tmp_path / "tokenizer.model").write_bytes(pieces.serialized_model_proto())
    own = converted(tmp_path / "tokenizer.model")
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert ids == own.encode(text, add_special_tokens=False).ids


def test_special_tokens_and_template_come_along(pieces: Any, tokenizer: Any) -> None:
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == (
        "<s>",
        "</s>",
        "<unk>",
    )
    assert tokenizer("</s>", add_special_tokens=False).input_ids[-1] == pieces.eos_id()
    assert len(tokenizer) == pieces.vocab_size() and tokenizer.chat_template == TEMPLATE
