"""What each part of Puzzle is worth on the tiny family: KL and accuracy of models at equal cost.

    heirloom run --recipe tiny && python benchmarks/puzzle_ablations.py [--home DIR] [MODEL ...]

Reads a home's parent, corpus, library and scores; builds a library without training and a coupled
one beside it; puts models together by the search and by other choices under the same limits; and
prints Markdown: KL to the parent on held-out documents (95 % bootstrap over sequences, the
difference to the search paired) and greedy accuracy on the held-out problems by depth (Wilson 95 %,
the difference to the search paired by problem). No model here is trained after assembly.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from assets.puzzle.calibration import Sequences, sequences
from assets.puzzle.choice.batch_sizes import best, sweep
from assets.puzzle.choice.methods import choices
from assets.puzzle.choice.problem import read_problem
from assets.puzzle.choice.tables import architecture_rows, rows_of
from assets.puzzle.fusing.windows import plan_runs
from assets.puzzle.fusion import fuse
from assets.puzzle.halves import Library, compose
from assets.puzzle.library.build import build_library
from assets.puzzle.scoring.build import intervals, model_kl, score_blocks
from resources.benchmarks.intervals import paired_difference, wilson
from resources.engines.opening import open_engine
from resources.engines.protocol import Sampling
from resources.execution import Execution
from resources.models.loading import load, save
from resources.store import home as homes
from resources.verifiers import attempts
from warehouse.artifact import Artifact, Output, parts
from warehouse.store import Store

DEPTHS = (1, 2, 3, 4)
HELD_OUT_TOKENS = 32768
NOT_TRAINED = 1e-30  # a learning rate that leaves the initialisation as it is


class Made:
    """A build's output, read like an artifact."""

    def __init__(self, key: str, output: Output, metrics: Mapping[str, float] | None = None):
        self.key, self.output = key, output
        self.metrics = dict(metrics or output.metrics)
        self.data_version = key
        self.manifest = {"tables": dict(output.tables)}

    def table(self, name: str, columns: list[str] | None = None) -> Any:
        """A table of the output."""
        table = self.output.tables[name]
        return table.select(columns) if columns else table

    def path(self, name: str = "") -> Path:
        """The output's folder."""
        return self.output.files[name]


