"""Long texts in pieces: the very ids of the whole, with real tokenizers, or no pieces at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from resources.chat import cutting
from resources.chat.chat import Chat
from resources.chat.cutting import Cutter
from resources.checkout import CHECKOUT
from tests.resources.chat import tokenizers

BUNDLED = CHECKOUT / "resources/models/bundled/tokenizer"
PARTS = (
    *(
        "the",
        " the",
        "ing ",
        " a",
        "Straße",
        " naïve ",
        "Ελλάδα ",
        " привет",
        "e\u0301 ",
        "\u017f",
        "İ ",
    ),
    *(
        " ",
        "  ",
        "\n",
        " \n ",
        "\t",
        "\r\n",
        "\u00a0",
        "\u3000",
        "'s ",
        "'ll",
        " don't ",
        "12",
        " 345",
    ),
    *(
        ".",
        ", ",
        "!?",
        " -> ",
        "}\n",
        "中文",
        " 中 ",
        "日本語 ",
        "한국 ",
        "ﬁ ",
        "👩‍🔬 ",
        "\u0301",
        "▁",
        "a▁ ",
    ),
    *("</s>", "<s> ", "<|im_end|>", "<|eot_id|> x", "<|endoftext|>", "Ġ", "<0x0A>", "[INST] "),
)


@pytest.fixture(params=["bundled", *tokenizers.NAMES])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if request.param == "bundled":
        return BUNDLED
    return tokenizers.folder(request.param, tmp_path_factory.getbasetemp())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cutting, "PIECE", 8)
    monkeypatch.setattr(cutting, "AT_ONCE", 2)


def whole(backend: Any, text: str) -> list[int]:
    ids: list[int] = backend.encode(text, add_special_tokens=False).ids
    return ids


def test_pieces_have_the_ids_of_the_whole(folder: Path, small: None) -> None:
    backend = Tokenizer.from_file(str(folder / "tokenizer.json"))
    cutter = Cutter(backend)
    prose = "Nobody knows where the words of a text end but those who read it " * 3
    assert len(cutter.pieces(prose)) > 10
    assert cutter.ids([prose, "short", prose + "</s>"]) == [
        whole(backend, text) for text in (prose, "short", prose + "</s>")
    ]

    @settings(
        max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(st.sampled_from(PARTS), min_size=4, max_size=60), st.booleans())
    def agree(parts: list[str], plain: bool) -> None:
        text = "".join(parts)
        assert "".join(cutter.pieces(text)) == text
        backend.encode_special_tokens = plain
        assert cutter.ids([text]) == [whole(backend, text)], cutter.pieces(text)

    agree()


def test_a_document_is_cut_as_the_chat_encodes_it(folder: Path, small: None) -> None:
    chat = Chat.load(folder)
    text = "It was the best of times, it was the worst of times. " * 4
    for document in (text, text + (chat.tokenizer.eos_token or "") + " said " + text):
        sample = chat.document(document)
        [(ids, mask)] = chat.encode([sample])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cutting, "PIECE", 1 << 18)
            assert chat.encode([sample]) == [(ids, mask)]


def changed(parts: dict[str, Any], **changes: Any) -> Cutter:
    return Cutter(Tokenizer.from_str(json.dumps({**parts, **changes})))


def test_what_is_not_known_is_encoded_whole(small: None) -> None:
    parts = json.loads((BUNDLED / "tokenizer.json").read_text())
    text = "words and words and words and words"
    assert len(changed(parts).pieces(text)) > 1
    split = {"type": "Split", "pattern": {"Regex": "(?<=a) b"}, "behavior": "Isolated"}
    added = {"id": 4000, "content": "and words", "single_word": False, "lstrip": False}
    added |= {"rstrip": False, "normalized": False, "special": False}
    for changes in (
        {"normalizer": {"type": "Replace", "pattern": {"Regex": "d w"}, "content": "-"}},
        {"normalizer": {"type": "NFKC"}},
        {"pre_tokenizer": {**split, "invert": False}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True}},
        {"pre_tokenizer": None},
        {"added_tokens": [*parts["added_tokens"], added]},
        {"added_tokens": [*parts["added_tokens"], added | {"content": "words", "rstrip": True}]},
        {"model": {**parts["model"], "dropout": 0.1}},
    ):
        assert changed(parts, **changes).pieces(text) == [text], changes
