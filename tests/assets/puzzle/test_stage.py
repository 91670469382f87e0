"""The Puzzle stage through the store: smoke's recipe on random parents, checks, kills, failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch

from assets.puzzle import checks, distill, library
from assets.puzzle.architecture import bounds, join, parent_totals, ruled_out
from assets.puzzle.assets import specs
from assets.puzzle.calibration import sequences
from assets.puzzle.costs import cost_rows, non_block_costs
from assets.puzzle.search import InfeasibleError
from resources.models.accounting import Shape, total_parameters
from resources.models.loading import load, save
from resources.recipe.loading import load as load_recipe
from resources.store.building import bind
from resources.store.building import load as find
from resources.store.spec import Spec
from tests.assets.puzzle import tiny
from warehouse.store import Artifact, Output, Store

TOKENIZER = Path(__file__).parents[3] / "resources" / "models" / "bundled" / "tokenizer"
LAYERS = {"super": 3, "ultra": 7}
SPECS = {spec.key: spec for spec in specs(load_recipe("smoke", check_paths=False))}


def build_parent(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: dict[str, Any]
) -> Output:
    model = tiny.parent(recipe["layers"], dtype=torch.float32)
    save(model, workdir / "parent", TOKENIZER)
    return Output(files={"": workdir / "parent"})


def corpus_table(documents: int) -> pa.Table:
    table = tiny.corpus(documents)
    ids = pa.array([index.to_bytes(16, "big") for index in range(documents)], pa.binary(16))
    masks = [[True] * len(text) for text in table["text_ids"].to_pylist()]
    return table.append_column("row_id", ids).append_column("loss_mask", pa.array(masks))


def shorter(spec: Spec) -> Spec:
    """The spec with short sequences, which the tiny corpus can fill."""
    return dataclasses.replace(
        spec,
        recipe={
            name: {"sequence_length": 32, "tokens": 128, "batch_tokens": 64}.get(name, value)
            for name, value in spec.recipe.items()
        },
    )


def build(store: Store, spec: Spec, execution: dict[str, Any] | None = None) -> Artifact:
    inputs = {}
    for name, key in spec.inputs.items():
        found = store.current(key)
        assert found is not None, key
        inputs[name] = found
    return store.build(
        spec.key,
        None,
        find(spec.fn),
        inputs,
        dict(spec.recipe),
        spec.seed,
        code_version="1",
        execution=execution,
        checks=[bind(check, inputs) for check in spec.checks],
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A home with random parents, a corpus and everything smoke's Puzzle stage makes of them."""
    home = Store(tmp_path_factory.mktemp("home"))
    table = corpus_table(200)
    home.build(
        "problems/corpus",
        None,
        lambda *_: Output(
            tables={
                "corpus": table.append_column("kind", pa.array(["text"] * 200)).append_column(
                    "domain", pa.array(["math"] * 200)
                )
            }
        ),
        {},
        {},
        0,
        code_version="1",
    )
    for name, layers in LAYERS.items():
        home.build(
            f"{name}/parent", None, build_parent, {}, {"layers": layers}, 0, code_version="1"
        )
    for spec in SPECS.values():
        build(home, shorter(spec))
    return home


def current(store: Store, key: str) -> Artifact:
    found = store.current(key)
    assert found is not None
    return found


def test_every_asset_is_made_and_checked(store: Store) -> None:
    for key, spec in SPECS.items():
        artifact = current(store, key)
        assert len(artifact.checks) == len(spec.checks) >= 1
        assert all(result.passed for result in artifact.checks)
    images = {key: set(current(store, key).manifest["images"]) for key in SPECS}
    assert images["super/block_scores"] == {"block_scores"}
    assert images["ultra/fused"] == {"dependency", "architecture"}
    for key, names in images.items():
        for name in names:
            assert current(store, key).image(name).startswith(b"\x89PNG")


@pytest.mark.parametrize("name", LAYERS)
def test_the_assembled_model_is_the_architecture(store: Store, name: str) -> None:
    rows = current(store, f"{name}/architecture").table("architectures").to_pylist()
    model = load(current(store, f"{name}/assembled").path())
    blocks = model.config.block_configs
    assert [row["layer"] for row in rows] == list(range(LAYERS[name]))
    assert rows[0]["attention"] != "noop"
    for row, block in zip(rows, blocks, strict=True):
        assert (row["attention"] == "noop") == (block["attention"]["kind"] == "noop")
        assert block["ffn"]["intermediate_size"] == {"full": 24, "ratio_50": 12}[row["ffn"]]
    parameters = current(store, f"{name}/architecture").metrics["parameters"]
    assert parameters == model.num_parameters()
    limits = SPECS[f"{name}/architecture"].recipe["limits"]
    parent = load(current(store, f"{name}/parent").path())
    assert parameters <= limits["parameters"] * parent.num_parameters()