class Bench:
    """One model's parent, data and problems, and the measurements on them."""

    def __init__(self, store: Store, model: str, work: Path) -> None:
        self.store, self.model, self.work = store, model, work
        self.parent_folder = self.current("parent").path()
        self.parent = load(self.parent_folder, dtype="float32")
        self.corpus = self._artifact("problems/corpus")
        scores = self.current("block_scores").manifest["recipe"]
        self.length = int(scores["sequence_length"])
        self.held_out = self.data("held_out")
        held = self._artifact("problems/held_out")
        self.problems = [dict(r, asset_key=held.key) for r in held.table("problems").to_pylist()]

    def _artifact(self, key: str) -> Artifact:
        found = self.store.current(key)
        if found is None:
            raise SystemExit(f"{key} was never built in this home: run `heirloom run` first")
        return found

    def current(self, name: str) -> Artifact:
        """One of the model's artifacts."""
        return self._artifact(f"{self.model}/{name}")

    def data(self, share: str) -> Sequences:
        """Held-out or scoring sequences."""
        return sequences(
            self.corpus.table("corpus", columns=["text_ids"]),
            share,
            tokens=HELD_OUT_TOKENS,
            sequence_length=self.length,
            seed=1,
        )

    def libraries(self) -> dict[str, Artifact]:
        """The home's library, a partition a name as assets see it."""
        return {
            f"block_library@{partition}": artifact
            for partition, artifact in self.store.parts(f"{self.model}/block_library").items()
        }

    def rebuilt(self, name: str, **changes: Any) -> dict[str, Made]:
        """The library built again with other settings, group by group."""
        made = {}
        for part, artifact in self.libraries().items():
            recipe = artifact.manifest["recipe"] | changes
            recipe |= {"seed": 0, "asset_key": artifact.key, "model": name}
            folder = self.work / name / part.partition("@")[2]
            folder.mkdir(parents=True, exist_ok=True)
            inputs = {
                "parent": self.current("parent"),
                "corpus": self.corpus,
                "channel_importance": self.current("channel_importance"),
            }
            made[part] = Made(f"{name}/{part}", build_library(folder, inputs, recipe, Execution()))
        return made

    def scored(self, name: str, library: Mapping[str, Any]) -> Made:
        """Block scores of a library."""
        artifact = self.current("block_scores")
        recipe = artifact.manifest["recipe"] | {"seed": 1, "asset_key": artifact.key, "model": name}
        inputs = {"parent": self.current("parent"), "corpus": self.corpus, **library}
        folder = self.work / f"{name}_scores"
        folder.mkdir(parents=True, exist_ok=True)
        return Made(name, score_blocks(folder, inputs, recipe, Execution()))

    def searched(self, scores: Any) -> list[tuple[str, str]]:
        """The architecture that the home's search would choose with these scores."""
        chosen = self.current("architecture")
        problem = read_problem(
            {
                "parent": self.current("parent"),
                "block_scores": scores,
                "block_costs": self.current("block_costs"),
            },
            chosen.manifest["recipe"],
        )
        batch, found = best(sweep(problem, 60.0))
        rows = architecture_rows(rows_of(problem.candidates[batch], found))
        return [(row["attention"], row["ffn"]) for row in rows]

    def baselines(self) -> dict[str, list[tuple[str, str]]]:
        """Other choices under the same limits, by method."""
        chosen = self.current("architecture")
        problem = read_problem(
            {
                "parent": self.current("parent"),
                "block_scores": self.current("block_scores"),
                "block_costs": self.current("block_costs"),
            },
            chosen.manifest["recipe"],
        )
        batch = int(chosen.metrics["batch"])
        table = problem.candidates[batch].to_pylist()
        found = {}
        for method, rows in choices(problem, batch, chosen, random=3, seed=1).items():
            if rows is not None and method != "search":
                layers = architecture_rows([table[row] for row in rows])
                found[method] = [(row["attention"], row["ffn"]) for row in layers]
        return found

    def kl(self, model: Any) -> np.ndarray:
        """KL to the parent of each held-out sequence."""
        return model_kl(self.parent, model, self.held_out)

    def accuracy(self, model: Any) -> dict[bytes, tuple[int | None, float]]:
        """Greedy, thinking off: problem -> (depth, 1 where the answer is right)."""
        with tempfile.TemporaryDirectory(dir=self.work) as folder:
            save(model, Path(folder) / "model", self.parent_folder)
            engine = open_engine(Path(folder) / "model", "ablation", Execution(threads=1))
            sampling = Sampling(temperature=0.0, max_new_tokens=96, seed=1)
            made = attempts.attempt(engine, attempts.every(self.problems, "off", 1), sampling)
        return {
            one.prompt.problem["row_id"]: (
                one.prompt.problem["difficulty"],
                float(one.verdict.correct),
            )
            for one in made
        }


def measure(bench: Bench, fusion_only: bool) -> list[str]:
    """The Markdown table of one model."""
    library = Library(
        bench.parent, [part.path() for part in parts(bench.libraries(), "block_library")]
    )
    own = [
        (row["attention"], row["ffn"])
        for row in bench.current("architecture").table("architectures").sort_by("layer").to_pylist()
    ]
    search = compose(library, own)
    models: dict[str, Any] = {"parent": bench.parent, "search": search}
    if not fusion_only:
        models |= others(bench, library, own)
    runs = fused_runs(bench, search)
    if runs:
        models["search, fused (own norms)"] = fuse(search, runs)
        models["search, fused (the last norm)"] = fuse(search, runs, norms="last")
    return table(bench, models, runs)


