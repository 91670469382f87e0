"""Sample and verify: problems go in, judged responses come out.

The one way in which pass rates, preference data, RL rollouts and benchmarks ask an engine and judge
what it says. It does not know which model answers, nor what the verdicts are used for.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from resources.engines.protocol import (
    UNANSWERED,
    Completion,
    Engine,
    Request,
    Sampling,
)
from resources.verifiers import reasoning as toggle
from resources.verifiers.verdict import Verdict

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.chat.chat import Chat

Problem = Mapping[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A problem asked once: reasoning is "on" or "off", `sample_index` names the draw."""

    problem: Problem
    reasoning: str
    sample_index: int = 0


@dataclass(frozen=True)
class Attempt:
    """A response to a prompt with its verdict; `tags` are those that its model thinks between."""

    prompt: Prompt
    completion: Completion
    verdict: Verdict
    tags: toggle.Tags = toggle.TAGS

    @property
    def answered(self) -> bool:
        """Whether there is a response at all."""
        return self.completion.answered

    @property
    def truncated(self) -> bool:
        """True when the response ran into the token limit."""
        return self.completion.finish_reason == "length"

    @property
    def follows_toggle(self) -> bool:
        """True when it answers, and thinks exactly if it was asked to."""
        return self.answered and toggle.follows_toggle(
            self.completion.text, self.prompt.reasoning, self.tags
        )


def messages(problem: Problem) -> list[dict[str, str]]:
    """The conversation that asks a problem: its messages, or its question."""
    given = problem.get("prompt_messages")
    return json.loads(given) if given else [{"role": "user", "content": problem["question"]}]


def request(prompt: Prompt) -> Request:
    """The engine request of a prompt."""
    turns = tuple((turn["role"], turn["content"]) for turn in messages(prompt.problem))
    return Request(turns, prompt.sample_index, prompt.reasoning)


def every(problems: Iterable[Problem], reasoning: str, samples: int) -> Iterator[Prompt]:
    """`samples` prompts of each problem, problem by problem."""
    for problem in problems:
        for index in range(samples):
            yield Prompt(problem, reasoning, index)


def attempt(
    engine: Engine, prompts: Iterable[Prompt], sampling: Sampling, *, logprobs: bool = False
) -> list[Attempt]:
    """Answer every prompt and judge every answer, in the order given."""
    asked = list(prompts)
    requests = [request(prompt) for prompt in asked]
    completions = engine.generate(requests, sampling, logprobs=logprobs)
    return judged(engine, asked, completions)


def judged(
    engine: Engine, prompts: Sequence[Prompt], completions: Sequence[Completion]
) -> list[Attempt]:
    """The answers with their verdicts. Of a request that was not answered it is `unknown`."""
    from resources.verifiers.dispatch import verify_many

    tags = engine.chat.toggle.tags
    verdicts = verify_many(
        [dict(prompt.problem) for prompt in prompts],
        [completion.text for completion in completions],
        [prompt.reasoning for prompt in prompts],
        tags,
    )
    return [
        Attempt(prompt, completion, unanswered(completion.finish_reason) or verdict, tags)
        for prompt, completion, verdict in zip(prompts, completions, verdicts, strict=True)
    ]


def unanswered(finish_reason: str) -> Verdict | None:
    """The verdict where there is no answer; None where there is one."""
    why = UNANSWERED.get(finish_reason)
    return None if why is None else Verdict("unknown", why)


def sequences(made: Sequence[Attempt], asked: "Chat", scorer: "Chat") -> list[list[int]]:
    """Token ids of prompt and sampled response, closed by the stop token: what a scorer reads.

    `asked` is the chat of the model that answered. A scorer with the same chat reads the very ids;
    one with another reads the texts in its own.
    """
    if asked.digest == scorer.digest:
        return [closed(scorer, a.completion.prompt_ids, a.completion.token_ids) for a in made]
    read = [
        scorer.conversation(
            [*messages(a.prompt.problem), {"role": "assistant", "content": a.completion.text}],
            a.prompt.reasoning,
        ).whole()
        for a in made
    ]
    return [ids for ids, _ in scorer.encode(read)]


def closed(chat: "Chat", prompt: Sequence[int], response: Sequence[int]) -> list[int]:
    """Prompt and response ids with exactly one stop token at the end."""
    stops = chat.stop_ids
    ended = bool(response) and response[-1] in stops
    return [*prompt, *response, *([] if ended else [chat.stop_id])]


def tables(
    attempts: Sequence[Attempt],
    asset_key: str,
    model: str,
    model_version: str,
    sampling: Sampling,
) -> tuple["pa.Table", "pa.Table"]:
    """The attempts as `generations` and `verdicts` tables.

    Each problem must carry `asset_key`, the key of the asset its row stands in (for row lineage).
    """
    import pyarrow as pa

    from warehouse.rows import parents_of, with_ids

    completions = [attempt.completion for attempt in attempts]
    problems = [attempt.prompt.problem for attempt in attempts]
    count = len(attempts)
    columns = {
        "problem_id": pa.array([problem["row_id"] for problem in problems], pa.binary(16)),
        "role": pa.array(["assistant"] * count, pa.string()),
        "model": pa.array([model] * count, pa.string()),
        "model_version": pa.array([model_version] * count, pa.string()),
        "reasoning": pa.array([a.prompt.reasoning for a in attempts], pa.string()),
        "sample_index": pa.array([a.prompt.sample_index for a in attempts], pa.int32()),
        "temperature": pa.array([sampling.temperature] * count, pa.float64()),
        "top_p": pa.array([sampling.top_p] * count, pa.float64()),
        "response": pa.array([c.text for c in completions], pa.string()),
        "prompt_tokens": pa.array([c.prompt_tokens for c in completions], pa.int32()),
        "completion_tokens": pa.array([c.completion_tokens for c in completions], pa.int32()),
        "finish_reason": pa.array([c.finish_reason for c in completions], pa.string()),
        "domain": pa.array([problem["domain"] for problem in problems], pa.string()),
    }
    parents = parents_of([[p["row_id"]] for p in problems], [[p["asset_key"]] for p in problems])
    generations = with_ids(
        pa.table(columns),
        asset_key,
        ["reasoning", "response"],
        parents,
        sample_index_column="sample_index",
    )
    verdicts = pa.table(
        {
            "generation_id": generations["row_id"].combine_chunks(),
            "verifier": pa.array([problem["domain"] for problem in problems], pa.string()),
            "verdict": pa.array([a.verdict.verdict for a in attempts], pa.string()),
            "evidence": pa.array([str(a.verdict.evidence) for a in attempts], pa.string()),
        }
    )
    return generations, verdicts


def usage(engine: Engine) -> list[dict[str, Any]]:
    """What the answers of an engine took so far, as an asset's observation `requests`."""
    there = getattr(engine, "usage", None)
    return [there.record()] if there is not None else []
