"""Predicts tokens and seconds of every stage from a recipe and its machine's measured rates.

`python -m resources.costs.budget tiny` prints the prediction. Knows no asset: stages are named, not
looked up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from resources.costs.parents import size_of
from resources.costs.workload import asked_problems, efforts
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import Count, NonNegative, Section, needed
from resources.recipe.sections.benchmark import Benchmark
from resources.recipe.sections.data import WRITTEN
from resources.recipe.sections.family import HeldOutBenchmarks

UNSTATED = 1000  # problems of a declared benchmark, where the recipe does not limit them
TOKENS_PER_WORD = 1.5  # of English text and documentation, roughly


class Planned(Section):
    """What a stage is planned to cost: tokens processed and seconds on the stated machine."""

    tokens: Count
    seconds: NonNegative


@dataclass(frozen=True)
class _Machine:
    """Seconds of a model's work: `cost` times those of the model the rates are of."""

    train_rate: float
    score_rate: float
    sample_rate: float
    cost: float

    def train(self, tokens: float) -> float:
        return tokens / self.train_rate * self.cost

    def score(self, tokens: float) -> float:
        return tokens / self.score_rate * self.cost

    def sample(self, tokens: float) -> float:
        return tokens / self.sample_rate * self.cost


def predict(recipe: Recipe) -> dict[str, Planned]:
    """Return tokens (trained, scored and sampled once each) and seconds by asset.

    Example and response lengths, relative model costs and layer counts are the execution
    settings' `typical` and `sizes`.
    """
    return {key: Planned(tokens=tokens, seconds=seconds) for key, tokens, seconds in _all(recipe)}


