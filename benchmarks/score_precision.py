"""What bfloat16 changes in the scores of a block library: their order, size, and what is chosen.

    python -m benchmarks.score_precision HOME [--recipe smol] [--model smol] [--tokens 512]
        [--work FOLDER]

Scores the replacements of a library that lies in HOME in float32 and in bfloat16, on the same
tokens of its corpus, by the build function of `block_scores` itself, and searches the recipe's
limits with both. Prints a Markdown table. HOME is only read; scores stay in FOLDER, so that a
killed run goes on.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from assets.puzzle.choice.problem import make_problem
from assets.puzzle.costs.closed_form import block_costs
from assets.puzzle.scoring.build import score_blocks
from assets.puzzle.scoring.tables import PARENT
from assets.puzzle.search import Architecture, search
from assets.puzzle.study import correlation, ranks
from benchmarks.gpu.blocks import kendall
from resources.execution import Execution
from resources.recipe.loading import load
from resources.recipe.sections.puzzle import Puzzle
from warehouse.artifact import Artifact
from warehouse.store import Store

CHEAPEST = (10, 30, 60, 120)  # how many of the least scores are compared
Scored = tuple[pa.Table, float]


def inputs_of(home: Path, model: str) -> dict[str, Artifact]:
    """The library, its parent and its corpus, as a build finds them."""
    store = Store(home)
    heads = store.heads()
    tokens = sorted(key for key, _ in heads if key.startswith("problems/corpus_tokens"))
    found = {"parent": store.parts(f"{model}/parent")[None]}
    found |= {"corpus": next(iter(store.parts(tokens[0]).values()))}
    for partition, artifact in store.parts(f"{model}/block_library").items():
        found[f"block_library@{partition}"] = artifact
    return found


def scored(inputs: dict[str, Artifact], recipe: dict[str, Any], dtype: str, folder: Path) -> Scored:
    """The table `block_scores` computed in a dtype, and the CPU seconds that took."""
    began = time.process_time()
    execution = Execution(progress=lambda text, share: print(f"{dtype}: {share:.0%}", end="\r"))
    output = score_blocks(folder, inputs, {**recipe, "dtype": dtype}, execution)
    table = output.tables["block_scores"]
    assert isinstance(table, pa.Table)
    return table, time.process_time() - began


def chosen(
    inputs: dict[str, Artifact], puzzle: Puzzle, recipe: dict[str, Any], scores: pa.Table
) -> Architecture:
    """What the recipe's search finds by these scores, in one solution without re-scoring."""
    section = puzzle.search.model_dump(mode="json")
    costs = {**puzzle.costs.model_dump(mode="json"), **recipe}
    with tempfile.TemporaryDirectory() as folder:
        tables = block_costs(Path(folder), inputs, costs, Execution()).tables
    rest = tables["non_block_costs"].to_pylist()[0]  # type: ignore[union-attr]
    target = section | {"target": None}
    problem = make_problem(target, scores, tables["block_costs"], rest)  # type: ignore[arg-type]
    batch = next(iter(problem.candidates))
    limits = {
        name: (low, high)
        for name, (low, high) in problem.bounds[batch].items()
        if (low, high) != (None, None)
    }
    return search(problem.candidates[batch], limits, problem.objective, **problem.rules)


def compared(one: pa.Table, other: pa.Table) -> list[tuple[str, str]]:
    """Lines (what, value) on the scores of what is not the parent itself."""
    rows = one.to_pylist()
    kept = [i for i, row in enumerate(rows) if (row["attention"], row["ffn"]) != PARENT]
    first, second = (np.asarray(table["value"])[kept] for table in (one, other))
    apart = np.abs(second - first) / first
    within = []
    for layer in sorted({rows[i]["layer"] for i in kept}):
        of_layer = [place for place, i in enumerate(kept) if rows[i]["layer"] == layer]
        within.append(kendall(first[of_layer], second[of_layer]))
    lines = [
        ("replacements", f"{len(kept)}"),
        ("Spearman's correlation of the scores", f"{correlation(ranks(first), ranks(second)):.5f}"),
        ("Kendall's tau of the scores", f"{kendall(first, second):.5f}"),
        ("Kendall's tau within a layer: mean, least", f"{np.mean(within):.4f}, {min(within):.4f}"),
        ("relative difference: median", f"{np.median(apart):.2%}"),
        ("relative difference: 95 %, most", f"{np.quantile(apart, 0.95):.2%}, {apart.max():.1%}"),
        ("sum of all scores, bfloat16 over float32", f"{second.sum() / first.sum():.4f}"),
    ]
    for count in (each for each in CHEAPEST if each < len(kept)):
        same = set(np.argsort(first)[:count]) & set(np.argsort(second)[:count])
        lines.append((f"of the {count} least scores, in both", f"{len(same)}"))
    return lines


def main() -> None:
    """Score, search, compare, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", type=Path)
    parser.add_argument("--recipe", default="smol")
    parser.add_argument("--model", default="smol")
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--work", type=Path)
    given = parser.parse_args()
    recipe = load(given.recipe, check_paths=False)
    puzzle = recipe.models[given.model].puzzle
    if puzzle is None:
        parser.error(f"{given.model} has no puzzle section")
    inputs = inputs_of(given.home, given.model)
    section = {
        **puzzle.scores.model_dump(mode="json"),
        "attention": list(puzzle.library.attention),
        "ffn": list(puzzle.library.ffn),
        "tokens": given.tokens,
        "seed": recipe.family.seed,
        "model": given.model,
    }
    with tempfile.TemporaryDirectory() as aside:
        folder = given.work or Path(aside)
        (full, slow), (half, fast) = (
            scored(inputs, section, each, folder) for each in ("float32", "bfloat16")
        )
    one, other = (chosen(inputs, puzzle, section, table) for table in (full, half))
    lines = compared(full, half)
    differ = sum(a != b for a, b in zip(one.choice, other.choice, strict=True))
    # What the float32 scores say of the choice that bfloat16 leads to.
    names = {(r["layer"], f"{r['attention']}/{r['ffn']}"): r["value"] for r in full.to_pylist()}
    places = zip(other.layers, other.choice, strict=True)
    regret = sum(names[layers[0], variant] for layers, variant in places)
    lines += [
        ("layers of the searched architecture that differ", f"{differ} of {len(one.choice)}"),
        ("sum of float32 scores: of its choice", f"{one.objective:.4f} nats"),
        ("sum of float32 scores: of bfloat16's choice", f"{regret:.4f} nats"),
        ("CPU seconds: float32, bfloat16", f"{slow:.0f}, {fast:.0f}"),
    ]
    print(f"{given.model}, {given.tokens} tokens\n\n| | |\n|---|---|")
    for what, value in lines:
        print(f"| {what} | {value} |")


if __name__ == "__main__":
    main()
