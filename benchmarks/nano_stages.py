"""What Nano's three SFT stages are worth against one mixed stage on the same samples.

    heirloom run --recipe tiny && python benchmarks/nano_stages.py [--home DIR] [--seeds 3]

The home's stages (reasoning only, then mixed, then chat) are trained again, once a seed; beside
them one stage from the same parent on all that the three read, shuffled together, for as many
samples, at the first stage's learning rates. Prints Markdown: accuracy, toggle obedience and the
share of answers that repeat themselves, thinking on (as the home's benchmarks sample) and off
(greedy), on the held-out problems; 95 % bootstraps over seeds and problems at once, differences
paired by both.
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from puzzle_ablations import Made
from recovery_ablations import difference, interval

from assets.sft.blend import make_blend
from assets.sft.train import sft
from resources.engines.opening import open_engine
from resources.engines.protocol import Sampling
from resources.execution import Execution
from resources.store import home as homes
from resources.verifiers import attempts
from warehouse.artifact import Artifact, Output
from warehouse.store import Store

PARENT = "nano/parent"
STAGES = ("nano/sft_reasoning", "nano/sft_mixed", "nano/sft_chat")
LOOP = re.compile(r"(.{4,}?)\1{3,}", re.DOTALL)  # four characters or more, four times in a row
MEASURES = ("accuracy", "toggle obeyed", "repeats itself")


class Bench:
    """The home's stages, datasets and problems."""

    def __init__(self, store: Store, work: Path) -> None:
        self.store, self.work = store, work
        self.parent = self.artifact(PARENT)
        held = self.artifact("problems/held_out")
        self.problems = [dict(r, asset_key=held.key) for r in held.table("problems").to_pylist()]

    def artifact(self, key: str) -> Artifact:
        """One of the home's artifacts."""
        found = self.store.current(key)
        if found is None:
            raise SystemExit(f"{key} was never built in this home: run `heirloom run` first")
        return found

    def trained(self, model: Any, blend: Any, recipe: Mapping[str, Any], name: str) -> Made:
        """The model after one stage."""
        folder = self.work / name
        folder.mkdir(parents=True, exist_ok=True)
        inputs = {"model": model, "blend": blend, **self.datasets(blend)}
        threads = Execution(threads=torch.get_num_threads())
        return Made(name, sft(folder, inputs, recipe, threads))

    def datasets(self, blend: Any) -> dict[str, Artifact]:
        """The datasets that a blend refers to, by domain."""
        domains = set(blend.table("blends").column("domain").to_pylist())
        return {domain: self.artifact(f"sft_data/{domain}") for domain in sorted(domains)}

    def blend(self, key: str, seed: int) -> Made:
        """The stage's blend, drawn anew."""
        recipe = dict(self.artifact(f"{key}_blend").manifest["recipe"], seed=seed, asset_key=key)
        inputs = {domain: self.artifact(f"sft_data/{domain}") for domain in recipe["domains"]}
        return Made(f"{key}_blend", make_blend(self.work, inputs, recipe, Execution()))

    def measured(self, model: Made) -> dict[str, np.ndarray]:
        """`[measure, problem]` of each mode: 1 where it holds."""
        section = self.artifact(f"{STAGES[-1]}_benchmarks").manifest["recipe"]
        engine = open_engine(model.path(), "stages", Execution(threads=torch.get_num_threads()))
        found = {}
        for mode in ("on", "off"):
            sampling = Sampling(max_new_tokens=section["max_new_tokens"], seed=1, **section[mode])
            made = attempts.attempt(engine, attempts.every(self.problems, mode, 1), sampling)
            found[mode] = np.array(
                [
                    [
                        one.verdict.correct,
                        one.follows_toggle,
                        LOOP.search(one.completion.text) is not None,
                    ]
                    for one in made
                ],
                dtype=float,
            ).T
        return found


def three(bench: Bench, blends: list[Made], seed: int) -> Made:
    """The home's stages, one after the other."""
    model: Any = bench.parent
    for key, blend in zip(STAGES, blends, strict=True):
        recipe = dict(bench.artifact(key).manifest["recipe"], seed=seed, asset_key=key)
        model = bench.trained(model, blend, recipe, f"three/{seed}/{key}")
    return model


def one(bench: Bench, blends: list[Made], seed: int) -> Made:
    """One stage on the same samples, each as often as the stages' epochs would show it."""
    rows = []
    for key, blend in zip(STAGES, blends, strict=True):
        epochs = bench.artifact(key).manifest["recipe"]["epochs"]
        rows += [blend.table("blends")] * int(epochs)
    table = pa.concat_tables(rows)
    order = np.random.default_rng(seed).permutation(len(table))
    table = table.take(pa.array(order))
    place = table.schema.get_field_index("position")
    table = table.set_column(place, "position", pa.array(np.arange(len(table))))
    blend = Made("one_blend", Output(tables={"blends": table}, metrics={}))
    first = dict(bench.artifact(STAGES[0]).manifest["recipe"])
    recipe = first | {"seed": seed, "asset_key": "one", "epochs": 1}
    return bench.trained(bench.parent, blend, recipe, f"one/{seed}")


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--home")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as work:
        bench = Bench(Store(homes.find(chosen.home).path), Path(work))
        found: dict[str, list[dict[str, np.ndarray]]] = {"three stages": [], "one stage": []}
        for seed in range(chosen.seeds):
            blends = [bench.blend(key, seed) for key in STAGES]
            found["three stages"].append(bench.measured(three(bench, blends, seed)))
            found["one stage"].append(bench.measured(one(bench, blends, seed)))
    print(f"{chosen.seeds} seeds, {len(bench.problems)} problems.\n")
    print("| thinking | measure | three stages, % | one stage, % | one - three |")
    print("|---|---|---|---|---|")
    for mode in ("on", "off"):
        for row, measure in enumerate(MEASURES):
            arms = [np.stack([each[mode][row] for each in arm]) for arm in found.values()]
            cells = [
                "{:.1f} ({:.1f} to {:.1f})".format(*(100 * each for each in interval(arm)))
                for arm in arms
            ]
            apart = difference(arms[1], arms[0], ".1f", 100)
            print(f"| {mode} | {measure} | {' | '.join(cells)} | {apart} |")
    print(f"\n({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