def test_ultra_is_fused_where_attention_is_gone(store: Store) -> None:
    artifact = current(store, "ultra/fused")
    assert artifact.metrics["fused_runs"] >= 1
    model = load(artifact.path())
    assert len(model.model.layers) == artifact.metrics["layers"] < LAYERS["ultra"]
    rows = artifact.table("architectures").to_pylist()
    fused = [row for row in rows if row["fused_into"] is not None]
    assert len(fused) == artifact.metrics["fused_layers"]
    for row in fused:
        assert row["attention"] == "noop"
        assert model.config.block_configs[row["fused_into"]]["ffn"]["intermediate_size"] > 12
    assert artifact.metrics["parameters"] == model.num_parameters()


def test_a_model_without_runs_is_copied(store: Store) -> None:
    spec = SPECS["ultra/fused"]
    inputs = {name: key.replace("ultra", "super") for name, key in spec.inputs.items()}
    recipe = {**spec.recipe, "max_dependency": 1e-9}
    made = build(
        store, shorter(dataclasses.replace(spec, key="super/fused", inputs=inputs, recipe=recipe))
    )
    assert made.metrics["fused_runs"] == 0
    assert made.metrics["kl"] == made.metrics["kl_before"]
    assembled = current(store, "super/assembled").path()
    same = load(made.path()).state_dict(), load(assembled).state_dict()
    assert all(torch.equal(same[0][name], same[1][name]) for name in same[0] | same[1])