def others(bench: Bench, library: Library, own: list[tuple[str, str]]) -> dict[str, Any]:
    """Models at equal cost that differ in how they were chosen or how their blocks were made."""
    models: dict[str, Any] = {
        name: compose(library, rows) for name, rows in bench.baselines().items()
    }
    bare = bench.rebuilt("untrained", learning_rate=NOT_TRAINED, min_learning_rate=0.0, tokens=2048)
    bare_library = Library(bench.parent, [made.path() for made in bare.values()])
    models["search's choice, blocks not trained"] = compose(bare_library, own)
    models["searched and put together of blocks not trained"] = compose(
        bare_library, bench.searched(bench.scored("untrained", bare))
    )
    coupled = bench.rebuilt("coupled", coupling="coupled")
    coupled_library = Library(bench.parent, [made.path() for made in coupled.values()])
    models["search's choice, coupled blocks"] = compose(coupled_library, own)
    models["searched and put together of coupled blocks"] = compose(
        coupled_library, bench.searched(bench.scored("coupled", coupled))
    )
    return models


def fused_runs(bench: Bench, model: Any) -> list[list[int]]:
    """The runs that the recipe's fusion takes, or all it could take without one."""
    from assets.puzzle.fusion import dependency

    fused = bench.store.current(f"{bench.model}/fused")
    recipe = fused.manifest["recipe"] if fused is not None else {}
    blocks = model.config.block_configs
    matrix = dependency(model, bench.data("score").select(slice(0, 16)))
    return plan_runs(
        blocks,
        matrix,
        min_run=recipe.get("min_run", 2),
        max_run=recipe.get("max_run"),
        leave_last=recipe.get("leave_last", True),
        max_dependency=recipe.get("max_dependency", 2.0),
        windows=recipe.get("windows"),
    )


def table(bench: Bench, models: Mapping[str, Any], runs: Sequence[Sequence[int]]) -> list[str]:
    """Rows of Markdown; differences to the search within chance are called noise."""
    kl = {name: bench.kl(model) for name, model in models.items()}
    right = {name: bench.accuracy(model) for name, model in models.items()}
    lines = [
        f"### {bench.model}",
        "",
        f"{len(bench.held_out)} held-out sequences of {bench.length} tokens, {len(bench.problems)} "
        f"problems; fused runs: {[[run[0], run[-1]] for run in runs] or 'none'}.",
        "",
        "| model | parameters | KL to the parent | against the search | accuracy, % | "
        + " | ".join(f"k={depth}" for depth in DEPTHS)
        + " | against the search |",
        "|---|---|---|---|---|" + "---|" * len(DEPTHS) + "---|",
    ]
    for name, model in models.items():
        low, high = intervals(kl[name][None], 1)
        size = model.num_parameters()
        accuracy = [value for _, value in right[name].values()]
        ends = wilson(float(np.mean(accuracy)), len(accuracy))
        by_depth = [
            f"{100 * np.mean([v for depth, v in right[name].values() if depth == k]):.0f}"
            for k in DEPTHS
        ]
        lines.append(
            f"| {name} | {size:,} | {kl[name].mean():.4f} ({float(low[0]):.4f} to "
            f"{float(high[0]):.4f}) | {_difference(kl['search'], kl[name], '.4f')} | "
            f"{100 * np.mean(accuracy):.1f} ({100 * ends[0]:.1f} to {100 * ends[1]:.1f}) | "
            + " | ".join(by_depth)
            + f" | {_difference([v for _, v in right['search'].values()], accuracy, '.1f', 100)} |"
        )
    return [*lines, ""]


def _difference(before: Any, after: Any, form: str, scale: float = 1.0) -> str:
    mean, half = paired_difference([float(v) for v in before], [float(v) for v in after])
    if half == 0.0 and mean == 0.0:
        return "same"
    verdict = "" if abs(mean) > half else ", noise"
    return f"{scale * mean:+{form}} ± {scale * half:{form}}{verdict}"


def main() -> int:
    """Print the tables of the models asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="*", default=["super", "ultra"])
    parser.add_argument("--home")
    parser.add_argument("--fusion-only", action="store_true", help="parent, search and fused alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    store = Store(homes.find(arguments.home).path)
    for model in arguments.models:
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as work:
            bench = Bench(store, model, Path(work))
            print("\n".join(measure(bench, arguments.fusion_only)), flush=True)
        print(f"({time.monotonic() - began:.0f} s)\n", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
