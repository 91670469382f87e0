"""The block library of a layer group: its trained sub-blocks, as safetensors.

Makes the children of a group of the parent's layers, initialises them from it and trains them. A
group's blocks are the same however the layers are grouped and wherever the activations come from.
Knows the recipe, the corpus and the tables; the training itself is in `group.py` and `bypass.py`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from assets.puzzle.calibration import Sequences
    from assets.puzzle.library.activations import Batches
    from assets.puzzle.library.group import GroupTraining, Make
    from resources.execution import Execution
    from resources.models.layers import LayerReader

LIBRARY_SCHEMA = pa.schema(
    [
        ("model", pa.string()),
        ("layer", pa.int64()),
        ("kind", pa.string()),
        ("variant", pa.string()),
        ("initialised", pa.string()),
        ("parameters", pa.int64()),
        ("loss_before", pa.float64()),
        ("loss_after", pa.float64()),
        ("file", pa.string()),
    ]
)


def build_library(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """Trained children as files `layer_<i>/attention_<v>.safetensors`, `ffn_<v>.safetensors`.

    With coupling `coupled`, whole blocks `layer_<i>/pair_<attention>__<ffn>.safetensors`; then
    `kind` is `pair` and `variant` `<attention>/<ffn>`. `library.json` says which layers the folder
    is for.

    Inputs: parent, corpus, channel_importance. Recipe: attention and ffn (variant names), coupling,
    the group (see `group_layers`), a training section, and `data_seed`, which orders the corpus for
    all groups alike. Execution: `activations` (`source` and `bytes`), `micro_batch` (sequences),
    `checkpoint_steps`. Tables: `block_library` (a row a child: loss before and after on tokens not
    trained on) and `training_metrics`.

    The recipe's `dtype` is computed in under autocast: weights are float32 until blocks are judged
    and stored, in the parent's dtype.

    With `resident` activations memory holds the parent's layers up to the group's last and the
    children of the whole group; with `sweep` one layer of the parent and its children.
    """
    from assets.puzzle.halves import trained
    from assets.puzzle.library.group import GroupTraining
    from resources.chat.matching import fits
    from resources.models.folders import stored_dtype
    from resources.models.layers import LayerReader
    from resources.recipe.sections.base import Optimizer

    began = time.monotonic()
    source = LayerReader(inputs["parent"].path(), device=execution.device)
    layers = group_layers(source.config.num_hidden_layers, recipe)
    made_for = inputs["corpus"].manifest["observations"].get("chat")
    fits(made_for, inputs["parent"].path(), inputs["corpus"].label, inputs["parent"].label)
    corpus = inputs["corpus"].table("corpus", columns=["text_ids"])
    batches, steps = _batches(corpus, recipe, execution)
    library = workdir / "library"
    library.mkdir(parents=True, exist_ok=True)
    coupling = {"coupling": recipe["coupling"], "layers": layers}
    (library / "library.json").write_text(json.dumps(coupling))
    reports = []
    if trained(*recipe["attention"], *recipe["ffn"]):
        group = GroupTraining(
            source,
            layers,
            _maker(source, inputs["channel_importance"], recipe),
            Optimizer.within(recipe),
            steps,
            library=library,
            work=workdir,
            dtype=stored_dtype(inputs["parent"].path()),
            every=execution.checkpoint_steps,
            progress=execution.progress,
        )
        _train(group, batches, workdir / "boundaries", recipe, execution)
        reports = [group.report(layer) for layer in layers]
    return _output(library, reports, recipe, steps, time.monotonic() - began)


def group_layers(count: int, recipe: Mapping[str, Any]) -> list[int]:
    """The layers of the group that a recipe names, of a parent with `count` layers.

    Either `layers` [first, last], or number `group` (from 0) of `groups` even ones.

    Raises:
        ValueError: the parent has not as many layers.
    """
    if "layers" in recipe:
        first, last = recipe["layers"]
        if last >= count:
            raise ValueError(
                f"layer group [{first}, {last}]: the parent has layers 0 to {count - 1}; "
                f"end the last group with {count - 1}"
            )
        return list(range(first, last + 1))
    groups, group = recipe["groups"], recipe["group"]
    if groups > count:
        raise ValueError(
            f"groups: {groups} layer groups for the parent's {count} layers; give at most {count}"
        )
    return [int(layer) for layer in np.array_split(np.arange(count), groups)[group]]


def corpus_tokens(corpus: pa.Table) -> int:
    """Tokens of a corpus table."""
    import pyarrow.compute as pc

    return int(pc.sum(pc.list_value_length(corpus["text_ids"])).as_py() or 0)


def _batches(
    corpus: pa.Table, recipe: Mapping[str, Any], execution: Execution
) -> tuple[Batches, int]:
    """What goes through the layers turn by turn, and how many of the turns are steps."""
    from assets.puzzle.calibration import sequences
    from assets.puzzle.library.activations import Batches
    from assets.puzzle.library.group import FIRST_STEP, JUDGE, turns_of

    length, batch_tokens = recipe["sequence_length"], recipe["batch_tokens"]
    rows = batch_tokens // length
    seed = recipe["data_seed"]
    wanted = recipe["tokens"] or corpus_tokens(corpus)
    data = sequences(corpus, "train", tokens=wanted, sequence_length=length, seed=seed)
    judged = sequences(corpus, "score", tokens=batch_tokens, sequence_length=length, seed=seed)
    steps = max((recipe["tokens"] or recipe["epochs"] * data.tokens) // batch_tokens, 1)

    def of(turn: int) -> Sequences:
        if turn in (JUDGE, turns_of(steps) - 1):
            return judged
        step = max(turn - FIRST_STEP, 0)
        return data.select(np.arange(step * rows, (step + 1) * rows) % len(data))

    return Batches(of, turns_of(steps), rows, length, execution.micro_batch), steps


def _train(
    group: GroupTraining,
    batches: Batches,
    boundaries: Path,
    recipe: Mapping[str, Any],
    execution: Execution,
) -> None:
    """Run the parent's layers and train beside them; a sweep keeps states in `boundaries`."""
    from assets.puzzle.library.activations import resident, sweep
    from resources.models.precision import Precision

    with Precision.of(recipe, execution.device).autocast():
        if execution.activations.source == "resident":
            resident(group.source, group.depth, batches, group, group.start)
        else:
            room = execution.activations.bytes
            sweep(group.source, group.depth, batches, group, boundaries, room, group.start)


