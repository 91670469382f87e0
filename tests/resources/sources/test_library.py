"""Text that ships with Python: the same rows each time, none of them in two bodies."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from pydantic import ValidationError

from resources.recipe.sections.data import Source
from resources.sources.library import LONGEST, SHORTEST, documents
from resources.sources.reading import read
from resources.sources.shards import described, description, shards


def source(what: str, **more: object) -> Source:
    return Source.model_validate(
        {"kind": "text", "path": f"python:{what}", "license": "psf-2.0", **more}
    )


def test_documents_are_the_same_each_time_and_of_bounded_length() -> None:
    found = list(documents("documentation"))
    assert found == list(documents("documentation"))
    lengths = [len(text) for _, _, text in found]
    assert len(found) > 50
    assert len({text for _, _, text in found}) == len(found)
    assert min(lengths) >= SHORTEST
    assert max(lengths) < 2 * LONGEST


def test_a_docstring_stands_in_no_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = "What the function is for, said at some length. " * 8
    code = "    " + "    ".join(f"x{n} = {n} + 1  # counted\n" for n in range(40))
    (tmp_path / "a.py").write_text(f'def f():\n    """{about}"""\n{code}')
    (tmp_path / "bad.py").write_text("def (:\n")
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "b.py").write_text("y = 1\n" * 200)
    monkeypatch.setattr("sysconfig.get_path", lambda name: str(tmp_path))
    assert [(file, line) for file, line, _ in documents("docstrings")] == [("a.py", 2)]
    [(file, line, text)] = documents("source")
    assert (file, line) == ("a.py", 1)
    assert "x39 = 39 + 1" in text
    assert "said at some length" not in text


def test_a_shard_is_read_like_any_other_and_made_of_the_version() -> None:
    declared = source("documentation", limit=7)
    [shard] = shards(declared, Path(), Path())
    pieces, watched = description(declared, shard)
    assert watched == ()
    assert pieces[0]["python"]["version"] == platform.python_version()
    assert described(shard.name, pieces, []) == shard
    batches = list(read(declared, shard))
    assert sum(batch.kept.num_rows for batch in batches) == 7
    assert not any(batch.rejected.num_rows for batch in batches)
    assert batches[0].kept.column("file")[0].as_py().startswith("pydoc_data/")


@pytest.mark.parametrize(
    ("what", "more", "said"),
    [
        ("docs", {}, "Python brings no 'docs'"),
        ("source", {"kind": "conversations"}, "kind text"),
        ("source", {"fields": {"text": "body"}}, "without 'fields'"),
    ],
)
def test_what_python_does_not_bring_is_refused(
    what: str, more: dict[str, object], said: str
) -> None:
    with pytest.raises(ValidationError, match=said):
        source(what, **more)
