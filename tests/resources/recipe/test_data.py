"""Declared sources and mixtures: what is accepted, and what is refused with what would be right."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from resources.recipe.sections.data import CorpusMix, Source, not_yet


def source(**given: Any) -> Source:
    return Source.model_validate({"kind": "text", "path": "a.jsonl", "license": "mit", **given})


def test_shares_are_numbers_or_percent() -> None:
    assert source(holdout="1%", max_drop=0.5).holdout == 0.01
    assert source(max_drop="2.5 %").max_drop == 0.025
    with pytest.raises(ValidationError):
        source(max_drop="100%")


@pytest.mark.parametrize(
    "given, words",
    [
        ({"path": "hub:nothing"}, "write hub:org/name@REV"),
        ({"files": "*.jsonl"}, "put it in path"),
        ({"fields": {"txt": "a"}}, "did you mean 'text'"),
        ({"kind": "conversations", "fields": {"messages": "m", "response": "r"}}, "either"),
        ({"kind": "conversations", "fields": {"response": "r"}}, "either|map both"),
        ({"kind": "conversations", "fields": {"prompt": "r"}}, "either"),
        ({"kind": "problems"}, "verifier is missing; it says the domain"),
        ({"kind": "problems", "verifier": "choice"}, "choices are science's"),
        ({"kind": "problems", "verifier": "math", "fields": {"expected_answer": "a"}}, "question"),
        (
            {"kind": "problems", "verifier": "math", "fields": {"question": "q", "answer": "a"}},
            "no 'answer'",
        ),
        ({"kind": "responses", "verifier": "math", "fields": {"question": "q"}}, "map 'response'"),
        ({"kind": "preferences", "fields": {"chosen": "c"}}, "either 'chosen' and 'rejected'"),
        ({"kind": "story"}, "text"),
        ({"licence": "mit"}, "license"),
    ],
)
def test_what_cannot_be_right_is_refused(given: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        source(**given)


def test_what_this_build_does_not_have_is_listed_with_its_reason() -> None:
    sources = {
        "ready": source(),
        "bought": source(kind="responses", verifier="math"),
        "pairs": source(kind="preferences"),
        "ranked": source(kind="preferences", verifier="math"),
        "judged": source(verifier="math"),
        "questions": source(kind="problems", verifier="math"),
    }
    told = dict(not_yet(sources))
    assert set(told) == {"ranked", "judged"}
    assert all("next release" in why for why in told.values())


def test_a_mixture_needs_weights() -> None:
    assert CorpusMix.model_validate({"mix": {"c4": 1.0}, "tokens": 10}).holdout == 0.05
    with pytest.raises(ValidationError):
        CorpusMix.model_validate({"mix": {}, "tokens": 10})
    with pytest.raises(ValidationError):
        CorpusMix.model_validate({"mix": {"c4": 0.0}, "tokens": 10})
