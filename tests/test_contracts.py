"""The Python functions that users and outside tools call: their paths, names and parameters.

A contract that moves without a reason stated is a broken one. What a row asks for beyond the
signature, such as what is returned, is held by the tests of its module.
"""

from __future__ import annotations

import importlib
import inspect

import pytest

# Path of a function, and the parameters that may be given: positional in order, then by keyword.
CONTRACTS = {
    "assets.puzzle.search.search": (
        "candidates limits objective",
        "groups max_distinct max_noops fixed forbidden time_limit",
    ),
    "assets.puzzle.search.search_many": ("candidates limits objective", "k min_distance"),
    "assets.puzzle.fusion.fuse": ("model runs", ""),
    "resources.verifiers.math.verify": ("answer expected", ""),
    "resources.verifiers.code.verify": ("program tests language limits", ""),
    "resources.verifiers.tools.verify": ("response expected_json schema", ""),
    "resources.models.loading.load": ("folder device dtype", ""),
    "resources.models.template.encode": ("tokenizer messages thinking", "tools toggle"),
    "assets.rl_data.pass_rates.decide": (
        "correct incorrect unknown truncated",
        "discard_at judged_share chance",
    ),
    "resources.verifiers.instructions.verify": (
        "response instruction_ids kwargs prompt loose",
        "",
    ),
    "resources.verifiers.reasoning.split": ("response", ""),
    "resources.verifiers.reasoning.follows_toggle": ("response reasoning", ""),
    "assets.sft_data.decontaminate.matches": ("questions benchmarks", ""),
    "assets.rl_data.curriculum.plan": ("pass_rates batch_size method sigma seed", ""),
    "resources.training.objectives.cross_entropy": ("logits labels weights total", ""),
    "resources.training.objectives.distillation": (
        "student_logits teacher_logits weights total temperature direction",
        "",
    ),
    "resources.training.objectives.policy": (
        "logprobs old_logprobs advantages mask total",
        "clip reference_logprobs beta aggregation engine_logprobs",
    ),
    "resources.training.objectives.advantages": ("rewards groups method", ""),
    "resources.training.objectives.rpo": (
        "chosen rejected chosen_reference rejected_reference chosen_reward rejected_reward",
        "beta eta form",
    ),
}
TYPES = (
    "assets.puzzle.search.Architecture",
    "assets.puzzle.search.InfeasibleError",
    "resources.training.objectives.Loss",
    "resources.verifiers.verdict.Verdict",
)


def found(path: str) -> object:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


@pytest.mark.parametrize("path", [*CONTRACTS, *TYPES])
def test_every_path_of_the_contract_imports(path: str) -> None:
    assert callable(found(path))


@pytest.mark.parametrize("path", CONTRACTS)
def test_every_parameter_of_the_contract_is_taken(path: str) -> None:
    positional, keywords = (names.split() for names in CONTRACTS[path])
    parameters = list(inspect.signature(found(path)).parameters.values())  # type: ignore[arg-type]
    ordered = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD]
    assert ordered[: len(positional)] == positional
    assert set(keywords) <= {each.name for each in parameters} | unpacked(path)


def unpacked(path: str) -> set[str]:
    """The keywords that a function takes as one typed `**rules`."""
    function = found(path)
    for each in inspect.signature(function).parameters.values():  # type: ignore[arg-type]
        if each.kind is each.VAR_KEYWORD:
            module = importlib.import_module(function.__module__)
            name = str(each.annotation).removeprefix("Unpack[").removesuffix("]")
            return set(vars(module)[name].__annotations__)
    return set()