def _all(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    yield from _stages(recipe)
    yield from _data(recipe)
    yield from _benchmarks(recipe)
    yield from _declared_benchmarks(recipe)
    yield from _side_by_side(recipe)


def _stages(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    """The stages of each model's line, and what they need of their own, as their sections say."""
    for name in recipe.models:
        machine = _machine(recipe, name)
        for asset, effort in efforts(recipe, name).items():
            seconds = machine.sample(effort.sampled) + machine.train(effort.trained)
            seconds += machine.score(effort.scored)
            seconds += machine.score(effort.measured)
            if effort.judged:
                reward = needed(recipe.family.reward_model, "reward_model")
                seconds += _machine(recipe, reward.base).score(effort.judged)
            yield f"{name}/{asset}", effort.tokens, seconds


def _data(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    """What the models share: answers of the teacher, pass rates, the reward model."""
    family, typical = recipe.family, recipe.execution.typical
    teacher = _machine(recipe, "teacher")
    for name, source in family.mixed_sources.items():
        if source.path.startswith(WRITTEN):
            tokens = (source.limit or 0) * (source.max_new_tokens or 0)
            writer = _machine(recipe, source.path.removeprefix(WRITTEN))
            yield f"problems/text_{name}", tokens, writer.sample(tokens)
    for name, data in recipe.answered.items():
        on, off, prompts = data.samples["on"], data.samples["off"], asked_problems(recipe, name)
        tokens = prompts * (on * typical.response_on + off * typical.response_off)
        yield f"sft_data/{name}_generations", tokens, teacher.sample(tokens)
        if data.judge:  # how many verdicts will be unknown is not known
            asked = prompts * (on + off)
            if data.judge == "unknown":
                asked = min(asked, family.judge.agreement)
            tokens = asked * typical.response_off
            yield f"sft_data/{name}_judgements", tokens, teacher.sample(tokens)
        if data.feedback_edit:
            section = family.feedback_edit
            drafts = prompts * min(off, section.drafts)
            replies = {"feedback": section.feedbacks, "edits": section.feedbacks, "choices": 2}
            for table, times in replies.items():
                tokens = drafts * times * typical.response_off
                yield f"sft_data/{name}_{table}", tokens, teacher.sample(tokens)
    rates, reward = family.pass_rates, family.reward_model
    if rates is not None:
        tokens = rates.prompts * rates.samples * typical.response_on
        yield "rl_data/pass_rates", tokens, _machine(recipe, rates.model).sample(tokens)
    if reward is not None and reward.pretrained is None:
        judge, answers = _machine(recipe, reward.base), reward.prompts * reward.samples
        trained = reward.tokens or answers * (reward.epochs or 1) * typical.example
        sampled = answers * typical.response_on
        seconds = judge.sample(sampled) + judge.train(trained)
        yield "rl_data/reward_model", sampled + trained, seconds


def _side_by_side(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    section = recipe.family.side_by_side
    if section is None:
        return
    for name, model in recipe.models.items():
        read = section.tokens * len(model.artifacts())
        written = len(section.prompts) * section.max_new_tokens * len(model.artifacts())
        machine = _machine(recipe, name)
        seconds = machine.score(read) + machine.sample(written)
        yield f"{name}/side_by_side", read + written, seconds


def _benchmarks(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    section, held_out = recipe.family.own_benchmarks, recipe.family.held_out
    if section is None or held_out is None:
        return
    problems = len(section.domains) * len(held_out.depths) * held_out.per_domain_per_depth
    tokens = problems * _answer_tokens(recipe, section)
    for name, model in recipe.models.items():
        for artifact in model.artifacts():
            seconds = _machine(recipe, name).sample(tokens)
            yield f"{recipe.checkpoint_key(name, artifact)}_benchmarks", tokens, seconds
    yield "parents/teacher_benchmarks", tokens, _machine(recipe, "teacher").sample(tokens)


def _declared_benchmarks(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    """Every checkpoint on every declared benchmark, of `UNSTATED` problems without a `limit`."""
    typical = recipe.execution.typical
    for benchmark, protocol in recipe.family.declared_benchmarks.items():
        problems = protocol.limit or UNSTATED
        read = problems * _asked_tokens(protocol, typical.example)
        modes = [
            typical.response_on if mode == "on" else typical.response_off
            for mode in protocol.thinking or ["off"]
        ]
        written = sum(min(each, protocol.max_new_tokens) for each in modes)
        written *= problems * protocol.samples if protocol.method == "generate" else 0
        for name, model in recipe.models.items():
            machine = _machine(recipe, name)
            for artifact in model.artifacts():
                key = recipe.checkpoint_key(name, artifact)
                seconds = machine.score(read) + machine.sample(written)
                yield f"{key}_benchmark_{benchmark}", read + written, seconds


def _asked_tokens(protocol: Benchmark, typical: int) -> int:
    """Tokens read of a problem: a passage once and its options, where it is one; else `typical`."""
    section = protocol.continuations
    if section is None:
        return typical
    return round(TOKENS_PER_WORD * (section.words + section.options * section.after))


def _machine(recipe: Recipe, name: str) -> _Machine:
    rates = recipe.execution.rates
    cost = size_of(recipe, name).relative_cost
    return _Machine(rates.train, rates.score, rates.sample, cost)


def _answer_tokens(recipe: Recipe, benchmarks: HeldOutBenchmarks) -> int:
    typical = recipe.execution.typical
    off_samples = 1 if benchmarks.off.temperature == 0 else benchmarks.samples
    return benchmarks.samples * typical.response_on + off_samples * typical.response_off


def main(arguments: list[str]) -> int:
    """Print the prediction of a recipe, stage by stage, in YAML."""
    from resources.recipe.errors import RecipeError
    from resources.recipe.loading import load

    if len(arguments) != 1:
        print("usage: python -m resources.costs.budget RECIPE", file=sys.stderr)
        return 2
    try:
        planned = predict(load(arguments[0], check_paths=False))
    except RecipeError as error:
        print(error, file=sys.stderr)
        return 1
    print("budget:")
    for stage, plan in planned.items():
        print(f"  {stage}: {{tokens: {plan.tokens}, seconds: {plan.seconds:.1f}}}")
    print(f"# total {sum(p.seconds for p in planned.values()):.0f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
