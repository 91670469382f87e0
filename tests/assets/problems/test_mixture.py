"""Declared text through the one door: shards apart, every row accounted for, stable mixtures."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from assets.problems.assets import CORPUS, specs
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import needed
from resources.recipe.sections.benchmark import Benchmark
from resources.recipe.sections.data import HELD_TEXT, CorpusMix, Source
from resources.sources.account import SourceError
from resources.sources.apart import held_out
from resources.store.building import Code, materialise, nodes_of
from warehouse import catalog
from warehouse.rows import row_ids, with_derived_ids
from warehouse.store import Artifact, Store


def write(path: Path, texts: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))


def recipe(folder: Path, mix: dict[str, float], tokens: int = 10**6, **sources: Any) -> Recipe:
    made = load("smoke", check_paths=False)
    declared = {
        name: Source.model_validate({"kind": "text", "license": "mit", **given})
        for name, given in sources.items()
    }
    corpus = CorpusMix.model_validate({"mix": mix, "tokens": tokens, "holdout": "10%"})
    family = made.family.model_copy(update={"corpus": corpus, "sources": declared})
    return replace(made, family=family, directory=folder)


def build(home: Path, made_from: Recipe) -> tuple[Artifact, list[str]]:
    """`problems/corpus`, and the labels of what was built anew for it."""
    store, built = Store(home), []
    for spec in specs(made_from):
        if spec.key != CORPUS and not spec.key.startswith(("problems/text_", "benchmarks/")):
            continue
        for partition in spec.slices():
            before = {manifest["memo_key"] for manifest in store.manifests()}
            made = materialise(store, spec, Code("1"), partition=partition)
            if made.memo_key not in before:
                built.append(made.label)
    return made, built


def documents(prefix: str, count: int) -> list[str]:
    return [f"{prefix} document number {i} of a source, with some words" for i in range(count)]


def test_a_new_shard_leaves_the_others_and_moves_few_documents(tmp_path: Path) -> None:
    home, data = tmp_path / "home", tmp_path / "data"
    for number in range(3):
        write(data / f"{number}.jsonl", documents(f"s{number}", 300))
    made = recipe(tmp_path, {"web": 1.0}, tokens=2000, web={"path": "data/*.jsonl"})
    first, built = build(home, made)
    assert built == [*(f"problems/text_web[{n}.jsonl]" for n in range(3)), "problems/corpus"]
    write(data / "3.jsonl", documents("s3", 100))
    second, built = build(home, made)
    assert built == ["problems/text_web[3.jsonl]", "problems/corpus"]
    before, after = (set(each.table("texts")["text"].to_pylist()) for each in (first, second))
    new = {text for text in after if text.startswith("s3")}
    assert 0 < len(new) < 60 and after - new < before
    assert abs(len(after) - len(before)) < 25
    again, built = build(home, made)
    assert not built and again.data_version == second.data_version
    node = {each.label: each for each in nodes_of(specs(made))}["problems/text_web[3.jsonl]"]
    assert set(node.observed) == {"3.jsonl"}


def test_the_same_text_may_stand_twice_on_one_line(tmp_path: Path) -> None:
    """As in an array that is written without line ends."""
    rows = [{"text": text} for text in documents("web", 40) * 2]
    (tmp_path / "a.json").write_text(json.dumps(rows))
    corpus, _ = build(tmp_path / "home", recipe(tmp_path, {"web": 1.0}, web={"path": "a.json"}))
    assert corpus.table("texts").num_rows == 80


def test_files_of_one_shard_may_say_the_same_on_the_same_line(tmp_path: Path) -> None:
    """As many small files in a bundle do: a row's file is part of what tells it apart."""
    for number in range(3):
        write(tmp_path / "data" / f"{number}.jsonl", documents("same", 20))
    made = recipe(tmp_path, {"web": 1.0}, web={"path": "data/*.jsonl", "limit": 60})
    corpus, built = build(tmp_path / "home", made)
    assert built == ["problems/text_web[all]", "problems/corpus"]
    assert corpus.table("texts").num_rows == 60


