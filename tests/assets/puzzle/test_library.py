"""A layer group's library: the same blocks however it is grouped, fed, interrupted or retried."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file, save_file

from assets.puzzle.calibration import judging
from assets.puzzle.choice import assemble as assembly
from assets.puzzle.fusion import fuse
from assets.puzzle.halves import Library, compose, file_name
from assets.puzzle.library import group
from assets.puzzle.library.build import build_library, group_layers
from assets.puzzle.library.bypass import LayerTraining, Lesson
from assets.puzzle.library.importance import channel_importance
from assets.puzzle.scoring.build import model_kl
from resources.execution import Execution
from resources.models.folders import stored_dtype
from resources.models.loading import load, save
from resources.recipe.sections.execution import Activations
from tests.assets.puzzle import tiny
from warehouse.artifact import Artifact, Output

TOKENIZER = Path(__file__).parents[3] / "resources" / "models" / "bundled" / "tokenizer"
LAYERS = 4
STEPS = 6
RECIPE: dict[str, Any] = {
    "attention": ["full", "kv_1", "linear", "noop"],
    "ffn": ["full", "ratio_50", "noop"],
    "coupling": "decoupled",
    "groups": 1,
    "group": 0,
    "tokens": 64 * STEPS,
    "epochs": None,
    "batch_tokens": 64,
    "sequence_length": 32,
    "learning_rate": 1e-2,
    "schedule": "cosine",
    "warmup_ratio": 0.0,
    "min_learning_rate": 0.0,
    "weight_decay": 0.1,
    "betas": [0.9, 0.95],
    "gradient_clipping": 1.0,
    "data_seed": 7,
    "seed": 1,
    "asset_key": "super/block_library",
    "model": "super",
}
COUPLED = {"coupling": "coupled", "attention": ["full", "kv_1", "noop"]}
WHOLE = Execution()
STEP_BYTES = 2 * 64 * 16 * 4  # two boundaries of a step: 64 tokens, hidden size 16, float32
Files = dict[str, bytes]


class Made:
    """What a build reads of an artifact, without a store."""

    label = "made"
    manifest: Mapping[str, Any] = {"observations": {}, "tables": {}}

    def __init__(self, folder: Path | None = None, **tables: pa.Table) -> None:
        self._folder, self._tables = folder, tables

    def path(self) -> Path:
        assert self._folder is not None
        return self._folder

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        return self._tables[name].select(columns or self._tables[name].column_names)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A random parent in files, a corpus, and the importance of the parent's parts."""
    home = tmp_path_factory.mktemp("inputs")
    save(tiny.parent(LAYERS, dtype=torch.float32), home / "parent", TOKENIZER)
    found: dict[str, Any] = {
        "parent": Made(home / "parent"),
        "corpus": Made(corpus=tiny.corpus(200)),
    }
    recipe = {"tokens": 256, "sequence_length": 32, "seed": 3}
    made = channel_importance(home, found, recipe, Execution(micro_batch=4))
    return {**found, "channel_importance": cast(Artifact, Made(**made.tables))}


def build(
    folder: Path,
    inputs: dict[str, Artifact],
    execution: Execution = WHOLE,
    **changes: Any,
) -> Output:
    folder.mkdir(parents=True, exist_ok=True)
    return build_library(folder, inputs, RECIPE | changes, execution)


def files(*outputs: Output) -> Files:
    """The trained blocks of some groups, by their names."""
    found: Files = {}
    for output in outputs:
        folder = output.files[""]
        for file in folder.rglob("*.safetensors"):
            assert str(file.relative_to(folder)) not in found
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


def sweep(steps: int, **more: Any) -> Execution:
    """Execution settings of a sweep in chunks of some steps."""
    activations = Activations(source="sweep", bytes=steps * STEP_BYTES)
    return Execution(activations=activations, **more)


def same_tables(one: Output, other: Output) -> bool:
    return all(one.tables[name].equals(other.tables[name]) for name in one.tables)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, inputs: dict[str, Artifact]) -> Output:
    """All layers in one group, with a resident parent, undisturbed."""
    return build(tmp_path_factory.mktemp("whole"), inputs)


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


def killed_after(monkeypatch: pytest.MonkeyPatch, learned: int) -> Callable[[], int]:
    """Training stops with a KeyboardInterrupt after so many updates of a layer, once."""
    calls = [0]
    learn = LayerTraining.learn

    def counted(self: LayerTraining, lesson: Lesson, **places: bool) -> None:
        if calls[0] == learned:
            calls[0] += 1
            raise KeyboardInterrupt
        calls[0] += 1
        learn(self, lesson, **places)

    monkeypatch.setattr(LayerTraining, "learn", counted)
    return lambda: calls[0]


