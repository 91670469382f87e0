"""Preference pairs for offline RPO: a model's own responses, the best and the worst by reward.

Answers each prompt several times, scores the answers with the reward model and pairs the extremes.
Round 1 of the paper mixes reasoning on and off, round 2 is instruction following.
Source: arXiv 2505.00949 section 6.2 (Nano).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl_data.ranked_pairs import Pair, pair_table, sampled
from resources.chat.chat import Chat
from resources.engines.opening import open_engine
from resources.engines.protocol import Sampling
from resources.models import reward
from resources.models.precision import Precision
from resources.tasks.drawing import draw_by_domain, modes, prompt_rows
from resources.verifiers import attempts
from resources.verifiers.extremes import extremes
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution


def build_preference_pairs(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """One pair a prompt and round, from `samples` responses of `inputs["model"]`.

    A prompt whose responses all score the same, or whose extremes are one text, gives no pair. All
    rounds are sampled from the same checkpoint, the one that the first round starts from.
    """
    model = inputs["model"]
    rows = prompt_rows(inputs["prompts"].table("prompts"))
    sampling = Sampling(
        temperature=recipe["temperature"],
        top_p=recipe["top_p"],
        max_new_tokens=recipe["max_new_tokens"],
        seed=recipe["seed"],
    )
    engine = open_engine(
        model, model.data_version, execution, recipe.get("dtype"), role="preferences"
    )
    judge, device = inputs["reward_model"].path(), execution.device
    scorer = reward.load(judge, device=device, dtype=Precision.of(recipe, device).weights(judge))
    scorer_chat = Chat.load(judge)

    made: list[attempts.Attempt] = []
    ranked: list[_Ranked] = []
    rounds: list[int] = []
    seen: set[tuple[bytes, str]] = set()
    for number, section in enumerate(recipe["rounds"]):
        answered = attempts.attempt(engine, _asked(rows, recipe, section, number), sampling)
        # All samples of a prompt, or none, find room in the model's context.
        there = [each for each in answered if each.answered]
        scores = reward.score(scorer, attempts.sequences(there, engine.chat, scorer_chat))
        found = _ranked(there, scores, recipe["samples"])
        ranked += found
        rounds += [number] * len(found)
        made += [
            a for a in answered if (a.prompt.problem["row_id"], a.prompt.reasoning) not in seen
        ]
        seen |= {(a.prompt.problem["row_id"], a.prompt.reasoning) for a in answered}

    generations, verdicts = attempts.tables(
        made, recipe["asset_key"], model.key, model.data_version, sampling
    )
    table = pair_table(
        [each.pair for each in ranked],
        recipe["asset_key"],
        [each.best for each in ranked],
        [each.worst for each in ranked],
        round=rounds,
    )
    count = max(len(ranked), 1)
    return Output(
        tables={"preferences": table, "generations": generations, "verdicts": verdicts},
        metrics={
            "pairs": float(len(ranked)),
            "mean_reward_gap": sum(each.best - each.worst for each in ranked) / count,
            "reasoning_on": sum(each.pair.prompt.reasoning == "on" for each in ranked) / count,
        },
        observations={"requests": attempts.usage(engine)},
    )


@dataclass(frozen=True)
class _Ranked:
    """A pair, and the rewards of its better and its worse response."""

    pair: Pair
    best: float
    worst: float


def _asked(
    rows: Sequence[dict[str, Any]],
    recipe: Mapping[str, Any],
    section: Mapping[str, Any],
    number: int,
) -> list[attempts.Prompt]:
    """The prompts of a round, each `samples` times in a row."""
    seed = [recipe["seed"], number]
    chosen = draw_by_domain(rows, recipe["prompts"], section["domains"], seed)
    share = 1 / len(section["reasoning"])
    return [
        attempts.Prompt(problem, mode, index)
        for problem, mode in zip(
            chosen, modes(len(chosen), section["reasoning"], share, seed), strict=True
        )
        for index in range(recipe["samples"])
    ]


def _ranked(
    answered: Sequence[attempts.Attempt], scores: Sequence[float], samples: int
) -> list[_Ranked]:
    """The best and the worst of every `samples` responses by score, where they differ."""
    found = []
    groups = [place // samples for place in range(len(scores))]
    for best, worst in extremes(scores, groups):
        # Equal answers may differ in the last bits of their scores.
        if answered[best].completion.text == answered[worst].completion.text:
            continue
        pair = Pair(
            answered[best].prompt, sampled(answered[best]), sampled(answered[worst]), "reward"
        )
        found.append(_Ranked(pair, scores[best], scores[worst]))
    return found