def test_shares_follow_weights_and_held_out_text_is_apart(tmp_path: Path) -> None:
    write(tmp_path / "a.jsonl", documents("a", 2000) + documents("a", 50))
    write(tmp_path / "b.jsonl", documents("b", 2000))
    made = recipe(
        tmp_path,
        {"a": 3.0, "b": 1.0},
        tokens=4000,
        a={"path": "a.jsonl"},
        b={"path": "b.jsonl"},
    )
    corpus, _ = build(tmp_path / "home", made)
    table = corpus.table("texts")
    train = table.filter(pa.compute.equal(table["split"], "train"))
    share = {
        name: sum(train.filter(pa.compute.equal(train["source"], name))["bytes"].to_pylist())
        for name in "ab"
    }
    assert share["a"] == pytest.approx(18000, rel=0.1)
    assert share["b"] == pytest.approx(6000, rel=0.1)
    texts = {
        split: set(table.filter(pa.compute.equal(table["split"], split))["text"].to_pylist())
        for split in ("train", "held_out")
    }
    assert texts["held_out"] and not texts["train"] & texts["held_out"]
    assert len(texts["held_out"]) / table.num_rows == pytest.approx(0.1, abs=0.05)
    assert corpus.metrics["a_bytes"] == share["a"]


@pytest.mark.parametrize("asked", [None, "held out"])
def test_of_a_little_text_some_is_held_out_too(tmp_path: Path, asked: str | None) -> None:
    write(tmp_path / "a.jsonl", documents("a", 500))
    made = recipe(tmp_path, {"a": 1.0}, tokens=10, a={"path": "a.jsonl"})
    if (
        asked
    ):  # what would be held out first asks what a benchmark asks, and another takes its place
        corpus, _ = build(tmp_path / "first", made)
        (apart,) = (row for row in corpus.table("texts").to_pylist() if row["split"] != "train")
        (tmp_path / "b.jsonl").write_text(json.dumps({"q": apart["text"], "a": "1"}))
        made = with_benchmark(made, path="b.jsonl")
    corpus, _ = build(tmp_path / "home", made)
    table = corpus.table("texts")
    splits = table["split"].to_pylist()
    assert splits.count("held_out") >= 1 and len(splits) < 60
    if asked:
        assert (
            corpus.metrics["dropped_contaminated"]
            and apart["text"] not in table["text"].to_pylist()
        )


def with_benchmark(made: Recipe, **given: Any) -> Recipe:
    own = {"license": "mit", "fields": {"question": "q", "answer": "a"}, "verifier": "exact"}
    declared = {"own": Benchmark.model_validate({**own, **given})}
    section = needed(made.family.benchmarks, "benchmarks").model_copy(update={"declared": declared})
    return replace(made, family=made.family.model_copy(update={"benchmarks": section}))


