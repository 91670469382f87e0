"""Files and folders that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from warehouse.files.filesystem import ASIDE, drop_leftovers, replacing, replacing_folder


def test_a_file_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.json"
    with replacing(path) as aside:
        aside.write_text("one")
        assert aside.suffix == ".json" and not path.exists()
    with pytest.raises(RuntimeError), replacing(path) as aside:
        aside.write_text("two")
        raise RuntimeError
    with pytest.raises(FileNotFoundError), replacing(path):
        pass  # nothing was written
    assert path.read_text() == "one"
    with replacing(path, read_only=True) as aside:
        aside.write_text("three")
    assert path.read_text() == "three" and path.stat().st_mode & 0o777 == 0o444
    assert [each.name for each in path.parent.iterdir()] == ["x.json"]


def test_a_folder_is_replaced_whole_or_stays(tmp_path: Path) -> None:
    path = tmp_path / "made"
    for text in ("one", "two"):
        with replacing_folder(path) as aside:
            (aside / "inner").mkdir()
            (aside / "inner" / text).write_text(text)
    with pytest.raises(RuntimeError), replacing_folder(path) as aside:
        (aside / "three").write_text("three")
        raise RuntimeError
    assert [str(file.relative_to(tmp_path)) for file in path.rglob("*")] == [
        "made/inner",
        "made/inner/two",
    ]
    assert [each.name for each in tmp_path.iterdir()] == ["made"]


def test_what_a_kill_left_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "states").mkdir()
    (tmp_path / "states" / "x").write_text("whole")
    (tmp_path / "states" / f"{ASIDE}1-2.npz").write_text("half")
    (tmp_path / f"{ASIDE}1-3" / "inner").mkdir(parents=True)
    drop_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["states", "x"]
