"""The report's section on healing: what training gave back, against the tokens it took.

Shows what a checkpoint measured of itself on held-out text before, while and after it trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from assets.evaluation.page import charts
from assets.evaluation.page.blocks import card, cards, decimal, nats
from assets.evaluation.page.charts import percent
from warehouse.store import Artifact

Course = list[tuple[float, float]]  # (tokens trained on, value)
PREFIX = "held_out_"
KL = ("kl_forward", "kl_reverse")  # whichever the distillation trains on
PERPLEXITY, AGREEMENT = "perplexity", "agreement"


def courses(by_key: Mapping[str, Artifact], keys: list[str]) -> dict[str, dict[str, Course]]:
    """By checkpoint and measure, its values over tokens; only of those measured more than once."""
    found: dict[str, dict[str, Course]] = {}
    for key in dict.fromkeys(keys):
        if "training_metrics" not in by_key[key].manifest["tables"]:
            continue
        rows = by_key[key].table("training_metrics", ["tokens", "metric", "value"]).to_pylist()
        measured: dict[str, Course] = {}
        for row in rows:
            if row["metric"].startswith(PREFIX):
                name = row["metric"].removeprefix(PREFIX)
                measured.setdefault(name, []).append((float(row["tokens"]), row["value"]))
        if any(len(course) > 1 for course in measured.values()):
            found[key] = _shown(measured)
    return {key: shown for key, shown in found.items() if shown}


def _shown(measured: Mapping[str, Course]) -> dict[str, Course]:
    """The measures a reader asks for, each in the order of tokens."""
    found = {name: measured[name] for name in KL if name in measured}
    if "cross_entropy" in measured:
        found[PERPLEXITY] = [(at, math.exp(loss)) for at, loss in measured["cross_entropy"]]
    if AGREEMENT in measured:
        found[AGREEMENT] = measured[AGREEMENT]
    return {name: sorted(course) for name, course in found.items()}


def section(found: Mapping[str, Mapping[str, Course]]) -> str:
    """The section's HTML; empty where nothing was measured on the way."""
    if not found:
        return ""
    about = (
        "<p>What training gave back, measured on held-out text before it, on the way and after it. "
        "Each checkpoint measures itself on other documents of it than other sections do, so that "
        "values differ a little.</p>"
    )
    made = (
        card(key, cards(*(_chart(name, course) for name, course in shown.items())))
        for key, shown in found.items()
    )
    return about + "".join(made)


def _chart(name: str, course: Course) -> str:
    heading, write = {
        PERPLEXITY: ("Perplexity", decimal),
        AGREEMENT: ("Same next token as the parent, %", percent),
    }.get(name, ("KL to the parent, nats a token", nats))
    shown = course if name != AGREEMENT else [(at, 100 * share) for at, share in course]
    written = write if name != AGREEMENT else "{:.1f}".format
    return f"<div><small>{heading}</small>{charts.course(shown, 'tokens', written)}</div>"
