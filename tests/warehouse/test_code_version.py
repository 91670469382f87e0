"""Code versions: what code does counts, in the module and in what it imports; comments do not."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from warehouse.errors import WarehouseError
from warehouse.planning.code_version import Sources, code_version, tree_digest


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    files = {
        "assets/__init__.py": "",
        "assets/stage/__init__.py": '"""Nothing."""\n',
        "assets/stage/train.py": (
            "import math\nfrom assets.stage import helper\n\n"
            "def build():\n    from resources import lazy\n    return helper.f() + lazy.g()\n"
        ),
        "assets/stage/helper.py": "from . import deeper\n\ndef f():\n    return deeper.VALUE\n",
        "assets/stage/deeper.py": "VALUE = 1\n",
        "assets/stage/unrelated.py": "X = 1\n",
        "resources/__init__.py": "",
        "resources/lazy.py": (
            "from typing import TYPE_CHECKING\nfrom warehouse.store import Output\n"
            "from resources import execution\nfrom resources.recipe import model\n"
            "if TYPE_CHECKING:\n    from resources import only_types\n\ndef g():\n    return 2\n"
        ),
        "resources/only_types.py": "T = int\n",
        "resources/execution.py": "device = 'cpu'\n",
        "resources/recipe/model.py": "rate = 1\n",
        "warehouse/__init__.py": "",
        "warehouse/store.py": "class Output: ...\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def version(root: Path) -> str:
    return code_version("assets.stage.train:build", root).version


def edit(root: Path, name: str, old: str, new: str) -> None:
    path = root / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_which_modules_count(checkout: Path) -> None:
    modules = code_version("assets.stage.train:build", checkout).modules
    assert set(modules) == {
        "assets",
        "assets.stage",
        "assets.stage.deeper",
        "assets.stage.helper",
        "assets.stage.train",
        "resources",
        "resources.lazy",
    }


def test_comments_docstrings_and_blank_lines_do_not_count(checkout: Path) -> None:
    before = version(checkout)
    edit(checkout, "assets/stage/train.py", "import math\n", '"""Doc."""\n\n# why\nimport math\n\n')
    edit(checkout, "assets/stage/train.py", "def build():\n", 'def build():\n    """Does."""\n')
    edit(checkout, "resources/lazy.py", "return 2", "return 2  # two")
    assert version(checkout) == before


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("assets/stage/train.py", "+ lazy.g()", "- lazy.g()"),
        ("assets/stage/helper.py", "return deeper.VALUE", "return deeper.VALUE + 1"),
        ("assets/stage/deeper.py", "VALUE = 1", "VALUE = 1.0"),
        ("resources/lazy.py", "return 2", "return 3"),
        ("assets/stage/__init__.py", "Nothing", 'Some"""\nX = """'),
    ],
)
def test_code_counts_wherever_it_is_imported_from(
    checkout: Path, name: str, old: str, new: str
) -> None:
    before = version(checkout)
    edit(checkout, name, old, new)
    after = version(checkout)
    assert after != before
    edit(checkout, name, new, old)
    assert version(checkout) == before


def test_what_is_not_imported_or_is_the_store_does_not_count(checkout: Path) -> None:
    before = version(checkout)
    edit(checkout, "assets/stage/unrelated.py", "1", "2")
    edit(checkout, "resources/only_types.py", "int", "str")
    edit(checkout, "warehouse/store.py", "...", "pass")
    edit(checkout, "resources/execution.py", "cpu", "cuda")
    edit(checkout, "resources/recipe/model.py", "1", "2")
    assert version(checkout) == before


def test_errors_name_the_module(checkout: Path) -> None:
    with pytest.raises(WarehouseError, match=r"no module assets\.nowhere"):
        code_version("assets.nowhere:f", checkout)
    edit(checkout, "assets/stage/deeper.py", "VALUE = 1", "VALUE =")
    with pytest.raises(WarehouseError, match=r"deeper\.py is not valid Python"):
        version(checkout)


def test_the_digest_is_the_same_in_every_version_of_python() -> None:
    tree = ast.parse('async def f(x, *, y=None): return f"{x!r:>4}", [None]')
    assert tree_digest(tree) == "5015318681276f234ca74cd98ed734e5d5e14261375d4f700b3534866be94d63"


def remembered(root: Path, memory: Path) -> str:
    sources = Sources(memory)
    found = code_version("assets.stage.train:build", root, sources).version
    sources.save()
    return found


def test_a_module_is_parsed_once_for_all_processes(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = tmp_path / "sources.json"
    before = remembered(checkout, memory)
    assert before == version(checkout)
    with monkeypatch.context() as patch:
        patch.setattr(ast, "parse", lambda *given, **more: pytest.fail("parsed again"))
        assert remembered(checkout, memory) == before
    with monkeypatch.context() as patch:  # of several functions' modules, read once a plan
        sources, read = Sources(memory), list[Path]()
        bytes_of = Path.read_bytes
        patch.setattr(Path, "read_bytes", lambda path: read.append(path) or bytes_of(path))
        for _ in range(2):
            assert code_version("assets.stage.train:build", checkout, sources).version == before
        assert len(read) == len(set(read)) > 1
    edit(checkout, "assets/stage/deeper.py", "1", "2")
    after = remembered(checkout, memory)
    assert after == version(checkout) != before
    edit(checkout, "assets/stage/deeper.py", "2", "1")
    assert remembered(checkout, memory) == before


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"a": 1}'])
def test_a_damaged_memory_is_no_memory(text: str, checkout: Path, tmp_path: Path) -> None:
    memory = tmp_path / "sources.json"
    memory.write_text(text)
    assert remembered(checkout, memory) == version(checkout)
