"""The tests of a code problem, as they are published: assertions, input/output pairs, functions.

Reads the text of a problem's `tests` into what is to be run; runs nothing. JSON is read as TACO,
APPS, CodeContests and LiveCodeBench write it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.verifiers.isolation.testing.matching import CHECKERS, TOLERANCE
from resources.verifiers.verdict import shorten

_INPUTS, _OUTPUTS = ("inputs", "input"), ("outputs", "output")
_NAMES = ("fn_name", "func_name", "entry_point")


@dataclass(frozen=True)
class Assertions:
    """Python source that fails where the program is wrong."""

    source: str


@dataclass(frozen=True)
class Pairs:
    """Texts of standard input, and of the output wanted for each. `checker` is the name of a way to
    compare (`matching.CHECKERS`), or Python source that defines `check(given, printed, expected)`.
    With `values` the outputs are JSON, wanted as the last line that is printed."""

    inputs: Sequence[str]
    outputs: Sequence[str]
    tolerance: float = TOLERANCE
    checker: str = "lines"
    values: bool = False


@dataclass(frozen=True)
class Functions:
    """Arguments of a named function, and the value wanted for each."""

    name: str
    inputs: Sequence[list[Any]]
    outputs: Sequence[Any]
    tolerance: float = TOLERANCE
    checker: str = "equal"


Tests = Assertions | Pairs | Functions


def read(text: str) -> Tests:
    r"""The tests that a text holds. Raises ValueError where no program could be judged by them.

    >>> read('{"inputs": ["3\\n"], "outputs": ["6\\n"]}')
    Pairs(inputs=('3\n',), outputs=('6\n',), tolerance=1e-06, checker='lines', values=False)
    >>> read('{"fn_name": "add", "inputs": [[1, 2]], "outputs": [3]}').name
    'add'
    >>> read("assert f(1) == 2")
    Assertions(source='assert f(1) == 2')
    """
    if not text.strip():
        raise ValueError("tests are empty")
    if text.lstrip()[0] not in "{[":
        return Assertions(text)
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("tests are JSON nested too deeply") from None
    except ValueError as error:
        if _is_python(text):
            return Assertions(text)
        raise ValueError(f"tests are neither Python nor JSON: {error}") from None
    if isinstance(value, list):
        value = _of_list(value)
    if not isinstance(value, Mapping):
        raise ValueError(f"tests are JSON of another kind: {shorten(text)}")
    return _of_mapping(value)


def _of_list(cases: list[Any]) -> dict[str, Any]:
    """One mapping of LiveCodeBench's list of `{"input", "output", "testtype", ...}`."""
    if not cases or not all(isinstance(each, Mapping) for each in cases):
        raise ValueError("tests are a JSON list, but not of objects with input and output")
    made: dict[str, Any] = {"inputs": [_column(case, _INPUTS) for case in cases]}
    made["outputs"] = [_column(case, _OUTPUTS) for case in cases]
    for case in cases:
        inner = case.get("metadata")
        for source in (case, inner if isinstance(inner, Mapping) else {}):
            made |= {key: source[key] for key in (*_NAMES, "tolerance", "checker") if key in source}
    kinds = {case.get("testtype") for case in cases}
    if "functional" in kinds and not any(made.get(key) for key in _NAMES):
        raise ValueError("tests are functional, and no fn_name says of which function")
    return made


def _of_mapping(value: Mapping[str, Any]) -> Tests:
    inputs, outputs = _column(value, _INPUTS), _column(value, _OUTPUTS)
    if not isinstance(inputs, list) or not isinstance(outputs, list):
        raise ValueError("inputs and outputs must be lists, one entry a test")
    if not inputs or len(inputs) != len(outputs):
        raise ValueError(
            f"{len(inputs)} inputs but {len(outputs)} outputs; give one of each a test"
        )
    tolerance = value.get("tolerance")
    if tolerance is None:
        tolerance = TOLERANCE
    if isinstance(tolerance, bool) or not isinstance(tolerance, int | float) or tolerance < 0:
        raise ValueError(f"tolerance is {shorten(repr(tolerance))}; it must be a number from 0 up")
    name = next((value[key] for key in _NAMES if value.get(key)), None)
    checker = value.get("checker") or ("lines" if name is None else "equal")
    if not isinstance(checker, str) or (checker not in CHECKERS and "def check" not in checker):
        raise ValueError(
            f"checker is {shorten(repr(checker))}; it must be one of {', '.join(CHECKERS)} or "
            "Python source that defines check(given, printed, expected)"
        )
    if name is None:
        texts = tuple(_text(each, "inputs") for each in inputs)
        wanted = tuple(_text(each, "outputs") for each in outputs)
        return Pairs(texts, wanted, float(tolerance), checker)
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"fn_name is {shorten(repr(name))}, which is no name of a function")
    if all(isinstance(each, str) for each in inputs):  # LiveCodeBench: a line of JSON an argument
        inputs = [_json_lines(each, "inputs") for each in inputs]
        outputs = [_json_lines(each, "outputs")[0] if isinstance(each, str) else each
                   for each in outputs]  # fmt: skip
    given = [each if isinstance(each, list) else [each] for each in inputs]
    return Functions(name, tuple(given), tuple(outputs), float(tolerance), checker)


def _column(value: Mapping[str, Any], names: Sequence[str]) -> Any:
    for name in names:
        if name in value:
            return value[name]
    raise ValueError(f"tests are JSON without {names[0]}: {shorten(json.dumps(value))}")


def _text(value: Any, what: str) -> str:
    """Standard input or output: a text, or the list of its lines."""
    if isinstance(value, list) and all(isinstance(each, str) for each in value):
        return "\n".join(value)
    if not isinstance(value, str):
        raise ValueError(f"{what} must be texts or lists of lines, found {shorten(repr(value))}")
    return value


def _json_lines(text: str, what: str) -> list[Any]:
    try:
        return [json.loads(line) for line in text.split("\n") if line.strip()] or [None]
    except (ValueError, RecursionError):
        raise ValueError(f"{what} of a function are no JSON: {shorten(repr(text))}") from None


def _is_python(text: str) -> bool:
    try:
        compile(text, "<tests>", "exec")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
