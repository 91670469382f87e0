"""Code versions: a hash of what code does, not of how it is commented.

The docstring- and comment-free syntax trees of a module and of the repo modules it imports,
directly or not, at top level or inside functions. Static: nothing is imported or run. Knows no
asset.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from warehouse.errors import WarehouseError
from warehouse.files.filesystem import replacing

# The store is what artifacts go through, not what they are made by: only the modules that decide
# content count.
_COUNTED_OF_WAREHOUSE = frozenset({"warehouse.rows"})
# Nor do the recipe's sections, whose values are an asset's slice, and the execution settings, which
# decide nothing: an option that nobody uses yet must not make every artifact of a home stale.
_STATED = ("resources.recipe", "resources.execution")
MOST = 4000  # modules of former code that are remembered beside today's


@dataclass(frozen=True)
class CodeVersion:
    """`version` (hex SHA-256) and the hash of each module in it, by module name."""

    version: str
    modules: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Source:
    digest: str
    imports: tuple[tuple[str, tuple[str, ...]], ...]  # absolute module, names taken from it


_sources: dict[tuple[str, str], tuple[tuple[int, int], _Source]] = {}


class Sources:
    """What modules say, while one plan is made: where they lie, and their digests and imports.

    With a `memory` file the latter are kept between processes, by the hash of the file's content,
    of its name and of the rules here, so that a module is parsed once.
    """

    def __init__(self, memory: Path | None = None) -> None:
        self.memory = memory
        self.places: dict[tuple[str, Path], Path | None] = {}
        self.told: dict[tuple[Path, str], _Source] = {}
        self.used: dict[str, Any] = {}
        self.known: dict[str, Any] = {}
        if memory is not None and memory.is_file():
            try:
                self.known = dict(json.loads(memory.read_text()))
            except (ValueError, TypeError):
                self.known = {}  # only a cache: everything is parsed again

    def locate(self, module: str, root: Path) -> Path | None:
        """`locate`, asked once."""
        if (module, root) not in self.places:
            self.places[module, root] = locate(module, root)
        return self.places[module, root]

    def read(self, path: Path, name: str) -> _Source:
        """What the module `name` at `path` says, read once. WarehouseError where it is not valid
        Python."""
        if (path, name) not in self.told:
            self.told[path, name] = self._read(path, name)
        return self.told[path, name]

    def _read(self, path: Path, name: str) -> _Source:
        status = os.stat(path)
        state = (status.st_size, status.st_mtime_ns)
        known = _sources.get((str(path), name))
        if known is None or known[0] != state or self.memory is not None:
            known = (state, self._parsed(path, name))
            _sources[(str(path), name)] = known
        return known[1]

    def _parsed(self, path: Path, name: str) -> _Source:
        content = path.read_bytes()
        key = hashlib.sha256(b"\0".join([_rules(), name.encode(), path.name.encode(), content]))
        entry = self.used.get(key.hexdigest()) or self.known.get(key.hexdigest())
        if entry is None:
            try:
                tree = ast.parse(content, filename=str(path))
            except (SyntaxError, ValueError) as error:
                raise WarehouseError(f"{path} is not valid Python: {error}") from error
            imports = list(_imports(tree, name, path.name == "__init__.py"))
            entry = [tree_digest(tree), imports]  # in this order: the digest takes docstrings out
        self.used[key.hexdigest()] = entry
        digest, imports = entry
        return _Source(digest, tuple((module, tuple(names)) for module, names in imports))

    def save(self) -> None:
        """Keep what was used for the next process, where that is news."""
        if self.memory is None or self.used.keys() <= self.known.keys():
            return
        kept = self.known | self.used
        with replacing(self.memory) as aside:
            aside.write_text(json.dumps(kept if len(kept) <= MOST else self.used))


@cache
def _rules() -> bytes:
    """The rules of this module, by which digests are made."""
    return hashlib.sha256(Path(__file__).read_bytes()).digest()


def code_version(fn: str, root: Path, sources: Sources | None = None) -> CodeVersion:
    """The version of the module of `fn` ("package.module:function") within the checkout `root`.

    `WarehouseError` when there is no such module or it is not valid Python.
    """
    sources = sources or Sources()
    start = fn.partition(":")[0]
    if sources.locate(start, root) is None:
        raise WarehouseError(f"{fn}: there is no module {start} below {root}")
    waiting, modules = [start], {}
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        path = sources.locate(name, root)
        if path is None or not _counts(name):
            continue
        source = sources.read(path, name)
        modules[name] = source.digest
        package = name.rpartition(".")[0]
        if package:
            waiting.append(package)  # its __init__ runs first
        for module, names in source.imports:
            waiting.append(module)
            waiting.extend(f"{module}.{each}" for each in names)
    total = hashlib.sha256()
    for name in sorted(modules):
        total.update(f"{name}={modules[name]}\n".encode())
    return CodeVersion(total.hexdigest(), dict(sorted(modules.items())))


def locate(module: str, root: Path) -> Path | None:
    """The file of a repo module, or None when the module is not in the repo."""
    if not module:
        return None
    base = root.joinpath(*module.split("."))
    for path in (base.with_name(base.name + ".py"), base / "__init__.py"):
        if path.is_file():
            return path
    return None


def _counts(name: str) -> bool:
    if any(name == stated or name.startswith(f"{stated}.") for stated in _STATED):
        return False
    return name.partition(".")[0] != "warehouse" or name in _COUNTED_OF_WAREHOUSE


def tree_digest(tree: ast.AST) -> str:
    """Hex SHA-256 of a syntax tree without docstrings and positions (comments are not in it).

    Empty fields are left out, because each version of Python adds some: the digest is the same in
    all.
    """
    for node in ast.walk(tree):
        documented = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
        if isinstance(node, documented) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return hashlib.sha256(_written(tree).encode()).hexdigest()


def _written(value: object) -> str:
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    fields = ((n, v) for n, v in ast.iter_fields(value) if v is not None and v != [])
    return f"{type(value).__name__}({','.join(f'{n}={_written(v)}' for n, v in fields)})"


def _imports(tree: ast.AST, name: str, is_package: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in _running(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, ()
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                parts = name.split(".")
                above = node.level - 1 if is_package else node.level
                parts = parts[: len(parts) - above]
                module = ".".join([*parts, *([module] if module else [])])
            yield module, tuple(alias.name for alias in node.names)


def _running(tree: ast.AST) -> Iterator[ast.AST]:
    """All nodes but the bodies of `if TYPE_CHECKING:`, which never run."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, ast.If) and _is_type_checking(node.test):
            waiting.extend(node.orelse)
        else:
            waiting.extend(ast.iter_child_nodes(node))


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"
