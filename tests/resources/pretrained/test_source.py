"""What a recipe may write for a given model, and the one record that it becomes."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import pytest

from resources.pretrained.source import BUNDLED, ParentSource, SourceError, parse

COMMIT = "0123456789abcdef0123456789abcdef01234567"
HERE = Path("/recipes")


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("bundled/nano", ParentSource("folder", str(BUNDLED / "nano"))),
        ("./mine", ParentSource("folder", "/recipes/mine")),
        ("/models/mine", ParentSource("folder", "/models/mine")),
        ("models/mine.Q4_1.gguf", ParentSource("gguf", "/recipes/models/mine.Q4_1.gguf")),
        ("org/name", ParentSource("hub", "org/name")),
        (f"org/name@{COMMIT}", ParentSource("hub", "org/name", COMMIT)),
        ("org/name@refs/pr/1", ParentSource("hub", "org/name", "refs/pr/1")),
        (
            {"path": "org/name@v1", "tokenizer": "own", "template": "./chat.jinja"},
            ParentSource("hub", "org/name", "v1", template="/recipes/chat.jinja"),
        ),
        (
            {"path": "./mine", "tokenizer": "./theirs", "thinking": {"tags": ["<a>", "</a>"]}},
            ParentSource(
                "folder",
                "/recipes/mine",
                tokenizer="/recipes/theirs",
                thinking={"tags": ["<a>", "</a>"]},
            ),
        ),
        (
            {"path": "./mine", "date": datetime.date(2025, 1, 31)},
            ParentSource("folder", "/recipes/mine", date="2025-01-31"),
        ),
    ],
)
def test_what_is_written_is_one_record(written: Any, expected: ParentSource) -> None:
    found = parse(written, HERE)
    assert found == expected
    assert ParentSource.of(found.record()) == found


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("mine", "'mine' is no path; write bundled/<name>"),
        ("a/b/c", "a folder here is ./a/b/c"),
        ("org/name@", "'' is no revision"),
        ({"tokenizer": "own"}, "path is missing"),
        ({"path": "./mine", "tokeniser": "own"}, "unknown key 'tokeniser': a parent has path"),
        ({"path": "./mine", "template": 3}, "template must be 'own' or a path, not 3"),
        ({"path": "./mine", "date": "tomorrow"}, "date is 'tomorrow': write it as 2025-01-31"),
        ({"path": "./mine", "thinking": "on"}, "thinking must be a mapping with on, off, tags"),
    ],
)
def test_what_names_nothing_is_refused(written: Any, said: str) -> None:
    with pytest.raises(SourceError, match=r"^[^\n]*$") as caught:
        parse(written, HERE)
    assert said in str(caught.value)
