"""The report's Puzzle section: the stage's own pictures and key numbers, model by model.

Shows what the artifacts hold (images, metrics, tables of baselines and fusion tests) and measures
nothing. An artifact, table or picture that is not there is left out.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from assets.evaluation import front
from assets.evaluation.blocks import card, millions, table
from assets.evaluation.charts import percent
from assets.evaluation.svg import element, text
from warehouse.store import Artifact

# What the section shows, in this order: asset, heading, what it is.
ASSETS = {
    "architecture": (
        "What was chosen",
        "A variant for every layer: the least sum of scores within the limits.",
    ),
    "block_scores": (
        "What every variant costs in quality",
        "Replace-1-block scores: one block of the parent replaced, the rest as it was.",
    ),
    "search_study": (
        "What the search is worth",
        "Other ways to choose at equal cost, and the sum of scores against the true KL of whole "
        "assemblies.",
    ),
    "cost_report": (
        "Predicted and measured",
        "The costs summed over the chosen blocks, and what the assembled model really needs.",
    ),
    "fused": (
        "FFN Fusion",
        "Runs of attention-free layers as one layer with a wide FFN each. Dependency: how much a "
        "layer's contribution changes without an earlier layer (cosine distance).",
    ),
}
CHOSEN = "search"  # the row of `search_baselines` that is the model's own architecture
BESIDE = 8  # key numbers that stand beside the pictures; further ones are folded away


Row = dict[str, Any]


@dataclass(frozen=True)
class Exhibit:
    """An artifact on the page: pictures and metrics by name, rows of its tables `search_baselines`,
    `measured_choices` and `fusion_tests`, latencies (seconds), the key of the scores behind it."""

    asset: str
    pictures: dict[str, bytes]
    numbers: dict[str, float]
    baselines: list[Row] = field(default_factory=list)
    tried: list[Row] = field(default_factory=list)
    tests: list[Row] = field(default_factory=list)
    times: dict[str, float] = field(default_factory=dict)
    scores: str = ""


def exhibits(by_key: Mapping[str, Artifact], models: Iterable[str]) -> dict[str, list[Exhibit]]:
    """The exhibits of every model that has any of `ASSETS` among the artifacts."""
    found = {}
    for model in models:
        there = {
            asset: by_key[f"{model}/{asset}"] for asset in ASSETS if f"{model}/{asset}" in by_key
        }
        if there:
            found[model] = [_exhibit(asset, artifact) for asset, artifact in there.items()]
    return found


def _exhibit(asset: str, artifact: Artifact) -> Exhibit:
    tests = _rows(artifact, "fusion_tests")
    return Exhibit(
        asset,
        pictures={name: artifact.image(name) for name in artifact.manifest["images"]},
        numbers=artifact.metrics,
        baselines=_rows(artifact, "search_baselines"),
        tried=_rows(artifact, "measured_choices"),
        tests=tests,
        times={k: v for k, v in artifact.observations.items() if tests and "_seconds_" in k},
        scores=artifact.manifest["inputs"].get("block_scores", {}).get("asset_key", ""),
    )


def _rows(artifact: Artifact | None, name: str) -> list[Row]:
    if artifact is None or name not in artifact.manifest["tables"]:
        return []
    rows: list[Row] = artifact.table(name).to_pylist()
    return rows


def section(shown_by_model: Mapping[str, list[Exhibit]]) -> str:
    """The section's HTML; empty without exhibits."""
    parts = [
        card(f"{model.capitalize()}: {ASSETS[shown.asset][0]}", *_content(model, shown))
        for model, line in shown_by_model.items()
        for shown in line
    ]
    if not parts:
        return ""
    about = "<p>How the layers were chosen: scores, costs, the search and what it is worth.</p>"
    return about + "".join([*_fronts(shown_by_model), *parts])


def _fronts(shown_by_model: Mapping[str, list[Exhibit]]) -> Iterable[str]:
    """A picture for the models of each library, whose KL is to the same parent."""
    studies = [
        (shown.scores, model, shown.baselines)
        for model, line in shown_by_model.items()
        for shown in line
        if shown.baselines
    ]
    for library in dict.fromkeys(scores for scores, *_ in studies):
        of = [(model, rows) for scores, model, rows in studies if scores == library]
        if drawn := front.picture([row for _, rows in of for row in rows]):
            models = [model for model, _ in of]
            heading = f"{' and '.join(m.capitalize() for m in models)}: measured KL by size"
            yield card(heading, front.about(models), drawn)


def _content(model: str, shown: Exhibit) -> Iterable[str]:
    yield element("small", text(ASSETS[shown.asset][1]))
    for name, picture in shown.pictures.items():
        yield _picture(f"{model}, {shown.asset}: {_words(name)}", picture)
    if shown.baselines:
        yield _baselines(shown.baselines)
    if shown.tried:
        yield _tried(shown.tried)
    if shown.tests:
        yield _tests(shown.tests)
    if shown.times:
        yield _latency(shown.times)
    numbers = list(shown.numbers.items())
    if numbers:
        rows = (f"<dt>{text(_words(k))}</dt><dd>{_written(k, v)}</dd>" for k, v in numbers[:BESIDE])
        yield element("dl", *rows, class_="numbers")
    if numbers[BESIDE:]:
        further = table(("Number", "Value"), ((_words(k), _written(k, v)) for k, v in numbers))
        yield element("details", "<summary>All numbers</summary>", further)