def test_what_a_benchmark_asks_makes_room_for_other_text(tmp_path: Path) -> None:
    asked = "how many plums are left when four of the eleven ripe plums fall off the tree"
    eight = " ".join(asked.split()[:8])
    texts = documents("web", 400)
    texts[::2] = [f"{text}. {asked}?" for text in texts[::2]]
    write(tmp_path / "web.jsonl", texts)
    turns = [
        [("user", f"Say: {eight}?"), ("assistant", "Seven")],
        [("user", "Say?"), ("assistant", f"So {asked}.")],
        [("user", "Say?"), ("assistant", f"So {eight}.")],  # in prose 8 words are chance
    ]
    given = [[{"role": role, "content": text} for role, text in each] for each in turns]
    talk = {"kind": "conversations", "path": "c.jsonl", "holdout": 0.0}
    (tmp_path / "c.jsonl").write_text("".join(json.dumps({"messages": t}) + "\n" for t in given))
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": f"{asked.capitalize()}?", "a": "7"}) + "\n")
    mix = {"web": 1.0, "talk": 1.0}
    plain = recipe(tmp_path, mix, tokens=1000, web={"path": "web.jsonl"}, talk=talk)
    made = with_benchmark(plain, path="b.jsonl")
    corpus, built = build(tmp_path / "home", made)
    assert built[-1] == "problems/corpus"
    rows = corpus.table("texts").to_pylist()
    web = [row for row in rows if row["source"] == "web"]
    assert web and not any(asked in row["text"] for row in web)
    trained = sum(row["bytes"] for row in web if row["split"] == "train")
    assert corpus.metrics["web_bytes"] == trained >= 3000  # 1,000 tokens at 6 bytes, half of them
    (kept,) = (row["messages"] for row in rows if row["source"] == "talk")
    assert kept[1]["content"] == f"So {eight}."
    dropped = corpus.table("dropped").to_pylist()
    assert len(dropped) == corpus.metrics["dropped_contaminated"]
    assert len(rows) + len(dropped) == corpus.metrics["documents"]
    assert {row["reason"] for row in dropped} == {"contaminated"}
    store = Store(tmp_path / "home")
    benchmark = store.current("benchmarks/own")
    assert benchmark is not None
    (problem,) = benchmark.table("problems")["row_id"].to_pylist()
    assert {row["matched_row_id"] for row in dropped} == {problem}
    evidence = sorted(row["evidence"] for row in dropped if row["source"] == "talk")
    assert [text.split(":")[0] for text in evidence] == [
        "ngram_13, score 1.00",
        "ngram_8, score 0.11",
    ]
    connection = catalog.connect(store)
    found = catalog.query(
        connection,
        "SELECT count(*) FROM dropped JOIN texts USING (row_id) WHERE file = 'web.jsonl'",
    ).fetchone()
    assert found == (sum(row["source"] == "web" for row in dropped),)


def test_text_without_a_match_is_the_same_corpus(tmp_path: Path) -> None:
    write(tmp_path / "web.jsonl", documents("web", 300))
    (tmp_path / "b.jsonl").write_text(json.dumps({"q": "What is asked?", "a": "7"}) + "\n")
    made = recipe(tmp_path, {"web": 1.0}, tokens=500, web={"path": "web.jsonl"})
    compared = with_benchmark(made, path="b.jsonl")
    versions = [build(tmp_path / n, r)[0].data_version for n, r in (("a", made), ("b", compared))]
    assert versions[0] == versions[1]


def test_a_benchmark_of_the_corpus_itself_is_no_input_of_it(tmp_path: Path) -> None:
    write(tmp_path / "web.jsonl", documents("web", 30))
    made = with_benchmark(
        recipe(tmp_path, {"web": 1.0}, web={"path": "web.jsonl"}),
        path=HELD_TEXT,
        fields={"text": "text"},
        continuations={},
        limit=5,
        prompt="{{ context }}",
    )
    (corpus,) = (spec for spec in specs(made) if spec.key == "problems/corpus")
    assert dict(corpus.inputs) == {"web": "problems/text_web"}
    assert made.benchmark_inputs and not made.published_inputs


def test_too_many_rejected_rows_stop_the_corpus_and_can_be_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "web" / "good.jsonl", documents("g", 90))
    write(tmp_path / "web" / "bad.jsonl", [None, *documents("h", 9)])
    declared = {"path": "web/*.jsonl", "max_drop": "2%"}
    corpus, _ = build(tmp_path / "fine", recipe(tmp_path, {"web": 1.0}, web=declared))
    assert corpus.table("texts").num_rows == 99
    strict = recipe(tmp_path, {"web": 1.0}, web={**declared, "max_drop": 0.0})
    with pytest.raises(SourceError) as error:
        build(tmp_path / "home", strict)
    assert "1 of 100 rows" in str(error.value) and "bad.jsonl:1: text" in str(error.value)
    connection = catalog.connect(Store(tmp_path / "home"))
    found = catalog.query(connection, "SELECT file, line, field, value, reason FROM rejected")
    assert found.fetchall() == [("bad.jsonl", 1, "text", "null", "must be text, is null")]
    asked = "SELECT source, sum(rows_in), sum(kept), sum(dropped) FROM sources GROUP BY ALL"
    assert catalog.query(connection, asked).fetchall() == [("web", 100, 99, 1)]


