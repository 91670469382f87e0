"""Predicts tokens and seconds of every stage from a recipe and its machine's measured rates.

`python -m resources.costs.budget tiny` prints the prediction. Knows no asset: stages
are named, not looked up.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass

from resources.recipe.base import Count, NonNegative, Section
from resources.recipe.family import Family
from resources.recipe.model import ModelRecipe
from resources.recipe.reinforcement import Grpo, Rloo
from resources.recipe.schema import Recipe


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
    """Return tokens (trained, scored and sampled once each) and seconds by stage, in order.

    Example and response lengths, relative model costs and layer counts are the execution
    settings' `typical` and `sizes`.
    """
    return {
        stage: Planned(tokens=tokens, seconds=seconds) for stage, tokens, seconds in _stages(recipe)
    }


def _stages(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    family, typical = recipe.family, recipe.execution.typical
    for name in recipe.models:
        yield from _architecture(recipe, name)
    teacher = _machine(recipe, "teacher")
    on = sum(d.prompts * d.samples_on for d in family.sft_data.values()) * typical.response_on
    off = sum(d.prompts * d.samples_off for d in family.sft_data.values()) * typical.response_off
    yield "sft_data", on + off, teacher.sample(on + off)
    for name, model in recipe.models.items():
        machine = _machine(recipe, name)
        for stage in model.sft:
            tokens = stage.tokens or stage.samples * (stage.epochs or 1) * typical.example
            yield f"{name}/{stage.name}", tokens, machine.train(tokens)
    rates = family.pass_rates
    tokens = rates.prompts * rates.samples * typical.response_on
    yield "rl_data/pass_rates", tokens, _machine(recipe, rates.model).sample(tokens)
    for name, model in recipe.models.items():
        for stage_name, section in (("grpo", model.grpo), ("rloo", model.rloo)):
            if section is not None:
                yield f"{name}/{stage_name}", *_reinforcement(recipe, name, section)
    yield from _preferences(recipe)
    problems = (
        len(family.benchmarks.domains)
        * len(family.held_out.depths)
        * family.held_out.per_domain_per_depth
    )
    checkpoints = {name: len(model.artifacts()) for name, model in recipe.models.items()}
    for name, count in {**checkpoints, "teacher": 1}.items():
        tokens = problems * _answer_tokens(recipe, family) * count
        yield f"{name}/benchmarks", tokens, _machine(recipe, name).sample(tokens)


def _machine(recipe: Recipe, name: str) -> _Machine:
    rates = recipe.execution.rates
    size = recipe.execution.sizes.get(name)
    return _Machine(rates.train, rates.score, rates.sample, size.relative_cost if size else 1.0)


def _answer_tokens(recipe: Recipe, family: Family) -> int:
    typical, benchmarks = recipe.execution.typical, family.benchmarks
    off_samples = 1 if benchmarks.off.temperature == 0 else benchmarks.samples
    return benchmarks.samples * typical.response_on + off_samples * typical.response_off


def _architecture(recipe: Recipe, name: str) -> Iterator[tuple[str, int, float]]:
    model: ModelRecipe = recipe.models[name]
    machine = _machine(recipe, name)
    size = recipe.execution.sizes.get(name)
    layers = size.layers if size else 1
    if model.puzzle is not None:
        library, scores = model.puzzle.library, model.puzzle.scores
        trained = sum(v not in {"full", "noop"} for v in [*library.attention, *library.ffn])
        tokens = library.tokens or 0
        # A variant trains half a block in each layer: half of the model's training cost.
        seconds = machine.train(tokens * trained / 2) + machine.score(tokens)
        yield f"{name}/block_library", tokens, seconds
        candidates = len(library.attention) * len(library.ffn) - 1
        # From cached prefix activations, half of the model runs on average.
        seconds = machine.score(scores.tokens * layers * candidates / 2)
        yield f"{name}/block_scores", scores.tokens, seconds
    for stage, section in (
        ("distilled", model.distillation),
        ("continued", model.continued_pretraining),
    ):
        if section is not None:
            tokens = section.tokens or 0
            teacher = machine.score(tokens) if stage == "distilled" else 0.0
            yield f"{name}/{stage}", tokens, machine.train(tokens) + teacher


def _reinforcement(recipe: Recipe, name: str, section: Grpo | Rloo) -> tuple[int, float]:
    typical, machine = recipe.execution.typical, _machine(recipe, name)
    responses = section.steps * section.prompts_per_step * section.samples
    sampled, trained = responses * typical.response_on, responses * typical.example
    # The policy's own and the reference's log-probabilities are scored once each.
    seconds = machine.sample(sampled) + machine.train(trained) + machine.score(2 * trained)
    return sampled + trained, seconds


def _preferences(recipe: Recipe) -> Iterator[tuple[str, int, float]]:
    typical, reward = recipe.execution.typical, recipe.family.reward_model
    judge = _machine(recipe, reward.base)
    if reward.pretrained is None:
        answers = reward.prompts * reward.samples
        trained = reward.tokens or answers * (reward.epochs or 1) * typical.example
        sampled = answers * typical.response_on
        yield (
            "rl_data/reward_model",
            sampled + trained,
            judge.sample(sampled) + judge.train(trained),
        )
    for name, model in recipe.models.items():
        section = model.preference
        if section is None:
            continue
        machine, rounds = _machine(recipe, name), len(section.rounds)
        updates = rounds * section.steps * section.batch_size
        if section.method == "rpo_offline":
            responses, examples = rounds * section.prompts * section.samples, 2 * updates
        elif section.method == "rpo_online":
            responses, examples = updates * section.samples, 2 * updates
        else:
            responses = examples = updates
        sampled, trained = responses * typical.response_on, examples * typical.example
        seconds = (
            machine.sample(sampled)
            + machine.train(trained)
            + machine.score(trained)
            + judge.score(responses * typical.example)
        )
        yield f"{name}/{section.name}", sampled + trained, seconds


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