def test_the_library_goes_on_after_a_kill(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed in the second of three groups: the first is not made again, and nothing differs."""
    spec = shorter(SPECS["super/block_library"])
    inputs = {name: current(store, key) for name, key in spec.inputs.items()}
    recipe = {
        **spec.recipe,
        "groups": 3,
        "attention": ["full", "kv_1", "linear", "noop"],
        "seed": 3,
        "asset_key": spec.key,
    }
    undisturbed = library.build_library(tmp_path, inputs, recipe, {})
    work, calls, train = tmp_path / "killed", [], distill.train_children
    work.mkdir()

    def killed(*arguments: Any) -> Any:
        calls.append(arguments[1][0].layer)
        if calls == [0, 1]:
            raise KeyboardInterrupt
        return train(*arguments)

    monkeypatch.setattr(distill, "train_children", killed)
    with pytest.raises(KeyboardInterrupt):
        library.build_library(work, inputs, recipe, {})
    again = library.build_library(work, inputs, recipe, {})
    assert calls == [0, 1, 1, 2]
    assert again.tables["block_library"].equals(undisturbed.tables["block_library"])
    assert again.tables["training_metrics"].equals(undisturbed.tables["training_metrics"])
    for row in undisturbed.tables["block_library"].to_pylist():
        one, other = (output.files[""] / row["file"] for output in (undisturbed, again))
        assert one.read_bytes() == other.read_bytes()


def test_an_impossible_limit_says_what_is_reachable(store: Store) -> None:
    spec = SPECS["super/architecture"]
    recipe = {**spec.recipe, "limits": {"parameters": {"max": 10, "min": None}}}
    with pytest.raises(InfeasibleError) as caught:
        build(store, dataclasses.replace(spec, recipe=recipe))
    shape = Shape.of(load(current(store, "super/parent").path()).config.to_dict())
    smallest = {"kind": "noop"}, {"kind": "full", "intermediate_size": 12}
    attention = {"kind": "full", "num_key_value_heads": 2}
    blocks = [{"attention": smallest[0], "ffn": smallest[1]} for _ in range(3)]
    blocks[0] = {"attention": attention, "ffn": smallest[1]}
    assert caught.value.tightest == {"parameters": total_parameters(shape, blocks)}


def test_costs_are_those_of_the_model(store: Store) -> None:
    model = load(current(store, "super/parent").path())
    assert current(store, "super/block_costs").metrics["parent_parameters"] == (
        model.num_parameters()
    )
    recipe = {"dtype_bytes": 2, "batch": 4, "context": 8}
    shape = Shape.of(model.config.to_dict())
    row = cost_rows(shape, 1, ["kv_1"], ["noop"], recipe)[0]
    # one key and one value head of 4 numbers, 2 bytes each
    assert row["kv_bytes_per_token"] == 16
    assert row["memory_bytes"] == row["weight_bytes"] + 4 * 8 * 16
    # embedding and head of 64 x 16, and the final norm
    assert non_block_costs(shape, recipe)["parameters"] == 2 * 64 * 16 + 16


def test_rules_and_limits_of_the_recipe() -> None:
    pairs = [(a, f) for a in ("full", "noop") for f in ("full", "ratio_50")]
    scores = [
        {"layer": layer, "attention": a, "ffn": f, "metric": "kl", "value": 1.0}
        for layer in range(2)
        for a, f in pairs
    ]
    costs = [
        {**row, "parameters": 10, "weight_bytes": 20, "kv_bytes_per_token": 2}
        | {"activation_bytes": 1, "memory_bytes": 30, "prefill_seconds": None}
        | {"decode_seconds": None}
        for row in scores
    ]
    candidates = join(
        pa.Table.from_pylist(scores), pa.Table.from_pylist(costs), {"parameters": 5}, "kl"
    )
    totals = parent_totals(candidates)
    assert totals["parameters"] == 25
    assert bounds({"parameters": 0.5, "memory_bytes": {"max": 7, "min": 2}}, totals) == {
        "parameters": (None, 12.5),
        "memory_bytes": (2, 7),
    }
    with pytest.raises(ValueError, match="prefill_seconds"):
        bounds({"prefill_seconds": 0.5}, totals)
    assert ruled_out(
        candidates,
        [{"layer": 1, "attention": "noop", "ffn": None}],
        [{"layer": None, "attention": None, "ffn": "ratio_50"}],
    ) == [
        (0, "full/ratio_50"),
        (0, "noop/full"),
        (0, "noop/ratio_50"),
        (1, "full/full"),
        (1, "full/ratio_50"),
        (1, "noop/ratio_50"),
    ]
    with pytest.raises(ValueError, match=r"layer 1, variant 'noop/ratio_50'.*score"):
        join(pa.Table.from_pylist(scores[:-1]), pa.Table.from_pylist(costs), {}, "kl")


def test_checks_see_what_is_wrong(store: Store) -> None:
    class Changed:
        """An artifact with some tables replaced."""

        def __init__(self, artifact: Artifact, **tables: pa.Table) -> None:
            self.artifact, self.tables = artifact, tables
            self.manifest, self.metrics = artifact.manifest, artifact.metrics

        def table(self, name: str) -> pa.Table:
            return self.tables.get(name, self.artifact.table(name))

    def with_first(table: pa.Table, **values: Any) -> pa.Table:
        rows = table.to_pylist()
        rows[1] |= values
        return pa.Table.from_pylist(rows, schema=table.schema)

    def passes(check: Any, artifact: Artifact, **tables: pa.Table) -> bool:
        inputs = {name: current(store, key) for name, key in SPECS[artifact.key].inputs.items()}
        return bool(check(Changed(artifact, **tables), inputs).passed)

    scores = current(store, "super/block_scores")
    table = scores.table("block_scores")
    assert passes(checks.scores_complete, scores)
    assert not passes(checks.scores_complete, scores, block_scores=table.slice(1))
    for value in (float("nan"), float("inf"), -1.0):
        assert not passes(
            checks.scores_complete, scores, block_scores=with_first(table, value=value)
        )
    made = current(store, "super/block_library")
    bad = with_first(made.table("block_library"), loss_after=float("nan"))
    assert not passes(checks.library_trained, made, block_library=bad)
    architecture = current(store, "super/architecture")
    full = pa.Table.from_pylist(
        [
            {**row, "attention": "full", "ffn": "full"}
            for row in architecture.table("architectures").to_pylist()
        ]
    )
    assert not passes(checks.limits_met, architecture, architectures=full)


def test_shares_of_the_corpus_never_meet() -> None:
    table = tiny.corpus(documents=60)
    parts = {
        share: sequences(table, share, tokens=10**6, sequence_length=16, seed=1)
        for share in ("train", "score", "held_out")
    }
    lengths = [len(text) for text in table["text_ids"].to_pylist()]
    for share, places in (("score", range(8, 60, 10)), ("held_out", range(9, 60, 10))):
        wanted = sum(lengths[place] for place in places)
        assert parts[share].tokens == wanted - wanted % 16
    part = parts["train"]
    # positions restart at 0 with each document and at each sequence's start
    assert (part.position_ids[:, 0] == 0).all()
    same = part.document_ids[:, 1:] == part.document_ids[:, :-1]
    assert (part.position_ids[:, 1:] == (part.position_ids[:, :-1] + 1) * same).all()
    with pytest.raises(ValueError, match="less than one sequence"):
        sequences(table, "held_out", tokens=100, sequence_length=4096, seed=1)
