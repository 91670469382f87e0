"""Checks of pass rates, prompts, curricula, pairs and the reward model."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from assets.rl_data.pass_rates import decide
from resources.benchmarks import apart
from resources.tasks.held_out import asked_again
from resources.verifiers import obedience
from warehouse.store import Artifact, CheckResult

LARGEST_RISE = 0.1  # of a batch's mean pass rate over the batch before


def _follows(row: Mapping[str, Any], limit: float) -> bool:
    """Whether a row of `pass_rates` says what its counts come to."""
    incorrect = row["samples"] - row["correct"] - row["unknown"]
    if incorrect < 0 or row["truncated"] > row["samples"]:
        return False
    counts = (row["correct"], incorrect, row["unknown"], row["truncated"])
    return (row["pass_rate"], row["kept"], row["reason"]) == decide(*counts, discard_at=limit)


def pass_rates_valid(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Counts add up, and rate, `kept` and `reason` are what they decide."""
    limit = artifact.manifest["recipe"]["discard_at"]
    rows = artifact.table("pass_rates").to_pylist()
    wrong = [row for row in rows if not _follows(row, limit)]
    return CheckResult(
        "pass_rates_valid",
        bool(rows) and not wrong,
        f"{len(rows)} problems, {len(wrong)} with impossible counts",
        {"problems": len(rows), "unknown": sum(row["unknown"] for row in rows)},
    )


def samples_complete(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every problem has all its samples, each with one verdict."""
    samples = artifact.manifest["recipe"]["samples"]
    problems = artifact.table("pass_rates", ["problem_id"]).num_rows
    generations = artifact.table("generations", ["row_id"]).num_rows
    verdicts = artifact.table("verdicts", ["generation_id"]).num_rows
    return CheckResult(
        "samples_complete",
        problems * samples == generations == verdicts,
        f"{problems} problems x {samples} samples, {generations} generations, {verdicts} verdicts",
    )


def toggle_obeyed(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The share of responses that obey the reasoning toggle (a warning when it is low)."""
    return obedience.toggle_obeyed(artifact.metrics["follows_toggle"], "the responses")


def prompts_not_empty(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There are prompts, of every domain that was asked for."""
    domains = Counter(artifact.table("prompts", ["domain"])["domain"].to_pylist())
    wanted = artifact.manifest["recipe"].get("domains", [])
    empty = [domain for domain in wanted if not domains[domain]]
    # A whole domain may be too easy to practise: that is worth knowing, not worth stopping for.
    return CheckResult(
        "prompts_not_empty",
        bool(domains),
        f"{sum(domains.values())} prompts; domains without any: {', '.join(empty) or 'none'}",
        dict(domains),
    )


def kept_below_discard(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No kept prompt reaches the discarded pass rate; kept and dropped make up all problems."""
    limit = artifact.manifest["recipe"]["discard_at"]
    rates = artifact.table("prompts", ["pass_rate"])["pass_rate"].to_pylist()
    dropped = artifact.table("dropped", ["row_id"]).num_rows
    total = inputs["pass_rates"].table("pass_rates", ["problem_id"]).num_rows
    return CheckResult(
        "kept_below_discard",
        all(rate is not None and rate < limit for rate in rates) and len(rates) + dropped == total,
        f"{len(rates)} kept below {limit:g}, {dropped} dropped, of {total}",
    )


def no_held_out_overlap(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No prompt asks a held-out question."""
    held_out = apart.held_out(inputs, ["question"])["question"].to_pylist()
    asked = artifact.table("prompts", ["question"])["question"].to_pylist()
    shared = asked_again(asked, held_out)
    return CheckResult(
        "no_held_out_overlap", not shared, f"{shared} of {len(asked)} prompts are held out"
    )


def curriculum_is_full(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every step has its full batch, and only kept prompts appear."""
    recipe = artifact.manifest["recipe"]
    rows = artifact.table("curriculum", ["step", "problem_id"]).to_pylist()
    sizes = Counter(row["step"] for row in rows)
    known = set(inputs["prompts"].table("prompts", ["problem_id"])["problem_id"].to_pylist())
    strange = sum(row["problem_id"] not in known for row in rows)
    return CheckResult(
        "curriculum_is_full",
        not strange
        and len(sizes) == recipe["steps"]
        and set(sizes.values()) == {recipe["prompts_per_step"]},
        f"{len(sizes)} steps, {len(rows)} prompts, {strange} of them not among the kept ones",
    )


def curriculum_gets_harder(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The mean pass rate does not rise markedly from one step to the next (transport only)."""
    metrics, method = artifact.metrics, artifact.manifest["recipe"]["method"]
    return CheckResult(
        "curriculum_gets_harder",
        method == "paper" or metrics["largest_rise"] <= LARGEST_RISE,
        f"mean pass rate {metrics['pass_rate_first']:.3f} to {metrics['pass_rate_last']:.3f}, "
        f"largest rise {metrics['largest_rise']:+.3f}",
        blocking=False,
    )


def pairs_valid(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Pairs have finite rewards, the chosen one's higher, and two different responses."""
    columns = ["chosen", "rejected", "chosen_reward", "rejected_reward"]
    rows = artifact.table("preferences", columns).to_pylist()
    wrong = sum(
        not math.isfinite(row["chosen_reward"])
        or not math.isfinite(row["rejected_reward"])
        or row["chosen_reward"] <= row["rejected_reward"]
        or row["chosen"] == row["rejected"]
        for row in rows
    )
    return CheckResult(
        "pairs_valid", bool(rows) and not wrong, f"{len(rows)} pairs, {wrong} of them not usable"
    )


def every_round_has_pairs(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No round is without pairs; the share of each mode is recorded."""
    rows = artifact.table("preferences", ["round", "reasoning"]).to_pylist()
    counts = Counter((row["round"], row["reasoning"]) for row in rows)
    rounds = len(artifact.manifest["recipe"]["rounds"])
    empty = [n + 1 for n in range(rounds) if not any(number == n for number, _ in counts)]
    return CheckResult(
        "every_round_has_pairs",
        not empty,
        f"rounds without pairs: {empty or 'none'}",
        {f"round_{n + 1}_{mode}": count for (n, mode), count in sorted(counts.items())},
    )


def reward_model_ranks(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The reward model beats chance on pairs of unseen problems (a warning otherwise)."""
    metrics = artifact.metrics
    return CheckResult(
        "reward_model_ranks",
        metrics["held_out_pair_accuracy"] > 0.5 and math.isfinite(metrics["loss_last"]),
        f"{metrics['held_out_pair_accuracy']:.1%} of {metrics['held_out_pairs']:.0f} unseen pairs, "
        f"loss {metrics['loss_first']:.3f} to {metrics['loss_last']:.3f}",
        blocking=False,
    )
