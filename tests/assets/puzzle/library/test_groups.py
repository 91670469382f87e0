"""A layer group's library: the same blocks however it is grouped and fed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from assets.puzzle.halves import Library, compose, file_name
from assets.puzzle.library import group
from assets.puzzle.library.build import group_layers
from assets.puzzle.library.importance import channel_importance
from resources.execution import Execution
from resources.models.loading import load, save
from resources.recipe.sections.execution import Activations
from tests.assets.puzzle import tiny
from tests.assets.puzzle.library.groups import (
    COUPLED,
    LAYERS,
    STEP_BYTES,
    STEPS,
    Made,
    build,
    files,
    same_tables,
    sweep,
)
from warehouse.artifact import Artifact, Output


def test_what_a_group_holds(whole: Output) -> None:
    rows = whole.tables["block_library"].to_pylist()
    names = [(row["layer"], row["kind"], row["variant"]) for row in rows]
    assert names == [
        (layer, kind, variant)
        for layer in range(LAYERS)
        for kind, variant in (("attention", "kv_1"), ("attention", "linear"), ("ffn", "ratio_50"))
    ]
    assert set(files(whole)) == {row["file"] for row in rows}
    assert {row["model"] for row in rows} == {"super"}
    assert all(row["loss_before"] > 0 and np.isfinite(row["loss_after"]) for row in rows)
    assert whole.metrics["loss_after"] < whole.metrics["loss_before"]
    # 16 x 4 keys and values for one head, 16 x 16 queries and outputs, the norm
    assert rows[0]["parameters"] == 2 * 16 * 4 + 2 * 16 * 16 + 16
    metrics = whole.tables["training_metrics"]
    assert metrics.num_rows == len(rows) * STEPS
    assert metrics["metric"].to_pylist()[: STEPS + 1] == (
        ["layer_0/attention_kv_1"] * STEPS + ["layer_0/attention_linear"]
    )
    assert metrics["tokens"].to_pylist()[:STEPS] == [64 * step for step in range(1, STEPS + 1)]
    assert json.loads((whole.files[""] / "library.json").read_text())["layers"] == [0, 1, 2, 3]


@pytest.mark.parametrize("groups", [2, 4])
def test_blocks_do_not_depend_on_the_grouping(
    tmp_path: Path, inputs: dict[str, Artifact], whole: Output, groups: int
) -> None:
    made = [
        build(tmp_path / str(number), inputs, groups=groups, group=number, seed=number)
        for number in range(groups)
    ]
    assert files(*made) == files(whole)
    for name in whole.tables:
        assert pa.concat_tables([each.tables[name] for each in made]).equals(whole.tables[name])


@pytest.mark.parametrize("steps", [1, 2, 4, 100])
@pytest.mark.parametrize("changes", [{}, COUPLED], ids=["decoupled", "coupled"])
def test_a_sweep_trains_the_same_blocks(
    tmp_path: Path, inputs: dict[str, Artifact], steps: int, changes: dict[str, Any]
) -> None:
    changes = {**changes, "groups": 2, "group": 1}
    resident = build(tmp_path / "resident", inputs, Execution(micro_batch=1), **changes)
    swept = build(tmp_path / "swept", inputs, sweep(steps, micro_batch=1), **changes)
    assert files(swept) == files(resident)
    assert same_tables(swept, resident)
    left = {path.name for path in (tmp_path / "swept").rglob("*") if path.is_file()}
    assert not [name for name in left if name.startswith("boundary")]


def test_explicit_groups_may_train_otherwise(
    tmp_path: Path, inputs: dict[str, Artifact], whole: Output
) -> None:
    alone = build(tmp_path / "a", inputs, layers=[1, 2])
    assert files(alone) == {name: data for name, data in files(whole).items() if name[6] in "12"}
    longer = build(tmp_path / "b", inputs, layers=[1, 2], tokens=64 * 2 * STEPS)
    assert longer.metrics["steps"] == 2 * STEPS
    assert files(longer) != files(alone)


def test_layers_of_a_group() -> None:
    found = [group_layers(10, {"groups": 4, "group": number}) for number in range(4)]
    assert found == [[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]]
    assert group_layers(10, {"layers": [2, 4], "groups": 3}) == [2, 3, 4]
    with pytest.raises(ValueError, match=r"5 layer groups .* 4 layers; give at most 4"):
        group_layers(4, {"groups": 5, "group": 0})
    with pytest.raises(ValueError, match=r"\[2, 4\]: the parent has layers 0 to 3"):
        group_layers(4, {"layers": [2, 4]})


def test_too_little_disk_for_a_step(tmp_path: Path, inputs: dict[str, Artifact]) -> None:
    execution = Execution(activations=Activations(source="sweep", bytes=STEP_BYTES - 1))
    with pytest.raises(ValueError, match=f"take {STEP_BYTES}; give execution.activations.bytes"):
        build(tmp_path, inputs, execution)


def test_a_diverging_child_is_named(
    tmp_path: Path, inputs: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FloatingPointError, match=r"layer_\d/\w+: loss is .*learning_rate"):
        build(tmp_path, inputs, learning_rate=1e30, gradient_clipping=0.0)


def test_only_untrained_variants_make_an_empty_group(
    tmp_path: Path, inputs: dict[str, Artifact]
) -> None:
    made = build(tmp_path, inputs, attention=["full", "noop"], ffn=["full", "noop"])
    assert made.tables["block_library"].num_rows == 0
    assert made.tables["training_metrics"].num_rows == 0
    assert made.metrics["children"] == 0
    library = Library(load(inputs["parent"].path()), [made.files[""]])
    compose(library, [("full", "noop"), ("noop", "full")] * 2)


def test_a_parent_with_biases_on_queries_keys_and_values(
    tmp_path: Path, inputs: dict[str, Artifact]
) -> None:
    """As Qwen2 has them: importance, training and composition; only linear children drop them."""
    save(tiny.parent(2, dtype=torch.float32, qkv_bias=True), tmp_path / "parent", tiny.TOKENIZER)
    given: dict[str, Any] = {**inputs, "parent": Made(tmp_path / "parent")}
    recipe = {"tokens": 256, "sequence_length": 32, "seed": 3}
    given["channel_importance"] = Made(
        **channel_importance(tmp_path, given, recipe, Execution()).tables
    )
    for coupling in ("decoupled", "coupled"):
        made = build(tmp_path / coupling, given, coupling=coupling)
        library = Library(load(tmp_path / "parent"), made.files[""])
        model = compose(library, [("kv_1", "full"), ("linear", "ratio_50")])
        assert model.model.layers[0].self_attn.k_proj.bias.shape == (4,)
        assert model.model.layers[0].self_attn.o_proj.bias is None
        assert torch.isfinite(tiny.logits(model, tiny.data())).all()


def test_names() -> None:
    assert group.turns_of(5) == 8
    assert file_name(3, "pair", "kv_1/ratio_50") == "layer_3/pair_kv_1__ratio_50.safetensors"
