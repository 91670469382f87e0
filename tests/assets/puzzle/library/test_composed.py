"""Models of a library's blocks: from several folders, of pairs, assembled, in bfloat16."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from assets.puzzle.calibration import judging
from assets.puzzle.choice import assemble as assembly
from assets.puzzle.fusion import fuse
from assets.puzzle.halves import Library, compose
from assets.puzzle.scoring.build import model_kl
from resources.execution import Execution
from resources.models.folders import stored_dtype
from resources.models.loading import load, save
from tests.assets.puzzle import tiny
from tests.assets.puzzle.library.groups import COUPLED, LAYERS, RECIPE, Made, build, files
from warehouse.artifact import Artifact, Output


def test_a_library_of_several_folders(
    tmp_path: Path, inputs: dict[str, Artifact], whole: Output
) -> None:
    folders = [
        build(tmp_path / str(number), inputs, groups=2, group=number).files[""]
        for number in range(2)
    ]
    parent, batch = load(inputs["parent"].path()), tiny.data()
    one, several = Library(parent, whole.files[""]), Library(parent, folders)
    architecture = [
        ("kv_1", "full"),
        ("noop", "ratio_50"),
        ("full", "noop"),
        ("linear", "ratio_50"),
    ]
    logits = tiny.logits(compose(one, architecture), batch)
    assert torch.equal(tiny.logits(compose(several, architecture), batch), logits)
    with pytest.raises(FileNotFoundError, match=r"layer 3 \(expected layer_3/ffn_ratio_50"):
        Library(parent, folders[:1]).block(3, "full", "ratio_50")
    with pytest.raises(ValueError, match="are the same"):
        Library(parent, [folders[0], whole.files[""]])
    # a digest is of the weights, wherever they lie, and of nothing else
    pairs = [(a, f) for a in RECIPE["attention"] for f in RECIPE["ffn"]]
    digests = {(layer, *pair): one.digest(layer, *pair) for layer in range(4) for pair in pairs}
    assert len(set(digests.values())) == len(digests)
    assert all(several.digest(*place) == digest for place, digest in digests.items())
    changed = load(inputs["parent"].path())
    with torch.no_grad():
        changed.model.layers[2].mlp.up_proj.weight[0, 0] += 1
    other = Library(changed, folders)
    different = {place for place in digests if other.digest(*place) != digests[place]}
    assert different == {(2, attention, "full") for attention in RECIPE["attention"]}


def test_a_coupled_library(tmp_path: Path, inputs: dict[str, Artifact], whole: Output) -> None:
    made = build(tmp_path / "coupled", inputs, **COUPLED)
    rows = made.tables["block_library"].to_pylist()
    assert [row["variant"] for row in rows if row["layer"] == 1] == [
        "full/ratio_50",
        "kv_1/full",
        "kv_1/ratio_50",
        "kv_1/noop",
        "noop/ratio_50",
    ]
    assert {row["kind"] for row in rows} == {"pair"}
    assert made.metrics["loss_after"] < made.metrics["loss_before"]
    assert "layer_1/pair_kv_1__noop.safetensors" in files(made)
    parent = load(inputs["parent"].path())
    library = Library(parent, made.files[""])
    assert library.coupled
    with pytest.raises(ValueError, match="layer 0: a coupled library has no attention variant"):
        library.half(0, "attention", "kv_1")
    model = compose(
        library, [("kv_1", "ratio_50"), ("full", "noop"), ("noop", "full"), ("full",) * 2]
    )
    for layer, wanted in ((0, library.block(0, "kv_1", "ratio_50")), (3, parent.model.layers[3])):
        weights = model.model.layers[layer].state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in wanted.state_dict().items())
    assert library.digest(0, "kv_1", "full") != library.digest(0, "kv_1", "ratio_50")
    assert library.digest(0, "full", "noop") == Library(parent).digest(0, "full", "noop")
    shutil.copytree(whole.files[""] / "layer_0", made.files[""] / "layer_0", dirs_exist_ok=True)
    with pytest.raises(ValueError, match="halves and pairs are mixed"):
        Library(parent, made.files[""])


def test_assembly_takes_partitions_and_fuses_the_runs_of_the_search(
    tmp_path: Path, inputs: dict[str, Artifact], whole: Output
) -> None:
    parts: dict[str, Any] = {
        f"block_library@group_{number}": Made(
            build(tmp_path / str(number), inputs, groups=2, group=number).files[""]
        )
        for number in range(2)
    }
    variants = [("full", "full"), ("noop", "ratio_50"), ("noop", "ratio_50"), ("kv_1", "full")]
    recipe = {"tokens": 64, "sequence_length": 32, "seed": 0}
    parent, batch = load(inputs["parent"].path()), tiny.data()
    chained = compose(Library(parent, whole.files[""]), variants)
    for fused_into, expected in (
        ([None] * 4, chained),
        ([None, 1, 1, None], fuse(chained, [[1, 2]])),
    ):
        rows = [
            {"layer": layer, "attention": a, "ffn": f, "fused_into": fused_into[layer]}
            for layer, (a, f) in enumerate(variants)
        ]
        architecture: Any = Made(architectures=pa.Table.from_pylist(rows))
        work = tmp_path / f"assembled_{len(expected.model.layers)}"
        work.mkdir()
        made = assembly.assemble(
            work, {**inputs, **parts, "architecture": architecture}, recipe, Execution()
        )
        model = load(made.files[""])
        assert torch.equal(tiny.logits(model, batch), tiny.logits(expected, batch))
        assert made.metrics["fused_runs"] == 4 - len(expected.model.layers)
        assert made.metrics["kl"] > 0


def test_blocks_and_assemblies_of_a_bfloat16_parent_are_bfloat16(
    tmp_path: Path, inputs: dict[str, Artifact]
) -> None:
    """And what is measured of them is measured of the weights as they are stored."""
    save(tiny.parent(LAYERS, dtype=torch.bfloat16), tmp_path / "parent", tiny.TOKENIZER)
    given: dict[str, Any] = {**inputs, "parent": Made(tmp_path / "parent")}
    made = build(tmp_path / "library", given)
    for file in made.files[""].rglob("*.safetensors"):
        assert {tensor.dtype for tensor in load_file(file).values()} == {torch.bfloat16}
    full = build(tmp_path / "full", inputs)
    assert made.tables["block_library"]["loss_after"] != full.tables["block_library"]["loss_after"]
    rows = [
        {"layer": layer, "attention": a, "ffn": f, "fused_into": into}
        for layer, (a, f, into) in enumerate(
            [("full", "full", None), *[("noop", "ratio_50", 1)] * 2, ("kv_1", "full", None)]
        )
    ]
    given |= {
        "block_library": Made(made.files[""]),
        "architecture": Made(architectures=pa.Table.from_pylist(rows)),
    }
    recipe = {"tokens": 64, "sequence_length": 32, "seed": 0}
    child = assembly.assemble(tmp_path, given, recipe, Execution())
    assert stored_dtype(child.files[""]) == "bfloat16"
    parent, model = (load(path, dtype="float32") for path in (tmp_path / "parent", child.files[""]))
    kl = model_kl(parent, model, judging(given["corpus"], recipe))
    assert float(kl.mean()) == child.metrics["kl"]
    half = build(tmp_path / "half", given, dtype="bfloat16")
    losses = [each.metrics["loss_after"] for each in (half, made)]
    assert losses[0] != losses[1] == pytest.approx(losses[0], rel=0.2)
    again = assembly.assemble(tmp_path, given, {**recipe, "dtype": "bfloat16"}, Execution())
    assert again.metrics["kl"] != child.metrics["kl"] == pytest.approx(again.metrics["kl"], rel=0.1)
