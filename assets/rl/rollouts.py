"""One step's experience: ask the current policy, judge, reward, and keep every response as a row.

The one rollout engine of GRPO, RLOO and online RPO. It knows prompts, engines and rewards; what is
then done with the advantages is the trainer's business.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from assets.rl.batches import Tokens
from assets.rl.slots import Slot
from resources.chat.chat import Chat
from resources.engines.protocol import Engine, Sampling
from resources.models import reward as reward_models
from resources.training.objectives import advantages
from resources.verifiers.attempts import Attempt, Prompt, attempt, sequences

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Rollout:
    """A judged response with its tokens, reward parts and advantage.

    `group` is the prompt's place in the step. `accuracy` is 1, 0, or None where the verifier could
    not decide; `score` is the reward model's. `reward` None means that the response is left out of
    its group. `engine_logprobs` has one value a response token. Where the model's context has no
    room for the prompt there is no response, and nothing is learned (`apart`).
    """

    attempt: Attempt
    group: int
    tokens: Tokens
    engine_logprobs: list[float]
    accuracy: float | None
    format: float
    score: float | None = None
    reward: float | None = None
    advantage: float = 0.0


Rewarder = Callable[[Sequence[Rollout]], list[Rollout]]


def verifier_reward(weights: Mapping[str, float]) -> Rewarder:
    """accuracy weight x (verdict correct) + format weight x (toggle obeyed).

    Source: arXiv 2505.00949 section 5 (accuracy and format rewards; format also in "off" mode). An
    `unknown` verdict gives no reward at all, neither right nor wrong.
    """

    def rewarded(rollouts: Sequence[Rollout]) -> list[Rollout]:
        return [
            one
            if one.accuracy is None
            else replace(
                one,
                reward=weights["accuracy"] * one.accuracy + weights["format"] * one.format,
            )
            for one in rollouts
        ]

    return rewarded


def model_reward(path: Path, asked: Chat, device: str, dtype: str) -> Rewarder:
    """The reward model's score of prompt and response (arXiv 2505.00949 section 6.2).

    `asked` is the chat of the model that answers.
    """
    model, chat = reward_models.load(path, device=device, dtype=dtype), Chat.load(path)

    def rewarded(rollouts: Sequence[Rollout]) -> list[Rollout]:
        read = sequences([one.attempt for one in rollouts], asked, chat)
        scores = reward_models.score(model, read)
        return [
            replace(one, score=score, reward=score)
            for one, score in zip(rollouts, scores, strict=True)
        ]

    return rewarded


def collect(
    engine: Engine,
    slots: Sequence[Slot],
    samples: int,
    sampling: Sampling,
    rewarder: Rewarder,
) -> list[Rollout]:
    """`samples` responses to every slot, judged and rewarded, slot by slot.

    A prompt that stands in several slots goes on counting its samples, so that no two responses of
    a step share their random numbers. Without a response there is no reward.
    """
    prompts: list[Prompt] = []
    asked: dict[tuple[bytes, str], int] = {}
    for problem, reasoning in slots:
        start = asked.get((problem["row_id"], reasoning), 0)
        asked[problem["row_id"], reasoning] = start + samples
        prompts += [Prompt(problem, reasoning, start + index) for index in range(samples)]
    accuracy = {"correct": 1.0, "incorrect": 0.0, "unknown": None}
    rollouts = []
    for index, made in enumerate(attempt(engine, prompts, sampling, logprobs=True)):
        logprobs = made.completion.logprobs
        if logprobs is None or len(logprobs) != len(made.completion.token_ids):
            raise ValueError(
                f"{type(engine).__name__} gave no log-probability for every token; RL needs them"
            )
        group = index // samples
        rollouts.append(
            Rollout(
                made,
                group,
                Tokens(made.completion.prompt_ids, made.completion.token_ids),
                logprobs,
                accuracy[made.verdict.verdict],
                float(made.follows_toggle),
            )
        )
    rewarded = iter(rewarder([one for one in rollouts if one.attempt.answered]))
    return [next(rewarded) if one.attempt.answered else one for one in rollouts]


def apart(rollouts: Sequence[Rollout]) -> tuple[list[Rollout], list[Rollout]]:
    """Those that have a response, and those whose prompts the context had no room for.

    Raises ValueError where none has one.
    """
    answered = [one for one in rollouts if one.attempt.answered]
    if not answered:
        raise ValueError(
            f"{rollouts[0].attempt.verdict.evidence}, one of "
            f"{rollouts[0].attempt.completion.prompt_tokens:,} tokens, nor for any other of the "
            "step: train on shorter ones, or a model of a longer context"
        )
    return answered, [one for one in rollouts if not one.attempt.answered]


def with_advantages(rollouts: Sequence[Rollout], method: str) -> list[Rollout]:
    """Advantages within groups, over rewarded responses.

    Exactly 0 in a group whose rewards are all equal (or has fewer than two): rounding in the mean
    must not leave a trace that is then divided by a vanishing deviation.
    """
    members: dict[int, list[int]] = {}
    for index, one in enumerate(rollouts):
        if one.reward is not None:
            members.setdefault(one.group, []).append(index)
    chosen = [
        index
        for group in members.values()
        if len({rollouts[index].reward for index in group}) > 1
        for index in group
    ]
    made = [replace(one, advantage=0.0) for one in rollouts]
    if chosen:
        values = advantages(
            torch.tensor([rollouts[index].reward for index in chosen], dtype=torch.float64),
            torch.tensor([rollouts[index].group for index in chosen]),
            method,
        )
        for index, value in zip(chosen, values.tolist(), strict=True):
            made[index] = replace(made[index], advantage=value)
    return made


def rollout_table(
    rollouts: Sequence[Rollout],
    asset_key: str,
    model: str,
    stage: str,
    step: int,
    policy_version: str,
) -> pa.Table:
    """Every response of a step as rows of `rollouts`, used or not."""
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    problems = [one.attempt.prompt.problem for one in rollouts]
    count = len(rollouts)

    def column(kind: pa.DataType, values: Sequence[Any]) -> pa.Array:
        return pa.array(list(values), kind)

    completions = [one.attempt.completion for one in rollouts]
    table = pa.table(
        {
            "model": column(pa.string(), [model] * count),
            "stage": column(pa.string(), [stage] * count),
            "step": column(pa.int64(), [step] * count),
            "problem_id": column(pa.binary(16), [p["row_id"] for p in problems]),
            "sample_index": column(pa.int64(), [r.attempt.prompt.sample_index for r in rollouts]),
            "response": column(pa.string(), [c.text for c in completions]),
            "reward": column(pa.float64(), [r.reward for r in rollouts]),
            "reward_accuracy": column(pa.float64(), [r.accuracy for r in rollouts]),
            "reward_format": column(pa.float64(), [r.format for r in rollouts]),
            "advantage": column(pa.float64(), [r.advantage for r in rollouts]),
            "tokens": column(pa.int64(), [c.completion_tokens for c in completions]),
            "policy_version": column(pa.string(), [policy_version] * count),
            "reasoning": column(pa.string(), [r.attempt.prompt.reasoning for r in rollouts]),
            "domain": column(pa.string(), [p["domain"] for p in problems]),
            "verdict": column(pa.string(), [r.attempt.verdict.verdict for r in rollouts]),
            "evidence": column(pa.string(), [r.attempt.verdict.evidence for r in rollouts]),
            "finish_reason": column(pa.string(), [c.finish_reason for c in completions]),
            "reward_model": column(pa.float64(), [r.score for r in rollouts]),
            "slot": column(pa.int64(), [r.group for r in rollouts]),
        }
    )
    parents = parents_of([[p["row_id"]] for p in problems], [[p["asset_key"]] for p in problems])
    content = ["step", "reasoning", "response"]
    return with_ids(table, asset_key, content, parents, sample_index_column="sample_index")


def summary(rollouts: Sequence[Rollout]) -> dict[str, float]:
    """Means over a step's responses; accuracy by mode where the mode was asked.

    `no_room`, where there is any, is the share of prompts without a response.
    """

    def mean(values: Sequence[float]) -> float:
        return sum(values) / max(len(values), 1)

    count = len(rollouts)
    rollouts = [one for one in rollouts if one.attempt.answered]
    found = {
        "reward": mean([one.reward for one in rollouts if one.reward is not None]),
        "reward_format": mean([one.format for one in rollouts]),
        "response_tokens": mean([float(len(one.tokens.response)) for one in rollouts]),
        "truncated": mean([float(one.attempt.truncated) for one in rollouts]),
        "unknown": mean([float(one.accuracy is None) for one in rollouts]),
        "zero_advantage": mean([float(one.advantage == 0) for one in rollouts]),
        "reward_accuracy": mean([one.accuracy for one in rollouts if one.accuracy is not None]),
    }
    if len(rollouts) < count:
        found["no_room"] = 1 - len(rollouts) / count
    for mode in ("on", "off"):
        there = [one for one in rollouts if one.attempt.prompt.reasoning == mode]
        judged = [one.accuracy for one in there if one.accuracy is not None]
        if judged:
            found[f"accuracy_{mode}"] = mean(judged)
    return found