@pytest.mark.parametrize("coupled", [False, True])
@pytest.mark.parametrize(
    ("execution", "learned", "again"),
    [
        # After four steps of two layers and one layer's fifth: both go on after step four.
        (Execution(checkpoint_steps=2), 9, 4),
        (Execution(checkpoint_steps=100), 9, 12),
        # In chunks of two turns, the first two without a step: killed in the last layer's second
        # step, that layer's state of before and the other's of after are there.
        (sweep(2, checkpoint_steps=100), 3, 2 + 8),
        # The same with a state on disk after every step.
        (sweep(2, checkpoint_steps=1), 3, 1 + 8),
    ],
    ids=["resident", "from the start", "sweep", "sweep, within a chunk"],
)
def test_a_killed_group_goes_on_bit_for_bit(
    tmp_path: Path,
    inputs: dict[str, Artifact],
    monkeypatch: pytest.MonkeyPatch,
    execution: Execution,
    learned: int,
    again: int,
    coupled: bool,
) -> None:
    changes = (COUPLED if coupled else {}) | {"groups": 2, "group": 1}
    undisturbed = build(tmp_path / "undisturbed", inputs, **changes)
    calls = killed_after(monkeypatch, learned)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "killed", inputs, execution, **changes)
    made = build(tmp_path / "killed", inputs, execution, **changes)
    assert files(made) == files(undisturbed)
    assert same_tables(made, undisturbed)
    assert calls() - learned - 1 == again


def test_a_killed_group_may_go_on_from_another_source(
    tmp_path: Path, inputs: dict[str, Artifact], whole: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after(monkeypatch, 9)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, inputs, sweep(3))
    for execution, learned in ((Execution(checkpoint_steps=1), 7), (sweep(2), 3)):
        killed_after(monkeypatch, learned)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path, inputs, execution)
    assert files(build(tmp_path, inputs, sweep(4))) == files(whole)


def test_a_finished_group_is_not_trained_again(
    tmp_path: Path, inputs: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = build(tmp_path, inputs, groups=4, group=2)
    calls = killed_after(monkeypatch, 0)
    for execution in (WHOLE, sweep(1)):
        assert same_tables(build(tmp_path, inputs, execution, groups=4, group=2), made)
    assert calls() == 0


@pytest.mark.parametrize("execution", [Execution(checkpoint_steps=2), sweep(2)])
@pytest.mark.parametrize("written", [0, 1, 3, 5, 6])
def test_a_full_disk_leaves_nothing_half_written(
    tmp_path: Path,
    inputs: dict[str, Artifact],
    monkeypatch: pytest.MonkeyPatch,
    execution: Execution,
    written: int,
) -> None:
    """States, blocks and reports: whichever write meets the full disk, the next run makes it."""
    changes = {"groups": 4, "group": 1}
    undisturbed = build(tmp_path / "undisturbed", inputs, **changes)
    left = [written]

    def full(tensors: Any, file: Path, **metadata: Any) -> None:
        left[0] -= 1
        if left[0] < 0:
            Path(file).write_bytes(b"half of a file")
            raise OSError(errno.ENOSPC, "No space left on device", str(file))
        save_file(tensors, file, **metadata)

    with monkeypatch.context() as patched:
        patched.setattr("safetensors.torch.save_file", full)
        with pytest.raises(OSError) as caught:
            build(tmp_path / "full", inputs, execution, **changes)
    assert caught.value.errno == errno.ENOSPC
    made = build(tmp_path / "full", inputs, execution, **changes)
    assert files(made) == files(undisturbed)
    assert same_tables(made, undisturbed)
    assert {path.name for path in made.files[""].rglob("*") if path.is_file()} == {
        "library.json",
        *(Path(name).name for name in files(made)),
    }


def test_a_full_disk_between_layers(
    tmp_path: Path, inputs: dict[str, Artifact], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boundary cut short by a full disk is not read on the next run."""
    synced = [0]

    def full(descriptor: int) -> None:
        synced[0] += 1
        if synced[0] == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("assets.puzzle.library.activations.os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            build(tmp_path / "full", inputs, sweep(2))
    assert files(build(tmp_path / "full", inputs, sweep(2))) == files(
        build(tmp_path / "undisturbed", inputs)
    )


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
    save(tiny.parent(2, dtype=torch.float32, qkv_bias=True), tmp_path / "parent", TOKENIZER)
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


def test_importance_does_not_depend_on_the_room(
    tmp_path: Path, inputs: dict[str, Artifact]
) -> None:
    recipe = {"tokens": 256, "sequence_length": 32, "seed": 3}
    one = 2 * 4 * 32 * 16 * 4  # two boundaries of four sequences
    for room in (one, 10**6):
        activations = Activations(source="sweep", bytes=room)
        execution = Execution(micro_batch=4, activations=activations)
        made = channel_importance(tmp_path, inputs, recipe, execution)
        for name, table in made.tables.items():
            assert table.equals(inputs["channel_importance"].table(name))
    with pytest.raises(ValueError, match=f"take {one}"):
        channel_importance(
            tmp_path,
            inputs,
            recipe,
            Execution(micro_batch=4, activations=Activations(bytes=one - 1)),
        )


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
    save(tiny.parent(LAYERS, dtype=torch.bfloat16), tmp_path / "parent", TOKENIZER)
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


def test_names() -> None:
    assert group.turns_of(5) == 8
    assert file_name(3, "pair", "kv_1/ratio_50") == "layer_3/pair_kv_1__ratio_50.safetensors"