def _picture(about: str, png: bytes) -> str:
    data = "data:image/png;base64," + base64.b64encode(png).decode()
    return element("div", element("img", src=data, alt=about), class_="picture")


def _baselines(rows: list[Row]) -> str:
    """Every way to choose with its KL; random ones in one line, those outside the limits named."""
    about = (
        "KL to the parent on text that no stage saw, nats a token, before any healing; equal "
        "limits. Above the search: paired differences over the same sequences, 95 % intervals."
    )
    body: list[Sequence[str]] = []
    for row in rows:
        if row["feasible"] and not _random(row["method"]):
            above = (row[f"above_{each}"] for each in ("search", "low", "high"))
            body.append(
                (
                    row["method"],
                    f"{row['kl']:.4g}",
                    f"{row['ci_low']:.4g} to {row['ci_high']:.4g}",
                    "" if row["method"] == CHOSEN else _difference(*above),
                    f"{row['perplexity']:.2f}",
                    f"{row['objective']:.4g}",
                    _kept(row),
                )
            )
        elif not row["feasible"]:
            body.append((row["method"], "none within the limits", *[""] * 5))
    drawn = [row for row in rows if row["feasible"] and _random(row["method"])]
    if drawn:
        kl, kept = ([row[name] for row in drawn] for name in ("kl", "parameters_share"))
        share = f"{percent(min(kept))} to {percent(max(kept))} %"
        spread = f"{min(kl):.4g} to {max(kl):.4g}"
        body.append((f"random, {len(drawn)} times", spread, *[""] * 4, share))
    head = (
        "Chosen by",
        "KL",
        "Interval",
        "Above the search",
        "Perplexity",
        "Sum of scores",
        "Parameters",
    )
    return element("small", text(about)) + table(head, body)


def _kept(row: Row) -> str:
    return f"{millions(row['parameters'])} ({percent(row['parameters_share'])} %)"


def _tried(rows: list[Row]) -> str:
    """Every candidate with its sum of scores and its true KL; the first is the choice."""
    about = (
        "Candidates judged by their true KL on text apart from the reported one, nats a token, "
        "95 % intervals; the first was chosen."
    )
    body = (
        (
            row["method"],
            f"{row['objective']:.4g}",
            f"{row['kl']:.4g}",
            f"{row['ci_low']:.4g} to {row['ci_high']:.4g}",
            millions(row["parameters"]),
        )
        for row in rows
    )
    head = ("Proposed by", "Sum of scores", "KL", "Interval", "Parameters")
    return element("small", text(about)) + table(head, body)


def _random(method: str) -> bool:
    return method.startswith("random")


def _tests(rows: list[Row]) -> str:
    """KL by form of each run; differences that their interval does not tell from 0 say so."""
    about = (
        "KL to the parent, nats a token, with one run alone in another form. Where the reversed "
        "order is about as good, fusing is safe. Differences with 95 % intervals."
    )
    head = ("Layers", "As it is", "Reversed", "Fused", "Fused, less as is", "Last norm, less own")
    body = [
        (
            f"{row['run'][0]} to {row['run'][-1]}",
            *(f"{row[f'kl_{form}']:.4g}" for form in ("sequential", "reversed", "parallel")),
            _difference(row["kl_parallel"] - row["kl_sequential"], row["ci_low"], row["ci_high"]),
            _difference(
                row["kl_last_norm"] - row["kl_parallel"],
                row["last_norm_ci_low"],
                row["last_norm_ci_high"],
            ),
        )
        for row in rows
    ]
    return element("small", text(about)) + table(head, body)


def _difference(value: float, low: float, high: float) -> str:
    noise = ", within noise" if low <= 0 <= high else ""
    return f"{value:+.3g} ({low:+.3g} to {high:+.3g}{noise})"


def _latency(times: Mapping[str, float]) -> str:
    """Measured seconds before and after, and the share saved."""
    body = []
    for phase in ("prefill", "decode"):
        before, after = times[f"{phase}_seconds_before"], times[f"{phase}_seconds_after"]
        saved = percent(1 - after / before)
        body.append((phase, f"{1000 * before:.3g} ms", f"{1000 * after:.3g} ms", f"{saved} %"))
    return table(("One sequence", "Before", "After", "Saved"), body)


def _words(name: str) -> str:
    return name.replace("_", " ")


def _written(name: str, value: float) -> str:
    """A metric as text.

    >>> _written("parameters", 1.94e6), _written("memory_bytes_share", 0.5), _written("proven", 1.0)
    ('1.94 M', '50.0 %', 'yes')
    """
    if name == "proven":
        return "yes" if value else "no"
    if name == "parameters":
        return millions(int(value))
    if name.endswith("_share"):
        return f"{percent(value)} %"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
