"""Our verdicts on tool calls against `bfcl-eval`'s own `ast_checker`, on its data.

    HEIRLOOM_BFCL=…/bfcl_eval-2026.3.23-py3-none-any.whl python -m benchmarks.bfcl

No model is asked. Each ground truth is answered as it stands and in every way of `MUTATIONS`, each
answer in one of the notations that models write; prints a Markdown table by category and mutation,
then every answer that the two judge differently. The wheel is data, and no dependency: it is
unpacked to a temporary folder, with a stand-in for `constants.model_config`, which would import
every engine.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import types
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from resources.verifiers import tools

WHEEL = "HEIRLOOM_BFCL"
CATEGORIES = ("simple_python", "multiple", "parallel", "parallel_multiple", "live_simple")
FOREIGN = ("simple_java", "simple_javascript")
Calls = list[dict[str, dict[str, Any]]]
Truth = list[dict[str, dict[str, list[Any]]]]


@contextmanager
def unpacked(wheel: Path) -> Iterator[Path]:
    """The folder of the package's files while its modules can be imported."""
    with tempfile.TemporaryDirectory() as name:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(name)
        stand_in = types.ModuleType("bfcl_eval.constants.model_config")
        config = SimpleNamespace(underscore_to_dot=False)
        stand_in.MODEL_CONFIG_MAPPING = {"any": config}  # type: ignore[attr-defined]
        sys.modules[stand_in.__name__] = stand_in
        sys.path.insert(0, name)
        try:
            yield Path(name) / "bfcl_eval"
        finally:
            sys.path.remove(name)
            for module in [each for each in sys.modules if each.startswith("bfcl_eval")]:
                del sys.modules[module]


def rows(folder: Path, category: str) -> Iterator[tuple[str, list[dict[str, Any]], Truth]]:
    """Id, offered tools and ground truth of each problem; irrelevance has no truth: no call."""
    name = f"BFCL_v4_{category}.json"
    answers = folder / "data" / "possible_answer" / name
    truths = {}
    if answers.exists():
        truths = {r["id"]: r["ground_truth"] for r in map(json.loads, answers.open())}
    for row in map(json.loads, (folder / "data" / name).open()):
        yield row["id"], row["function"], truths.get(row["id"], [])


def answer(truth: Truth, *, optional: bool = True, last: bool = False) -> Calls:
    """Calls that take an accepted value for each argument: the first or the last one."""
    made: Calls = []
    for each in truth:
        ((name, accepted),) = each.items()
        arguments = {}
        for parameter, values in accepted.items():
            given = [value for value in values if value != ""]
            if given and (optional or "" not in values):
                arguments[parameter] = _value(given[-1 if last else 0])
        made.append({name: arguments})
    return made


def _value(accepted: Any) -> Any:
    """An accepted value; inside a dict, a list is of accepted ones again."""
    if isinstance(accepted, dict):
        inner = {key: [v for v in values if v != ""] for key, values in accepted.items()}
        return {key: _value(values[0]) for key, values in inner.items() if values}
    if isinstance(accepted, list):
        return [_value(each) for each in accepted]
    return deepcopy(accepted)


def _changed(change: Callable[[Any], Any]) -> Callable[[Calls, random.Random], None]:
    """A mutation of one argument's value."""

    def mutate(made: Calls, drawn: random.Random) -> None:
        arguments = next(iter(drawn.choice(made).values()))
        if arguments:
            parameter = drawn.choice(sorted(arguments))
            arguments[parameter] = change(arguments[parameter])

    return mutate


def _other(value: Any) -> Any:
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 1
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, list):
        return [*value[:-1], _other(value[-1])] if value else ["x"]
    if isinstance(value, dict) and value:
        key = sorted(value)[0]
        return value | {key: _other(value[key])}
    return "x"


def _retyped(value: Any) -> Any:
    if isinstance(value, str):
        return [value]
    if isinstance(value, bool):
        return str(value)
    if isinstance(value, (int, float)):
        return str(value)
    return json.dumps(value)


