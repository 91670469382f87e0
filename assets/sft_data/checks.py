"""Checks of the SFT data: complete, non-empty, obedient, and apart from what is held out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from resources.benchmarks import apart
from resources.benchmarks.overlap import matches
from resources.verifiers.reasoning import follows_toggle
from warehouse.store import Artifact, CheckResult

MOST_UNDECIDED = 0.5  # of votes: more says that answers disagree, or are not understood
MOST_UNKNOWN = 0.1  # of verdicts: more says that a verifier fails, not that answers are wrong


def every_prompt_answered(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Each problem asked has the recipe's number of responses in each mode, none of them empty."""
    recipe = artifact.manifest["recipe"]
    table = artifact.table("generations", ["problem_id", "reasoning"])
    pairs = Counter(_pairs(table, "problem_id", "reasoning"))
    wrong = [pair for pair, count in pairs.items() if count != recipe[f"samples_{pair[1]}"]]
    modes = {mode for mode in ("on", "off") if recipe[f"samples_{mode}"]}
    asked = {mode: sum(1 for pair in pairs if pair[1] == mode) for mode in modes}
    passed = not wrong and bool(asked) and len(set(asked.values())) == 1 and all(asked.values())
    return CheckResult(
        name="every_prompt_answered",
        passed=passed,
        description=f"{table.num_rows} responses; prompts by mode: {asked}; {len(wrong)} uneven",
        metadata={f"prompts_{mode}": count for mode, count in sorted(asked.items())},
    )


