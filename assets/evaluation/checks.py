"""Checks of benchmarks and of the report."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping

from resources.recipe.sections.model import ModelRecipe
from resources.verifiers import obedience
from warehouse.store import Artifact, CheckResult

_FETCH = re.compile(r"""(?:src|href)\s*=\s*["'](?!#|data:)|url\(|@import""")


def accuracies_valid(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Accuracies lie in [0, 1] inside their intervals; both modes and every domain are there."""
    rows = artifact.table("benchmarks").to_pylist()
    wrong = [r for r in rows if not 0 <= r["ci_low"] <= r["accuracy"] <= r["ci_high"] <= 1]
    there = {(row["benchmark"], row["reasoning"]) for row in rows}
    wanted = ["overall", *artifact.manifest["recipe"]["domains"]]
    missing = [
        (name, mode) for name in wanted for mode in ("on", "off") if (name, mode) not in there
    ]
    return CheckResult(
        "accuracies_valid",
        not wrong and not missing,
        f"{len(rows)} scores, {len(wrong)} impossible; missing: {missing or 'none'}",
    )


def answers_complete(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every held-out problem of the domains is answered in both modes, as often as it should be."""
    recipe = artifact.manifest["recipe"]
    domains = inputs["held_out"].table("problems", ["domain"])["domain"].to_pylist()
    problems = sum(domain in recipe["domains"] for domain in domains)
    modes = Counter(artifact.table("answers", ["reasoning"])["reasoning"].to_pylist())
    expected = {
        mode: problems * (recipe["samples"] if recipe[mode]["temperature"] else 1)
        for mode in ("on", "off")
    }
    return CheckResult(
        "answers_complete",
        problems > 0 and dict(modes) == expected,
        f"answers {dict(modes)}, expected {expected} for {problems} problems",
    )


def toggle_obeyed(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The shares of responses that think as asked, recorded; a parent cannot obey "on" yet."""
    shares = {mode: artifact.metrics[f"follows_toggle_{mode}"] for mode in ("on", "off")}
    stage = artifact.manifest["recipe"]["stage"]
    learned = ModelRecipe.learned(stage) == "answers"
    return CheckResult(
        "toggle_obeyed",
        not learned or min(shares.values()) >= obedience.LEAST,
        f"think as asked: on {shares['on']:.1%}, off {shares['off']:.1%}",
        dict(shares),
        blocking=False,
    )


def report_self_contained(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The page is there and fetches nothing from anywhere."""
    page = artifact.path("report.html").read_text(encoding="utf-8")
    fetched = _FETCH.findall(page)
    return CheckResult(
        "report_self_contained",
        page.rstrip().endswith("</html>") and not fetched,
        f"{len(page):,} characters, {len(fetched)} outside resources",
    )


def parent_is_itself(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """The parent's KL to itself is 0, and no checkpoint's is below."""
    rows = artifact.table("side_by_side", ["stage", "kl"]).to_pylist()
    wrong = [row["stage"] for row in rows if row["kl"] < -1e-6]
    passed = not wrong and abs(rows[0]["kl"]) < 1e-6
    return CheckResult("parent_is_itself", passed, f"{len(rows)} checkpoints; wrong: {wrong}")
