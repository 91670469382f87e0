"""What must hold of each artifact of the Puzzle stage before it is published.

Each check reads the artifact (and its inputs) and says in words what it found; it repairs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from assets.puzzle.choice.problem import read_problem
from assets.puzzle.choice.tables import chosen_rows
from warehouse.store import Artifact, CheckResult

Inputs = Mapping[str, Artifact]


def importance_finite(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Every channel of every layer has a finite importance and a rank of its own."""
    table = artifact.table("channel_importance")
    scores = np.asarray(table["score"], dtype=np.float64)
    layers, ranks = np.asarray(table["layer"]), np.asarray(table["rank"])
    distinct = len(set(zip(layers.tolist(), ranks.tolist(), strict=True))) == len(ranks)
    bad = int((~np.isfinite(scores)).sum())
    return CheckResult(
        "importance_finite",
        passed=bad == 0 and distinct and len(scores) > 0,
        description=f"{len(scores)} channels in {len(set(layers.tolist()))} layers, "
        f"{bad} not finite; ranks {'distinct' if distinct else 'repeated within a layer'}",
    )


def library_trained(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Every child's loss is finite, and training lowered the mean loss on tokens not trained on.

    Only a loss that is not finite stops the line: a short training that did not help is told.
    """
    table = artifact.table("block_library")
    before, after = (
        np.asarray(table[name], dtype=np.float64) for name in ("loss_before", "loss_after")
    )
    finite = bool(np.isfinite(after).all())
    better = float((after < before).mean()) if len(after) else 1.0
    means = (float(before.mean()), float(after.mean())) if len(after) else (0.0, 0.0)
    return CheckResult(
        "library_trained",
        passed=finite and (means[1] < means[0] or len(after) == 0),
        description=f"mean normalised error {means[0]:.3g} before, {means[1]:.3g} after; "
        f"{better:.0%} of {len(after)} children improved",
        metadata={"improved": better, "before": means[0], "after": means[1]},
        blocking=not finite,
    )


def scores_complete(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Every layer has a finite score of each metric for every variant, and 0 for the parent."""
    rows = artifact.table("block_scores").to_pylist()
    layers = {row["layer"] for row in rows}
    pairs = {(row["attention"], row["ffn"]) for row in rows}
    metrics = {row["metric"] for row in rows}
    missing = len(layers) * len(pairs) * len(metrics) - len(rows)
    signed = ("lm_loss", "task")  # a child may do better than its parent
    # KL is at least 0; the sum that computes it may round to just below.
    bad = [
        row
        for row in rows
        if not math.isfinite(row["value"]) or (row["value"] < -1e-6 and row["metric"] not in signed)
    ]
    parents = [row["value"] for row in rows if (row["attention"], row["ffn"]) == ("full", "full")]
    where = "; first: layer {layer}, {attention}/{ffn}".format(**bad[0]) if bad else ""
    runs = artifact.table("run_scores") if "run_scores" in artifact.manifest["tables"] else None
    unscored = 0 if runs is None else sum(not math.isfinite(v) for v in runs["value"].to_pylist())
    return CheckResult(
        "scores_complete",
        passed=bool(rows) and not missing and not bad and not any(parents) and not unscored,
        description=f"{len(layers)} layers x {len(pairs)} variants x {len(metrics)} metrics, "
        f"{missing} missing, {len(bad) + unscored} not finite or negative{where}",
    )


def costs_consistent(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """No cost is negative and no variant has more parameters than the parent's block."""
    rows = artifact.table("block_costs").to_pylist()
    full = {row["layer"]: row for row in rows if (row["attention"], row["ffn"]) == ("full", "full")}
    bad = [
        row
        for row in rows
        if row["parameters"] < 0
        or row["kv_bytes_per_token"] < 0
        or (
            "linear" not in (row["attention"], row["ffn"])
            and row["parameters"] > full[row["layer"]]["parameters"]
        )
    ]
    return CheckResult(
        "costs_consistent",
        passed=bool(rows) and not bad,
        description=f"{len(rows)} costs, {len(bad)} negative or above the parent's",
    )


def limits_met(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """The chosen blocks keep every limit of the recipe, summed again from scores and costs."""
    problem = read_problem(inputs, artifact.manifest["recipe"])
    batch = int(artifact.metrics["batch"])
    candidates = problem.candidates[batch]
    table = artifact.table("architectures")
    rows = candidates.take(list(chosen_rows(candidates, table))).to_pylist()
    layers = sorted(layer for row in rows for layer in row["layer"])
    passed = layers == sorted(table["layer"].to_pylist()) == list(range(table.num_rows))
    texts, totals = [], {}
    for column, (low, high) in problem.bounds[batch].items():
        totals[column] = total = math.fsum(row[column] for row in rows)
        slack = 1e-9 * abs(total)
        passed = passed and (low is None or total >= low - slack)
        passed = passed and (high is None or total <= high + slack)
        ends = [f"at least {low:.6g}"] if low is not None else []
        ends += [f"at most {high:.6g}"] if high is not None else []
        texts.append(f"{column} {total:.6g} ({', '.join(ends)})")
    return CheckResult("limits_met", passed=passed, description="; ".join(texts), metadata=totals)


def profile_complete(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Every layer, variant pair and batch has finite seconds, and names the hardware."""
    recipe = artifact.manifest["recipe"]
    rows = artifact.table("block_costs").to_pylist()
    layers = {row["layer"] for row in rows}
    wanted = len(layers) * len(recipe["batches"])
    wanted *= len(recipe["attention"]) * len(recipe["ffn"])
    bad = [
        row
        for row in rows
        if not row["hardware"]
        or any(
            row[name] is None or not math.isfinite(row[name]) or row[name] < 0
            for name in ("prefill_seconds", "decode_seconds")
        )
    ]
    return CheckResult(
        "profile_complete",
        passed=len(rows) >= wanted > 0 and not bad,
        description=f"{len(rows)} of {wanted} costs measured on "
        f"{', '.join(sorted({str(row['hardware']) for row in rows}))}; {len(bad)} unusable",
    )


def prediction_holds(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """Parameters and bytes are exactly as predicted; times are told as ratios."""
    rows = artifact.table("predicted_costs").to_pylist()
    exact = ("parameters", "weight_bytes", "kv_bytes_per_token")
    counted = [row for row in rows if row["quantity"] in exact and row["measured"] is not None]
    wrong = [row["quantity"] for row in counted if row["predicted"] != row["measured"]]
    times = [row["ratio"] for row in rows if "seconds" in row["quantity"] and row["ratio"]]
    spread = f"; predicted / measured seconds {min(times):.2f} to {max(times):.2f}" if times else ""
    return CheckResult(
        "prediction_holds",
        passed=bool(counted) and not wrong,
        description=f"{len(counted)} counts compared, wrong: {', '.join(wrong) or 'none'}{spread}",
    )


def study_measured(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """The search is no worse than every other choice, within chance; a warning where it is.

    Only a divergence that is not finite stops the line.
    """
    rows = [row for row in artifact.table("search_baselines").to_pylist() if row["feasible"]]
    finite = all(math.isfinite(row["kl"]) for row in rows)
    own = next(row for row in rows if row["method"] == "search")
    better = [row["method"] for row in rows if row["ci_high"] < own["ci_low"]]
    metrics = artifact.metrics
    return CheckResult(
        "study_measured",
        passed=finite and not better,
        description=f"search {own['kl']:.4g} nats a token; better beyond chance: "
        f"{', '.join(better) or 'none'}; rank correlation of scores and truth "
        f"{metrics['spearman']:.3f}, regret {metrics['regret']:.4g}",
        blocking=not finite,
    )


def kl_finite(artifact: Artifact, inputs: Inputs) -> CheckResult:
    """The KL to the parent on held-out documents is finite and not negative."""
    kl = artifact.metrics["kl"]
    return CheckResult(
        "kl_finite",
        passed=math.isfinite(kl) and kl > -1e-6,
        description=f"KL to the parent {kl:.4g} nats a token "
        f"({artifact.metrics['kl_low']:.4g} to {artifact.metrics['kl_high']:.4g})",
    )
