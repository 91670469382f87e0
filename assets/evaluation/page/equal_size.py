"""The report's section on what the choice is worth: every target and all other ways to choose, raw
and at equal limits, in one picture and one table for each library.

Shows rows of `search_baselines`; measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assets.evaluation.page import front
from assets.evaluation.page.blocks import (
    card,
    change,
    decimal,
    estimate,
    meanings,
    millions,
    nats,
    table,
)
from assets.evaluation.page.charts import percent
from assets.evaluation.page.exhibits import Exhibit
from assets.evaluation.page.ways import OWN, explained

Row = dict[str, Any]
HEAD = (
    "Target",
    "Chosen by",
    "Parameters kept",
    "KL, nats a token",
    "Above what was chosen",
    "Perplexity",
    "Sum of scores",
)
ABOUT = (
    "<p>KL to the parent and perplexity of whole models put together from the same blocks within "
    "the same limits, on text that no stage saw, before any healing (raw). 95 % intervals; the "
    "differences in KL are paired over the same sequences. Only what was chosen is healed: compare "
    "raw with raw.</p>"
)


def section(shown: Mapping[str, Sequence[Exhibit]]) -> str:
    """The section's HTML; empty where no other way to choose was measured."""
    libraries: dict[str, dict[str, Exhibit]] = {}
    for model, line in shown.items():
        for exhibit in line:
            if exhibit.baselines:
                libraries.setdefault(exhibit.scores, {})[model] = exhibit
    if not libraries:
        return ""
    every = [row for studies in libraries.values() for row in _rows(studies)]
    ways = explained(row["method"] for row in every if row["method"] != OWN)
    return ABOUT + "".join(map(_card, libraries.values())) + meanings(ways)


def _rows(studies: Mapping[str, Exhibit]) -> list[Row]:
    return [row for exhibit in studies.values() for row in exhibit.baselines]


def _card(studies: Mapping[str, Exhibit]) -> str:
    names = " and ".join(model.capitalize() for model in studies)
    body = [line for model, exhibit in studies.items() for line in _target(model, exhibit)]
    return card(
        f"{names}: chosen, and cut in other ways", front.picture(_rows(studies)), table(HEAD, body)
    )


def _target(model: str, study: Exhibit) -> Iterable[Sequence[str]]:
    """The parent, what was chosen, then the other ways by their KL, those without a model last."""
    rows = front.best_of_random(study.baselines)
    rows.sort(key=lambda row: (not row["feasible"], row["method"] != OWN, row["kl"] or 0.0))
    own = next((row for row in rows if row["method"] == OWN and row["feasible"]), None)
    if own is not None:
        whole = round(own["parameters"] / own["parameters_share"])
        perplexity = _perplexity(study.numbers, "parent_perplexity")
        yield model, f"(the parent, {millions(whole)})", "100.0 %", "0", "", perplexity, "0"
    for row in rows:
        yield _line(model, row)


def _line(model: str, row: Row) -> Sequence[str]:
    name = "what was chosen" if row["method"] == OWN else row["method"]
    if not row["feasible"]:
        return model, name, "none within the limits", "", "", "", ""
    above = (row[f"above_{each}"] for each in ("search", "low", "high"))
    return (
        model,
        name,
        f"{percent(row['parameters_share'])} %",
        estimate(row["kl"], row["ci_low"], row["ci_high"], nats),
        "" if row["method"] == OWN else change(*above),
        _perplexity(row, "perplexity"),
        nats(row["objective"]),
    )


def _perplexity(row: Mapping[str, float], name: str) -> str:
    return estimate(row[name], row[f"{name}_low"], row[f"{name}_high"], decimal)


def won(baselines: Sequence[Row], ways: Sequence[str] = ()) -> str:
    """By how much KL the choice is better than the best of these other ways (empty: of all), with
    which one that is; empty without one."""
    others = [row for row in baselines if row["feasible"] and row["method"] != OWN]
    others = [row for row in others if not ways or row["method"] in ways]
    if not others:
        return ""
    best = min(others, key=lambda row: row["kl"])
    above = (best[f"above_{each}"] for each in ("search", "low", "high"))
    return f"{change(*above)} · {best['method']}"
