"""The Puzzle stage through the store: smoke's recipe on random parents, checks, kills, failures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import torch

from assets.puzzle import checks
from assets.puzzle.assets import specs
from assets.puzzle.calibration import sequences
from assets.puzzle.costs.closed_form import cost_rows, non_block_costs
from assets.puzzle.search import InfeasibleError
from resources.models.accounting import Shape, total_parameters
from resources.models.loading import load, save
from resources.recipe.chats import chats_of
from resources.recipe.loading import load as load_recipe
from resources.store.building import Code, inputs_of, materialise
from resources.store.spec import Spec
from tests.assets.puzzle import tiny
from warehouse.store import Artifact, Output, Request, Store

if TYPE_CHECKING:
    from resources.execution import Execution

LAYERS = {"super": 3, "ultra": 7}
NAMES = ("assembled", "fused")
RECIPE = load_recipe("smoke", check_paths=False)
SPECS = {spec.key: spec for spec in specs(RECIPE)}
CHAT = chats_of(RECIPE)["super"]


def build_parent(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    model = tiny.parent(recipe["layers"], dtype=torch.float32)
    save(model, workdir / "parent", tiny.TOKENIZER)
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


def build(store: Store, spec: Spec, execution: Execution | None = None) -> Artifact:
    for partition in spec.slices():
        artifact = materialise(store, spec, Code("1"), execution, partition=partition)
    return artifact


def build_corpus(home: Store) -> None:
    table = corpus_table(200)
    columns = {"kind": ["text"] * 200, "domain": ["math"] * 200}
    for name, values in columns.items():
        table = table.append_column(name, pa.array(values))
    home.build(
        Request(
            "problems/corpus_tokens",
            CHAT,
            lambda *_: Output(tables={"corpus": table}),
            {},
            {},
            0,
            code_version="1",
            layout={CHAT: {}},
        )
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A home with random parents, a corpus and everything smoke's Puzzle stage makes of them."""
    home = Store(tmp_path_factory.mktemp("home"))
    build_corpus(home)
    for name, layers in LAYERS.items():
        home.build(
            Request(
                f"{name}/parent", None, build_parent, {}, {"layers": layers}, 0, code_version="1"
            )
        )
    for spec in SPECS.values():
        build(home, shorter(spec))
    return home


def current(store: Store, key: str) -> Artifact:
    return next(iter(store.parts(key).values()))


def test_every_asset_is_made_and_checked(store: Store) -> None:
    for key, spec in SPECS.items():
        artifact = current(store, key)
        assert len(artifact.checks) == len(spec.checks) >= 1
        assert all(result.passed for result in artifact.checks)
    images = {key: set(current(store, key).manifest["images"]) for key in SPECS}
    assert images["super/architecture"] == {"architecture", "pareto"}
    assert images["super/search_study"] == {"surrogate", "front"}
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
        inputs = inputs_of(store, SPECS[artifact.key])
        return bool(check(Changed(artifact, **tables), inputs).passed)

    scores = current(store, "super/block_scores")
    table = scores.table("block_scores")
    assert passes(checks.scores_complete, scores)
    assert not passes(checks.scores_complete, scores, block_scores=table.slice(1))
    for value in (float("nan"), float("inf"), -1.0):
        assert not passes(
            checks.scores_complete, scores, block_scores=with_first(table, value=value)
        )
    made = store.parts("super/block_library")["group_1"]
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


FAMILIES = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", {"attention_bias": True}),
    "mistral": ("MistralConfig", "MistralForCausalLM", {"sliding_window": None, "head_dim": 8}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", {"tie_word_embeddings": True}),
}


def build_family(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """A random parent as `transformers` itself makes and saves it, biases not zero."""
    import shutil

    import transformers

    config, model, changes = FAMILIES[recipe["family"]]
    torch.manual_seed(0)
    made = getattr(transformers, model)(
        getattr(transformers, config)(
            vocab_size=tiny.VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            bos_token_id=None,
            eos_token_id=None,
            pad_token_id=None,
            **changes,
        )
    )
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    made.save_pretrained(workdir / "parent")
    for file in tiny.TOKENIZER.iterdir():
        shutil.copy(file, workdir / "parent" / file.name)
    return Output(files={"": workdir / "parent"})


@pytest.mark.parametrize("family", FAMILIES)
def test_any_llama_shaped_parent_goes_through_the_whole_stage(tmp_path: Path, family: str) -> None:
    home = Store(tmp_path)
    build_corpus(home)
    home.build(
        Request("ultra/parent", None, build_family, {}, {"family": family}, 0, code_version="1")
    )
    for spec in SPECS.values():
        if spec.model == "ultra":
            build(home, shorter(spec))
    assembled, fused = (load(current(home, f"ultra/{name}").path()) for name in NAMES)
    size = current(home, "ultra/architecture").metrics["parameters"]
    assert assembled.num_parameters() == size
    report = current(home, "ultra/cost_report")
    assert all(result.passed for result in report.checks)
    ids = torch.arange(12)[None] % tiny.VOCABULARY
    for model in (assembled, fused):
        assert torch.isfinite(model(ids).logits).all()
    if family == "qwen2":
        attention = next(layer.self_attn for layer in assembled.model.layers if layer.self_attn)
        assert attention.q_proj.bias is not None and attention.o_proj.bias is None