def _maker(source: LayerReader, importance: Artifact, recipe: Mapping[str, Any]) -> Make:
    """`make_children` with all that is the same for every layer."""
    from assets.puzzle.library.children import make_children

    variants = {kind: recipe[kind] for kind in ("attention", "ffn")}
    tables = {name: importance.table(name) for name in ("channel_importance", "kv_head_importance")}
    coupled = recipe["coupling"] == "coupled"
    return lambda layer, block, lesson: make_children(
        source, layer, block, variants, tables, lesson, coupled
    )


def _output(
    library: Path,
    reports: Sequence[Mapping[str, Any]],
    recipe: Mapping[str, Any],
    steps: int,
    seconds: float,
) -> Output:
    model = {"model": recipe["model"]}
    rows = [model | row for report in reports for row in report["children"]]
    before, after = (
        float(np.mean([row[key] for row in rows])) if rows else 0.0
        for key in ("loss_before", "loss_after")
    )
    tokens = steps * recipe["batch_tokens"]
    return Output(
        tables={
            "block_library": pa.Table.from_pylist(rows, schema=LIBRARY_SCHEMA),
            "training_metrics": _metrics(reports, recipe["batch_tokens"], recipe["asset_key"]),
        },
        files={"": library},
        metrics={
            "loss_after": after,
            "loss_before": before,
            "children": float(len(rows)),
            "steps": float(steps),
            "tokens": float(tokens),
        },
        observations={"seconds": seconds, "tokens_per_second": tokens / seconds},
    )


def _metrics(reports: Sequence[Mapping[str, Any]], batch_tokens: int, stage: str) -> pa.Table:
    """Rows (step, tokens, metric, value, stage): each child's loss at each step."""
    names = [
        f"layer_{row['layer']}/{row['kind']}_{row['variant']}"
        for report in reports
        for row in report["children"]
    ]
    histories = [report["history"].T for report in reports]
    values = np.concatenate(histories) if histories else np.zeros((0, 0))
    steps = np.tile(np.arange(1, values.shape[1] + 1), len(names))
    return pa.table(
        {
            "step": pa.array(steps, pa.int64()),
            "tokens": pa.array(steps * batch_tokens, pa.int64()),
            "metric": pa.array([name for name in names for _ in values.T], pa.string()),
            "value": pa.array(values.ravel(), pa.float64()),
            "stage": pa.array([stage] * len(steps), pa.string()),
        }
    )
