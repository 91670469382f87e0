"""What tests take for a class: told from their source, before anything is run."""

import ast
import re

_CAPITAL = re.compile(r"[A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*")


def classes(source: str) -> frozenset[str]:
    """Names in CapWords whose calls make what the tests then take attributes of, or enter.

    A function under test is never one: its result is compared, and no capital begins its name. So
    an object that answers for itself is believed only where a class was asked for.

    >>> sorted(classes("s = Stack()\\ns.push(1)\\nassert Max(1, 2) == 2"))
    ['Stack']
    """
    made: dict[str, str] = {}
    found: set[str] = set()
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and (name := _called(node.value)):
            made |= {target.id: name for target in node.targets if isinstance(target, ast.Name)}
        if isinstance(node, (ast.With, ast.AsyncWith)):
            found |= {name for item in node.items if (name := _called(item.context_expr))}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            value = node.value
            name = _called(value) or (made.get(value.id) if isinstance(value, ast.Name) else None)
            found |= {name} if name else set()
    return frozenset(found)


def _called(node: ast.expr) -> str | None:
    """The name in CapWords that an expression calls."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id if _CAPITAL.fullmatch(node.func.id) else None
    return None
