"""What a parent writes itself: one row an answer, accounted for, the same on a second build."""

from __future__ import annotations

from pathlib import Path

import pytest

from assets.problems.assets import specs
from assets.problems.written import write_texts
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load
from resources.sources.prompts import FORMS, TOPICS, prompts
from tests.assets.rl import support
from warehouse.store import Store

SOURCE = {
    "kind": "conversations",
    "path": "parent:super",
    "license": "mit",
    "limit": 5,
    "max_new_tokens": 6,
}
STAGE = (
    "name: sft, mix: {written: 1}, samples: 8, packed: true, epochs: 1, batch_tokens: 64, "
    "sequence_length: 32, learning_rate: 1e-5"
)


def test_prompts_are_distinct_and_begin_with_every_topic() -> None:
    found = prompts(len(FORMS) * len(TOPICS))
    assert len(set(found)) == len(found)
    assert all(any(topic in each for each in found[: len(TOPICS)]) for topic in TOPICS)
    with pytest.raises(ValueError, match="256 come with the package"):
        prompts(len(found) + 1)


def test_answers_are_rows_of_conversations(tmp_path: Path, tiny_llama: Path) -> None:
    parent = support.checkpoint(Store(tmp_path / "home"), "super/parent", tiny_llama)
    recipe = {"name": "written", "shard": "all", "source": SOURCE}
    made = [
        support.build(
            Store(tmp_path / name), "problems/text_written", write_texts, {"model": parent}, recipe
        )
        for name in ("one", "two")
    ]
    assert made[0].data_version == made[1].data_version
    rows = made[0].table("texts").to_pylist()
    [account] = made[0].table("sources").to_pylist()
    assert account["rows_in"] == 5 == account["kept"] + account["dropped"]
    assert account["kept"] == len(rows) > 0
    for row in rows:
        asked, answered = row["messages"]
        assert (asked["role"], answered["role"]) == ("user", "assistant")
        assert asked["content"] == prompts(5)[row["line"] - 1]
        assert answered["content"].strip()


def test_it_reads_the_parent_and_is_for_the_corpus() -> None:
    made = {spec.key: spec for spec in specs(load("smol", check_paths=False))}
    assert made["problems/text_written"].inputs == {"model": "smol/parent"}
    assert made["problems/corpus"].inputs["written"] == "problems/text_written"


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("sources.written.path=parent:smal", "no model 'smal'"),
        ("sources.written.max_new_tokens=null", "max_new_tokens goes with"),
        ("sources.written.limit=null", "a `limit` of prompts"),
        (f"models.each.sft=[{{{STAGE}}}]", "is written for the corpus"),
    ],
)
def test_what_cannot_be_written_is_refused(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load("smol", [override], check_paths=False)