def _number(value: Any) -> Any:
    """The same number of the other kind; other values stay."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    return float(value) if isinstance(value, int) else int(value)


def _dropped(made: Calls, drawn: random.Random) -> None:
    arguments = next(iter(drawn.choice(made).values()))
    if arguments:
        del arguments[drawn.choice(sorted(arguments))]


def _extra(made: Calls, drawn: random.Random) -> None:
    next(iter(drawn.choice(made).values()))["unasked"] = 1


def _renamed(made: Calls, drawn: random.Random) -> None:
    index = drawn.randrange(len(made))
    ((name, arguments),) = made[index].items()
    made[index] = {name + "_other": arguments}


def _parameter(made: Calls, drawn: random.Random) -> None:
    arguments = next(iter(drawn.choice(made).values()))
    if arguments:
        name = drawn.choice(sorted(arguments))
        arguments[name + "_"] = arguments.pop(name)


MUTATIONS: dict[str, Callable[[Calls, random.Random], object]] = {
    "as it stands": lambda made, drawn: None,
    "calls in another order": lambda made, drawn: drawn.shuffle(made),
    "wrong value": _changed(_other),
    "type changed": _changed(_retyped),
    "integer and float swapped": _changed(_number),
    "null": _changed(lambda value: None),
    "case, spaces, full stops": _changed(lambda v: f" {v.upper()}." if isinstance(v, str) else v),
    "list reversed": _changed(lambda v: v[::-1] if isinstance(v, list) else v),
    "argument missing": _dropped,
    "argument added": _extra,
    "parameter renamed": _parameter,
    "wrong name": _renamed,
    "a call missing": lambda made, drawn: made.pop(),
    "a call twice": lambda made, drawn: made.append(deepcopy(made[0])),
}


def written(made: Calls, drawn: random.Random) -> str:
    """The calls as a model writes them, in one of the notations."""
    named = [{"name": n, "arguments": a} for each in made for n, a in each.items()]
    text = json.dumps(named)
    functions = [
        {"type": "function", "function": each | {"arguments": json.dumps(each["arguments"])}}
        for each in named
    ]
    parts = [
        f"{n}({', '.join(f'{k}={v!r}' for k, v in a.items())})"
        for each in made
        for n, a in each.items()
    ]
    choices = [
        f"I call.\n<TOOLCALL>{text}</TOOLCALL>",
        "\n".join(f"<tool_call>\n{json.dumps(each)}\n</tool_call>" for each in named),
        text,
        f"```json\n{text}\n```",
        json.dumps({"tool_calls": functions}),
    ]
    if all(key.isidentifier() for each in made for a in each.values() for key in a):
        choices += [f"[{', '.join(parts)}]", f"```python\n[{', '.join(parts)}]\n```"]
    return drawn.choice(choices)


def main() -> int:
    """Print the table and the disagreements; 0 where the wheel is not given."""
    wheel = os.environ.get(WHEEL)
    if not wheel:
        print(f"skipped: {WHEEL} names no wheel of bfcl-eval")
        return 0
    with unpacked(Path(wheel)) as folder:
        table, differing = compare(folder)
        for line in table:
            print(line)
        print(f"\n{len(differing)} differ")
        for line in differing:
            print(f"- {line}")
        for category in FOREIGN:
            found = foreign(folder, category)
            print(f"{category}, told by its tools alone: {dict(found)}")
    return 0


def compare(folder: Path, step: int = 1) -> tuple[list[str], list[str]]:
    """Lines of the table (equal verdicts of all, and how many are valid), and what differs.

    Takes every `step`-th problem.
    """
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import (  # type: ignore[import-not-found]
        ast_checker,
    )

    lines = [f"| | {' | '.join(CATEGORIES)} |", f"|---{'|---' * len(CATEGORIES)}|"]
    cells: Counter[tuple[str, str, str]] = Counter()
    differing = []
    ways = [("", {}), (", optional left out", {"optional": False}), (", last", {"last": True})]
    for category in CATEGORIES:
        for name, offered, truth in list(rows(folder, category))[::step]:
            for mutation, mutate in MUTATIONS.items():
                for way, options in ways if mutation == "as it stands" else ways[:1]:
                    drawn = random.Random(f"{name} {mutation}")
                    made = answer(truth, **options)
                    mutate(made, drawn)
                    text = written(made, drawn)
                    theirs = ast_checker(offered, made, truth, Language.PYTHON, category, "any")[
                        "valid"
                    ]
                    ours = tools.verify(text, json.dumps(truth), offered)
                    key = category, mutation + way
                    cells[*key, "all"] += 1
                    cells[*key, "valid"] += theirs
                    cells[*key, "equal"] += ours.verdict == ("correct" if theirs else "incorrect")
                    if ours.verdict != ("correct" if theirs else "incorrect"):
                        differing.append(
                            f"{name}, {mutation}{way}: ast_checker {theirs}, ours {ours.verdict} "
                            f"({ours.evidence}); calls {made}; accepted {truth}"
                        )
    for mutation in dict.fromkeys(key[1] for key in cells):
        shown = [
            f"{cells[c, mutation, 'equal']}/{cells[c, mutation, 'all']} "
            f"({cells[c, mutation, 'valid']} valid)"
            for c in CATEGORIES
        ]
        lines.append(f"| {mutation} | {' | '.join(shown)} |")
    lines.append(f"| irrelevance | {irrelevance(folder)} |")
    return lines, differing


def irrelevance(folder: Path) -> str:
    """A refusal is right and a call is wrong, which is all that BFCL asks there."""
    right = wrong = count = 0
    for _, offered, truth in rows(folder, "irrelevance"):
        count += 1
        call = {offered[0]["name"]: {}}
        right += tools.verify("None of the tools helps.", json.dumps(truth), offered).correct
        made = written([call], random.Random(count))
        wrong += tools.verify(made, json.dumps(truth), offered).verdict == "incorrect"
    return f"{right}/{count} refusals correct, {wrong}/{count} calls incorrect"


def foreign(folder: Path, category: str) -> Counter[str]:
    """Verdicts on the truths of another language, given as calls."""
    found: Counter[str] = Counter()
    for _, offered, truth in rows(folder, category):
        text = written(answer(truth), random.Random(0))
        found[tools.verify(text, json.dumps(truth), offered).verdict] += 1
    return found


if __name__ == "__main__":
    sys.exit(main())