def test_conversations_may_be_mixed_in(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    given = [{"messages": turns}, {"messages": turns * 2}]
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in given))
    write(tmp_path / "a.jsonl", documents("a", 60))
    made = recipe(
        tmp_path,
        {"web": 1.0, "talk": 1.0},
        web={"path": "a.jsonl"},
        talk={"kind": "conversations", "path": "c.jsonl"},
    )
    corpus, _ = build(tmp_path / "home", made)
    rows = [row for row in corpus.table("texts").to_pylist() if row["source"] == "talk"]
    assert len(rows) == 2 and all(row["text"] is None for row in rows)
    assert len({row["text_hash"] for row in rows}) == 2
    assert rows[0]["messages"][0] == {"role": "user", "content": "Hi", "train": True}


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"nothing\.jsonl: no such file"):
        specs(recipe(tmp_path, {"web": 1.0}, web={"path": "nothing.jsonl"}))


def test_the_held_out_share_is_what_is_asked_for() -> None:
    hashes = np.random.default_rng(0).integers(-(2**63), 2**63 - 1, 100_000)
    assert held_out(hashes, 0.02).mean() == pytest.approx(0.02, abs=0.002)
    assert not held_out(hashes, 0.0).any()


def test_derived_ids_are_ids_with_one_parent_and_no_content() -> None:
    ids = pa.array([bytes([i]) * 16 for i in range(5)], pa.binary(16))
    table = with_derived_ids(pa.table({"x": [1, 2, 3]}), "a/b", ids.slice(1, 3), "p/q")
    parents = [[each] for each in ids.slice(1, 3).to_pylist()]
    assert table["row_id"].combine_chunks().equals(row_ids("a/b", [""] * 3, parents))
    assert table["parents"].to_pylist() == [
        [{"row_id": one[0], "asset_key": "p/q"}] for one in parents
    ]


def test_what_sft_holds_out_of_a_source_is_held_out_of_the_corpus_too(tmp_path: Path) -> None:
    from assets.sft_data.conversations import load as load_conversations
    from resources.execution import Execution
    from tests.resources.training import tiny_family as tiny

    rows = [
        [{"role": "user", "content": f"Q {i}?"}, {"role": "assistant", "content": f"A {i}."}]
        for i in range(80)
    ]
    file = tmp_path / "c.jsonl"
    file.write_text("".join(json.dumps({"messages": each}) + "\n" for each in rows))
    declared = {"kind": "conversations", "path": "c.jsonl", "holdout": 0.4}
    made = recipe(tmp_path, {"talk": 1.0}, talk=declared)
    corpus, _ = build(tmp_path / "home", made)
    pieces = [{"name": "c.jsonl", "start": 0, "stop": None}]
    given = {
        "name": "talk",
        "source": made.family.sources["talk"].read_as,
        "shards": [{"shard": "c.jsonl", "pieces": pieces}],
        "max_drop": 0.0,
        "holdout": 0.4,
    }
    seen = Execution(observe=(str(file),))
    samples = tiny.build(
        Store(tmp_path / "sft"), "sft_data/talk", load_conversations, {}, given, seen
    )
    apart = {
        table["input"][0]["content"]
        for table in samples.table("sft_samples").to_pylist()
        if table["split"] == "held_out"
    }
    trained = {
        row["messages"][0]["content"]
        for row in corpus.table("texts").to_pylist()
        if row["split"] == "train"
    }
    assert apart and trained and not apart & trained
