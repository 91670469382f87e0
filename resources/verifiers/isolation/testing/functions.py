"""A program's named function on given arguments, case by case, in the tester's process.

The function stands at the top level or is a method of a class `Solution`, of which every case gets
a new instance, as LeetCode has it. What it returns is compared here, as plain data.
"""

import copy
from collections.abc import Callable, Mapping
from typing import Any

from resources.verifiers.isolation.connection import arrays
from resources.verifiers.isolation.connection.peer import Peer
from resources.verifiers.isolation.connection.remote import Remote, Stop, show
from resources.verifiers.isolation.results import described, failed, result
from resources.verifiers.isolation.testing import matching

CLASS = "Solution"


def names(job: Mapping[str, Any]) -> list[str]:
    """What of the program the job needs by name."""
    if "cases" in job:
        return [job["cases"]["name"], CLASS]
    return [job["call"][0]] if "call" in job else []


def judge(found: Mapping[str, Any], cases: Mapping[str, Any], peer: Peer) -> dict[str, Any]:
    """The result of the cases, up to the first that is not right: `cases` has their name, inputs,
    outputs, tolerance and checker."""
    name = cases["name"]
    count = len(cases["inputs"])
    if not isinstance(found.get(name), Remote) and not isinstance(found.get(CLASS), Remote):
        return result("incorrect", f"the program has no function {name}")
    for index, (given, wanted) in enumerate(zip(cases["inputs"], cases["outputs"], strict=True), 1):
        where = f"test {index} of {count}: {_shown(name, given)}"
        arguments = copy.deepcopy(given)
        try:
            value = _function(found, name)(*arguments)
            value = _listed(value) if isinstance(value, Remote) else arrays.plain(value)
        except Exception as error:
            return failed(error, f"{where} raised {described(error)}")
        if isinstance(value, Remote):
            return result("unknown", f"{where} returned {value!r}, which is not data")
        right = matching.returned(value, wanted, cases["checker"], cases["tolerance"])
        if not right and value is None and arguments:  # LeetCode: changed in place
            changed = arguments[0]
            right = changed != given[0] and matching.returned(
                changed, wanted, cases["checker"], cases["tolerance"]
            )
        if Stop.raised:
            raise Stop.raised[0]
        if not right:
            text = f"{where} returned {show(value)}, expected {show(wanted)}"
            return result("incorrect", text)
    return result("correct", f"all {count} tests passed")


def _function(found: Mapping[str, Any], name: str) -> Callable[..., Any]:
    function = found.get(name)
    if not isinstance(function, Remote):
        function = getattr(found[CLASS](), name)
    return function


def _listed(value: Remote) -> Any:
    """What an iterator of the program yields, as a list; other objects stay what they are."""
    return list(value) if value._type in ("generator", "map", "filter", "zip") else value


def _shown(name: str, given: list[Any]) -> str:
    return f"{name}({', '.join(show(each, 60) for each in given)})"
