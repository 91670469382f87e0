"""Preference pairs for offline RPO: a model's own responses, the best and the worst by reward.

Answers each prompt several times, scores the answers with the reward model and pairs the extremes.
Round 1 of the paper mixes reasoning on and off, round 2 is instruction following.
Source: arXiv 2505.00949 section 6.2 (Nano).
"""

from __future__ import annotations

from collections.abc import Mapping
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
    engine = open_engine(model, model.data_version, execution, recipe.get("dtype"))
    judge, device = inputs["reward_model"].path(), execution.device
    scorer = reward.load(judge, device=device, dtype=Precision.of(recipe, device).weights(judge))
    scorer_chat = Chat.load(judge)

    made: list[attempts.Attempt] = []
    pairs: list[Pair] = []
    rewards: list[tuple[float, float]] = []
    rounds: list[int] = []
    seen: set[tuple[bytes, str]] = set()
    for number, section in enumerate(recipe["rounds"]):
        seed = [recipe["seed"], number]
        chosen = draw_by_domain(rows, recipe["prompts"], section["domains"], seed)
        share = 1 / len(section["reasoning"])
        asked = [
            attempts.Prompt(problem, mode, index)
            for problem, mode in zip(
                chosen, modes(len(chosen), section["reasoning"], share, seed), strict=True
            )
            for index in range(recipe["samples"])
        ]
        answered = attempts.attempt(engine, asked, sampling)
        scores = reward.score(scorer, attempts.sequences(answered, engine.chat, scorer_chat))
        groups = [place // recipe["samples"] for place in range(len(scores))]
        for best, worst in extremes(scores, groups):
            # Equal answers may differ in the last bits of their scores.
            if answered[best].completion.text == answered[worst].completion.text:
                continue
            pairs.append(
                Pair(
                    answered[best].prompt,
                    sampled(answered[best]),
                    sampled(answered[worst]),
                    "reward",
                )
            )
            rewards.append((scores[best], scores[worst]))
            rounds.append(number)
        made += [
            a for a in answered if (a.prompt.problem["row_id"], a.prompt.reasoning) not in seen
        ]
        seen |= {(a.prompt.problem["row_id"], a.prompt.reasoning) for a in answered}

    generations, verdicts = attempts.tables(
        made, recipe["asset_key"], model.key, model.data_version, sampling
    )
    table = pair_table(
        pairs,
        recipe["asset_key"],
        [best for best, _ in rewards],
        [worst for _, worst in rewards],
        round=rounds,
    )
    gaps = [best - worst for best, worst in rewards]
    return Output(
        tables={"preferences": table, "generations": generations, "verdicts": verdicts},
        metrics={
            "pairs": float(len(pairs)),
            "mean_reward_gap": sum(gaps) / max(len(gaps), 1),
            "reasoning_on": sum(pair.prompt.reasoning == "on" for pair in pairs)
            / max(len(pairs), 1),
        },
        observations={"requests": attempts.usage(engine)},
    )
