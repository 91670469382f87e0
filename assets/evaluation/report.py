"""The report: one self-contained HTML page about a family, from parents to final models.

Puts the facts of `page/facts.py` on a page; it measures nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.evaluation.page import children, equal_size, published, puzzle, recovered, sections
from assets.evaluation.page.facts import MODES, Facts, gather
from assets.evaluation.page.lineage import Node, ancestry, finder
from assets.evaluation.page.overview import overview
from assets.evaluation.page.style import CSS
from assets.evaluation.page.svg import element, text
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

QUERY = """heirloom sql "SELECT model, stage, reasoning, accuracy, ci_low, ci_high
              FROM benchmarks
              WHERE benchmark = 'overall' AND difficulty IS NULL" """


def build_report(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """Write `report.html` about every checkpoint that `recipe["line"]` names.

    Inputs are the checkpoints, their benchmarks where there are any, and whatever assets of Puzzle
    and of data the page shows. The lineage of the longest line is followed through the warehouse
    at the home.
    """
    facts = gather(inputs, recipe)
    final_key = furthest(recipe["line"])
    final = next(artifact for artifact in inputs.values() if artifact.key == final_key)
    nodes = ancestry(final.manifest, finder(inputs, execution.home))
    path = workdir / "report.html"
    path.write_text(page(facts, nodes), encoding="utf-8")
    metrics = {
        f"{model}_accuracy_{mode}": line[-1].score(mode)["accuracy"]
        for model, line in reversed(facts.lines.items())
        if line[-1].scores
        for mode in MODES
    }
    worse = [
        stage.key
        for line in facts.lines.values()
        for stage in line
        if "worse" in (stage.worse("on"), stage.worse("off"))
    ]
    return Output(
        files={"report.html": path},
        metrics={**metrics, "stages_made_worse": float(len(worse))},
        observations={"made_worse": worse},
    )


def furthest(line: Sequence[Sequence[str]]) -> str:
    """The key of the last checkpoint of the longest line, of the last model where two are as long.

    >>> furthest([("a", "a/parent", "parent"), ("a", "a/sft", "sft"), ("b", "a/parent", "parent")])
    'a/sft'
    """
    keys: dict[str, list[str]] = {}
    for model, key, _ in line:
        keys.setdefault(model, []).append(key)
    return max(reversed(keys.values()), key=len)[-1]


def page(facts: Facts, nodes: list[Node]) -> str:
    """The whole page."""
    made = {
        "Parent and child": children.section(facts.compared, facts.lines),
        "Benchmarks": published.section(facts.declared),
        "Along the line": sections.along_the_line(facts),
        "At equal size": equal_size.section(facts.puzzle),
        "Healing": recovered.section(facts.recovered),
        "Architectures": sections.architectures(facts),
        "Thinking and depth": sections.by_depth(facts),
        "Puzzle": puzzle.section(facts.puzzle),
        "Reinforcement learning": sections.reinforcement(facts),
        "Data": sections.data(facts),
        "Lineage": sections.lineage(nodes),
    }
    shown = {name: body for name, body in made.items() if body}
    links = [element("a", text(name), href=f"#{_anchor(name)}") for name in shown]
    bodies = [
        element("section", element("h2", text(name)), body, id=_anchor(name))
        for name, body in shown.items()
    ]
    models = ", ".join(model.capitalize() for model in facts.lines)
    measured = any(line[-1].scores for line in facts.lines.values())
    header = element(
        "header",
        element("div", text(f"Heirloom · recipe {facts.family}"), class_="mark"),
        element("h1", text(models)),
        '<p class="lead">What the recipe made of each parent, the answer first and what it rests '
        "on below. Every number is a stored measurement, every checkpoint has a recorded chain of "
        "inputs.</p>",
        element("nav", *links),
    )
    footer = _footer() if measured else ""
    main = element("main", header, overview(facts), *bodies, footer)
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Heirloom: {text(facts.family)}</title><style>{CSS}</style>"
    )
    return f'<!doctype html>\n<html lang="en"><head>{head}</head>\n<body>{main}</body></html>\n'


def _footer() -> str:
    return element(
        "footer",
        "<p>Accuracy is the mean over problems of the share of judged answers that are correct. "
        "Accuracies carry Wilson intervals, changes paired intervals over problems. Ask the "
        "warehouse yourself:</p>",
        element("pre", element("code", text(QUERY))),
    )


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")
