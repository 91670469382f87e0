"""A model that thinks between tags of its own is split, judged, paired and taught by these.

Text that models share has `<think>` and `</think>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.rl_data.ranked_pairs import ranked_pairs
from assets.sft.samples import of_answers
from assets.sft_data.generate import shared
from resources.benchmarks.verdicts import judge
from resources.chat.chat import Chat
from resources.chat.toggle import TAGS
from resources.engines.protocol import Batch, Completion, Request, Sampling, collect
from resources.recipe.sections.benchmark import Benchmark
from resources.verifiers.attempts import attempt, every
from resources.verifiers.dispatch import verify_many
from resources.verifiers.reasoning import follows_toggle, retagged, split
from tests.resources.chat import small

OWN = ("[THINK]", "[/THINK]")
SAID = {
    "on": "[THINK]\nis it \\boxed{5}?\n[/THINK]\n\n\\boxed{4}",
    "off": "\\boxed{4}",
}
CHAT = Chat.of(
    small.tokenizer(), {"on": {"system": "think"}, "off": {"system": "do not"}, "tags": OWN}
)
PROBLEM = {
    "row_id": b"0" * 16,
    "domain": "math",
    "question": "2+2?",
    "expected_answer": "4",
    "tests": None,
    "metadata": None,
}


class Answers:
    """Thinks between its own tags, where it is asked to."""

    model_version, chat, window = "v", CHAT, 64

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> list[Completion]:
        return collect(self.batches(requests, sampling), len(requests))

    def batches(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        yield [
            (place, Completion(SAID[each.thinking or "off"], [1], "stop", 1, 1, None, 0.0))
            for place, each in enumerate(requests)
        ]


@pytest.mark.parametrize("mode", ["on", "off"])
def test_attempts_are_judged_behind_their_own_tags(mode: str) -> None:
    (made,) = attempt(Answers(), every([PROBLEM], mode, 1), Sampling(0.0))
    assert made.verdict.verdict == "correct" and made.follows_toggle
    (pair,) = ranked_pairs([made], lambda text: [len(text)])
    assert pair.kind == "toggle" and not follows_toggle(pair.rejected.text, mode, OWN)
    assert split(pair.rejected.text, OWN)[1] == "\\boxed{4}"


def test_tags_of_another_model_are_text() -> None:
    assert split(SAID["on"])[0] == "" and not follows_toggle(SAID["on"], "on")
    other, own = (verify_many([PROBLEM], [SAID["on"]], ["on"], tags) for tags in (TAGS, OWN))
    assert own[0].verdict == "correct"
    assert other[0].evidence == own[0].evidence  # the last box counts in both
    assert verify_many([PROBLEM], ["[THINK]\\boxed{4}"], ["on"], OWN)[0].verdict == "incorrect"


@pytest.mark.parametrize(
    ("verifier", "row", "answer"),
    [
        ("exact", {"expected_answer": "4"}, "4"),
        (
            "instructions",
            {
                "domain": "instructions",
                "metadata": '{"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}',
            },
            "none here",
        ),
    ],
)
def test_benchmarks_judge_the_answer_alone(verifier: str, row: dict[str, Any], answer: str) -> None:
    given = {"instruction_id_list": "ids", "kwargs": "kwargs"}
    protocol = Benchmark.model_validate(
        {
            "path": "x",
            "license": "mit",
            "fields": {"question": "q", "ids": "ids", "kwargs": "kwargs"},
            "verifier": verifier,
            **({"metadata": given} if verifier == "instructions" else {}),
        }
    )
    asked, said = [{**PROBLEM, **row}], [f"[THINK]\na, b\n[/THINK]\n\n{answer}"]
    assert judge(protocol, asked, said, OWN)[0].verdict == "correct"
    assert judge(protocol, asked, said)[0].verdict == "incorrect"


def test_shared_text_has_shared_tags_and_examples_the_models_own() -> None:
    (made,) = Answers().generate([Request((("user", "2+2?"),), thinking="on")], Sampling(0.0))
    (text,) = (each.text for each in shared([made], Answers()))
    assert text == retagged(SAID["on"], OWN, TAGS) and follows_toggle(text, "on")
    row = {"input": [{"role": "user", "content": "2+2?"}], "output": text, "reasoning": "on"}
    ((ids, mask),) = of_answers(CHAT, [row])[0]
    learned = CHAT.decode([token for token, on in zip(ids, mask, strict=True) if on])
    assert learned == SAID["on"] + "<|im_end|>"


words = st.text("ab \n", max_size=12)


@given(words, words)
def test_tags_are_changed_and_nothing_else(thinking: str, answer: str) -> None:
    said = f"[THINK]{thinking}[/THINK]{answer}"
    assert split(retagged(said, OWN, TAGS)) == split(said, OWN)
    assert retagged(retagged(said, OWN, TAGS), TAGS, OWN) == said