def every_generation_judged(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There is exactly one verdict for each generation, or each edit."""
    table = "edits" if "edits" in inputs else "generations"
    judged = artifact.table("verdicts", ["generation_id"])["generation_id"].to_pylist()
    made = inputs[table].table(table, ["row_id"])["row_id"].to_pylist()
    missing, extra = set(made) - set(judged), len(judged) - len(set(judged))
    return CheckResult(
        name="every_generation_judged",
        passed=bool(judged) and not missing and not extra and len(judged) == len(made),
        description=f"{len(judged)} verdicts on {len(made)} {table}; {len(missing)} missing",
    )


def few_unknown(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The verifier could judge nearly all. Not blocking: unknown is never used as correct."""
    counts = Counter(artifact.table("verdicts", ["verdict"])["verdict"].to_pylist())
    share = counts["unknown"] / max(counts.total(), 1)
    return CheckResult(
        name="few_unknown",
        passed=share <= MOST_UNKNOWN,
        description=f"{share:.1%} of verdicts are unknown; at most {MOST_UNKNOWN:.0%} expected",
        metadata=dict(counts),
        blocking=False,
    )


def every_open_problem_voted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Each answered problem without a known answer has one vote; each answer to it in a voting
    mode has one ballot."""
    import pyarrow.compute as pc

    problems = inputs["problems"].table("problems", ["row_id", "expected_answer"])
    known = pc.not_equal(pc.fill_null(problems["expected_answer"], ""), "")
    open_ = set(problems.filter(pc.invert(known))["row_id"].to_pylist())
    modes = artifact.manifest["recipe"]["modes"]
    made = inputs["generations"].table("generations", ["row_id", "problem_id", "reasoning"])
    rows = [row for row in made.to_pylist() if row["problem_id"] in open_]
    due = sorted(row["row_id"] for row in rows if row["reasoning"] in modes)
    voted = artifact.table("votes", ["problem_id"])["problem_id"].to_pylist()
    cast = artifact.table("ballots", ["generation_id"])["generation_id"].to_pylist()
    whole = sorted(voted) == sorted({row["problem_id"] for row in rows}) and sorted(cast) == due
    return CheckResult(
        name="every_open_problem_voted",
        passed=whole,
        description=f"{len(voted)} votes with {len(cast)} ballots of {len(due)} answers",
    )


def vote_decides(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Most votes come to an answer. Not blocking: without one, no answer counts as correct."""
    counts = Counter(artifact.table("votes", ["outcome"])["outcome"].to_pylist())
    share = 1 - counts["decided"] / max(counts.total(), 1)
    return CheckResult(
        name="vote_decides",
        passed=share <= MOST_UNDECIDED or not counts,
        description=f"{share:.1%} of {counts.total()} votes come to no answer; at most "
        f"{MOST_UNDECIDED:.0%} expected",
        metadata=dict(counts),
        blocking=False,
    )


def judge_decides(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The judge came to a verdict on nearly all. Not blocking: unknown is never used as correct."""
    counts = Counter(artifact.table("judgements", ["verdict"])["verdict"].to_pylist())
    share = counts["unknown"] / max(counts.total(), 1)
    return CheckResult(
        name="judge_decides",
        passed=share <= MOST_UNKNOWN,
        description=f"the judge leaves {share:.1%} of {counts.total()} answers open; at most "
        f"{MOST_UNKNOWN:.0%} expected",
        metadata=dict(counts),
        blocking=False,
    )


def no_empty_domain(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There are samples of each mode that the recipe asks for; none where programs are not run."""
    recipe = artifact.manifest["recipe"]
    judged = inputs["verdicts"].manifest["recipe"].get("programs", "run") == "run"
    counts = Counter(artifact.table("sft_samples", ["reasoning"])["reasoning"].to_pylist())
    empty = [m for m in ("on", "off") if recipe[f"samples_{m}"] and not counts[m]]
    return CheckResult(
        name="no_empty_domain",
        passed=not empty or not judged,
        description=f"samples by mode: {dict(counts)}; empty: {', '.join(empty) or 'none'}"
        + ("" if judged else " (programs were not run)"),
        metadata=dict(counts),
    )


def toggle_obeyed(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every sample thinks exactly if its system prompt says so."""
    table = artifact.table("sft_samples", ["output", "reasoning", "system_prompt"])
    wrong = sum(
        not follows_toggle(text, mode) or system != f"detailed thinking {mode}"
        for text, mode, system in _pairs(table, "output", "reasoning", "system_prompt")
    )
    return CheckResult(
        name="toggle_obeyed",
        passed=not wrong,
        description=f"{wrong} of {table.num_rows} samples disobey the toggle",
    )


def no_held_out_overlap(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No sample asks a held-out question, by row id or by text."""
    import pyarrow as pa

    table = artifact.table("sft_samples", ["row_id", "input", "parents"])
    held_out = apart.held_out(inputs, ["row_id", "question"])
    ids = set(held_out["row_id"].to_pylist())
    by_id = sum(
        any(parent["row_id"] in ids for parent in parents)
        for parents in table["parents"].to_pylist()
    )
    asked = pa.table(
        {
            "row_id": table["row_id"],
            "question": ["\n".join(m["content"] for m in i) for i in table["input"].to_pylist()],
        }
    )
    by_text = matches(asked, held_out, ("exact",)).num_rows
    return CheckResult(
        name="no_held_out_overlap",
        passed=not by_id and not by_text,
        description=f"{by_id} by row id, {by_text} by text, of {len(ids)} held-out problems",
    )


def nothing_lost(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every generation is a sample or a dropped row."""
    samples = artifact.table("sft_samples", ["row_id"]).num_rows
    dropped = artifact.table("dropped", ["row_id"]).num_rows
    made = inputs["generations"].table("generations", ["row_id"]).num_rows
    return CheckResult(
        name="nothing_lost",
        passed=samples + dropped == made,
        description=f"{made} generations = {samples} samples + {dropped} dropped",
    )


def some_samples(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Recorded answers give samples."""
    counts = Counter(artifact.table("sft_samples", ["reasoning"])["reasoning"].to_pylist())
    return CheckResult(
        name="some_samples",
        passed=bool(counts),
        description=f"samples by mode: {dict(counts)}; `dropped` says what became of the others",
        metadata=dict(counts),
    )


def responses_accounted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row of a source of recorded answers is a generation or a rejected row."""
    rows = {name: artifact.manifest["tables"][name]["rows"] for name in ("generations", "rejected")}
    read = sum(artifact.table("sources", ["rows_in"])["rows_in"].to_pylist())
    return CheckResult(
        name="responses_accounted",
        passed=read == sum(rows.values()),
        description=f"{read} rows = {rows['generations']} answers + {rows['rejected']} rejected",
    )


def some_to_train_on(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There are samples to train on, and some held out where the recipe asks for a share.

    Of few questions none may fall into the share; SFT then measures on some that it draws itself.
    """
    counts = Counter(artifact.table("sft_samples", ["split"])["split"].to_pylist())
    wanted = ["train"] + ["held_out"] * (artifact.manifest["recipe"]["holdout"] > 0)
    missing = [split for split in wanted if not counts[split]]
    return CheckResult(
        name="some_to_train_on",
        passed=not missing,
        description=f"samples: {dict(counts)}; none: {', '.join(missing) or 'no split'} "
        "(holdout says which share of the questions, by their hashes, is kept from training)",
        metadata=dict(counts),
        blocking=not counts["train"],
    )


def rows_accounted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row of the source is a sample, a dropped row or a rejected one."""
    rows = {
        name: artifact.manifest["tables"][name]["rows"]
        for name in ("sft_samples", "dropped", "rejected")
    }
    read = artifact.table("sources", ["rows_in"])["rows_in"].to_pylist()
    return CheckResult(
        name="rows_accounted",
        passed=sum(read) == sum(rows.values()),
        description=f"{sum(read)} rows = {rows['sft_samples']} samples + {rows['dropped']} dropped "
        f"+ {rows['rejected']} rejected",
    )


def _pairs(table: Any, *names: str) -> Any:
    return zip(*(table[name].to_pylist() for name in names), strict=True)


def drops_within_budget(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """For no reason are more rows dropped than the recipe's share of them."""
    budgets: dict[str, float] = artifact.manifest["recipe"]["budgets"]
    counts = Counter(artifact.table("dropped", ["reason"])["reason"].to_pylist())
    rows = counts.total() + artifact.manifest["tables"]["sft_samples"]["rows"]
    over = [
        f"{reason} {counts[reason]} ({counts[reason] / rows:.1%}, at most {share:.1%})"
        for reason, share in budgets.items()
        if counts[reason] > share * rows
    ]
    return CheckResult(
        name="drops_within_budget",
        passed=not over,
        description=f"of {rows} rows dropped beyond cleaning.budgets: {'; '.join(over) or 'none'}",
        metadata=dict(counts),
    )
