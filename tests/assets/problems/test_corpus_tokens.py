"""The corpus as tokens: a partition a chat, the same ids as ever, every row accounted for."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.catalog import all_specs
from assets.problems.corpus_tokens import make_tokens
from resources.chat import folder
from resources.chat.chat import Chat
from resources.recipe.chats import chats_of, tokens_of
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
from tests.assets.problems.rows import texts
from tests.resources.chat import small
from tests.resources.training import tiny_family as tiny
from warehouse.store import Artifact, Output, Store

LIMITS = {"weights": {"a": 3.0, "b": 1.0}, "tokens": 400}


@pytest.fixture
def two_chats(tmp_path: Path) -> Recipe:
    """`smoke` with a nano whose tokenizer and template are its own."""
    recipe = load("smoke")
    parent = tmp_path / "nano"
    parent.mkdir()
    source = Path(recipe.parent_source(recipe.models["nano"].parent).location)
    for name in ("config.json", "model.safetensors", "generation_config.json"):
        shutil.copy(source / name, parent)
    small.written(parent, small.PREFILLED)
    nano = recipe.models["nano"].model_copy(update={"parent": str(parent)})
    return replace(recipe, models={**recipe.models, "nano": nano})


def test_each_distinct_chat_is_a_partition_that_its_models_read(two_chats: Recipe) -> None:
    chats = chats_of(two_chats)
    assert chats["super"] == chats["ultra"] != chats["nano"]
    specs = {spec.key: spec for spec in all_specs(two_chats)}
    tokens = specs["problems/corpus_tokens"]
    assert set(tokens.partitions) == set(chats.values())
    assert tokens.inputs_of[chats["nano"]] == {"model": "nano/parent"}
    assert set(tokens.reads()) == {"problems/corpus", "nano/parent", "super/parent"}
    corpus = specs["super/distilled"].inputs["corpus"]
    assert corpus == tokens_of(two_chats, "super") == f"problems/corpus_tokens[{chats['super']}]"


def test_two_tokenizers_in_one_graph(tmp_path: Path, two_chats: Recipe) -> None:
    """Texts are made once, tokens for each; one partition does not wait for the other's parent."""
    store = Store(tmp_path / "home")
    specs = {spec.key: spec for spec in all_specs(two_chats)}
    chats = chats_of(two_chats)
    tokens = specs["problems/corpus_tokens"]
    texts = materialise(store, specs["problems/corpus"], Code("1")).table("texts")
    made = {}
    for name in ("super", "nano"):
        materialise(store, specs[f"{name}/parent"], Code("1"))
        made[name] = materialise(store, tokens, Code("1"), partition=chats[name])
        assert made[name].manifest["observations"]["chat"] == chats[name]
        assert bool(store.parts("problems/corpus_tokens")) == (name == "nano")
    rows = {row["row_id"]: row for row in texts.to_pylist()}
    for name, artifact in made.items():
        chat = Chat.load(artifact_folder(store, f"{name}/parent"))
        for row in artifact.table("corpus").to_pylist():
            text = chat.decode(row["text_ids"])
            document = rows[row["row_id"]]
            last = document["text"] or document["messages"][-1]["content"]
            whole = len(row["text_ids"]) < 256
            assert (last + chat.habits.end in text) == whole or not whole
    found = [artifact.table("corpus").num_rows for artifact in made.values()]
    # The chat that opens thinking refuses answers without any, and system turns.
    assert found[0] == texts.num_rows > found[1]


def artifact_folder(store: Store, key: str) -> Path:
    artifact = store.current(key)
    assert artifact is not None
    return artifact.path()


def test_the_bundled_corpus_has_the_ids_that_it_always_had(tmp_path: Path) -> None:
    """The content's hash at the commit that encoded it with one template for everybody."""
    store = Store(tmp_path / "home")
    specs = {spec.key: spec for spec in all_specs(load("smoke"))}
    for key in ("nano/parent", "problems/corpus"):
        materialise(store, specs[key], Code("1"))
    tokens = specs["problems/corpus_tokens"]
    (chat,) = tokens.partitions
    made = materialise(store, tokens, Code("1"), partition=chat)
    assert made.data_version.startswith("c93fdf17fbac")


def mixture(store: Store) -> Artifact:
    """Rows of two sources as the mixture gives them, one conversation among them."""
    table = texts(
        [("a", f"text {i} of a", "held_out" if i % 5 == 0 else "train") for i in range(60)]
        + [("b", f"text {i} of b", "train") for i in range(60)]
        + [("b", [("user", "Why?"), ("assistant", "<think>\nhm\n</think>\n\nSo.")] * 2, "train")]
        + [("b", [("user", "Why?"), ("assistant", "So.")], "train")]
    )
    return tiny.publish(store, "problems/corpus", Output(tables={"texts": table}))


def test_sources_give_their_shares_and_every_row_is_accounted_for(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    checkpoint = small.written(tmp_path / "model", small.PREFILLED)
    inputs = {
        "corpus": mixture(store),
        "model": tiny.publish(store, "m/parent", Output(files={"": checkpoint})),
    }

    def made(limits: dict[str, Any]) -> Artifact:
        return tiny.build(store, "problems/corpus_tokens", make_tokens, inputs, limits)

    every = made({**LIMITS, "tokens": 10**6})
    rows = every.table("corpus").to_pylist()
    assert len({row["row_id"] for row in rows}) == len(rows) == 48 + 60 + 2
    assert every.table("held_out").num_rows == 12
    (lost,) = every.table("dropped").to_pylist()
    assert "no thinking to close" in lost["evidence"] and lost["reason"] == "chat"
    assert [row["kind"] for row in rows].count("conversation") == 2
    few = made(LIMITS).table("corpus").to_pylist()
    tokens = {name: sum(len(r["text_ids"]) for r in few if r["domain"] == name) for name in "ab"}
    assert 300 <= tokens["a"] < 330 and 100 <= tokens["b"] < 200
    assert folder.digest(checkpoint) == every.manifest["observations"]["chat"]


def test_a_killed_build_goes_on_behind_its_last_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from assets.problems import corpus_tokens
    from resources.chat import pieces

    monkeypatch.setattr(corpus_tokens, "BATCH", 20)
    checkpoint = small.written(tmp_path / "model", small.PREFILLED)
    encode, done = pieces.encode, list[int]()

    def dying(chat: Chat, given: Any) -> Any:
        done.append(len(given))
        if len(done) == 4:
            raise tiny.Killed
        return encode(chat, given)

    def made(home: str) -> Artifact:
        store = Store(tmp_path / home)
        inputs = {
            "corpus": mixture(store),
            "model": tiny.publish(store, "m/parent", Output(files={"": checkpoint})),
        }
        limits = {**LIMITS, "tokens": 10**6}
        return tiny.build(store, "problems/corpus_tokens", make_tokens, inputs, limits)

    calm = made("calm")
    monkeypatch.setattr(pieces, "encode", dying)
    with pytest.raises(tiny.Killed):
        made("killed")
    assert made("killed").data_version == calm.data_version
    # 122 texts in batches of 20, once for each table; the batch that died was begun again.
    assert len(done) == 2 * 7 + 1
