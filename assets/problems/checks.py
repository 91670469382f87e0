"""Checks of problem sets and of the corpus."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow.compute as pc

from resources.benchmarks import apart
from resources.tasks.held_out import asked_again
from warehouse.store import Artifact, CheckResult


def not_empty(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The table has rows, those of `dropped` not counted."""
    tables = artifact.manifest["tables"]
    rows = sum(table["rows"] for name, table in tables.items() if name != "dropped")
    return CheckResult(name="not_empty", passed=rows > 0, description=f"{rows} rows")


def distinct_questions(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """No question stands twice."""
    questions = artifact.table("problems", columns=["question"]).column("question")
    twice = len(questions) - questions.combine_chunks().unique().__len__()
    return CheckResult(
        name="distinct_questions", passed=twice == 0, description=f"{twice} questions come again"
    )


def nothing_held_out(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row is for training, and no held-out problem asks the same question."""
    mine = artifact.table("problems", ["split", "question"])
    other = sum(split != "train" for split in mine["split"].to_pylist())
    held_out = apart.held_out(inputs, ["question"])["question"].to_pylist()
    shared = asked_again(mine["question"].to_pylist(), held_out)
    return CheckResult(
        name="nothing_held_out",
        passed=not other and not shared,
        description=f"of {mine.num_rows} rows {other} are not train and {shared} ask one of "
        f"{len(held_out)} held-out questions",
        metadata={"not_train": other, "held_out_questions": shared},
    )


def all_held_out(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row is for measurement."""
    splits = artifact.table("problems", columns=["split"]).column("split").to_pylist()
    other = sum(split != "held_out" for split in splits)
    return CheckResult(
        name="all_held_out",
        passed=other == 0,
        description=f"{other} of {len(splits)} rows are not held_out",
    )


def both_splits(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """There is text to train on and text held out, and no text is in both."""
    table = artifact.table("texts", ["split", "text_hash"])
    hashes = {
        split: np.unique(table.filter(pc.equal(table["split"], split))["text_hash"].to_numpy())
        for split in ("train", "held_out")
    }
    shared = len(np.intersect1d(hashes["train"], hashes["held_out"], assume_unique=True))
    counts = {split: len(found) for split, found in hashes.items()}
    wanted = ["train"] + ["held_out"] * (artifact.manifest["recipe"]["holdout"] > 0)
    return CheckResult(
        name="both_splits",
        passed=not shared and all(counts[split] for split in wanted),
        description=f"{counts['train']} texts to train on, {counts['held_out']} held out, {shared} "
        "in both; a text is held out by its hash: more text, or a larger corpus.holdout",
        metadata=counts,
    )


def documents_accounted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every document that was compared with benchmarks is in the corpus or a dropped row."""
    tables = artifact.manifest["tables"]
    rows = {name: tables[name]["rows"] if name in tables else 0 for name in ("texts", "dropped")}
    read = artifact.metrics.get("documents", rows["texts"])
    return CheckResult(
        name="documents_accounted",
        passed=read == sum(rows.values()),
        description=f"{read:.0f} documents = {rows['texts']} texts + {rows['dropped']} dropped",
    )


def rows_accounted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every row of a source of problems is a question or a rejected one."""
    rows = {name: artifact.manifest["tables"][name]["rows"] for name in ("questions", "rejected")}
    read = sum(artifact.table("sources", ["rows_in"])["rows_in"].to_pylist())
    return CheckResult(
        name="rows_accounted",
        passed=read == sum(rows.values()),
        description=f"{read} rows = {rows['questions']} questions + {rows['rejected']} rejected",
    )


def questions_accounted(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every question of a declared source that is on this side is a problem or a dropped row."""
    given = {
        each.manifest["recipe"]["name"]: each
        for name, each in inputs.items()
        if name.startswith("questions_")
    }
    split = "train" if "held_out" in inputs else "held_out"
    wrong = []
    for name, questions in given.items():
        splits = questions.table("questions", ["split"])["split"].to_pylist()
        there = [
            artifact.table(table, ["source"])["source"].to_pylist().count(name)
            for table in ("problems", "dropped")
            if table in artifact.manifest["tables"]
        ]
        if splits.count(split) != sum(there):
            wrong.append(f"{name}: {splits.count(split)} questions, {there} problems and dropped")
    return CheckResult(
        name="questions_accounted",
        passed=not wrong,
        description="; ".join(wrong) or f"all of {len(given)} sources",
    )
