"""The report's Puzzle section: what decided, then the stage's own pictures and key numbers.

Shows the exhibits of `exhibits.py` and measures nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from assets.evaluation.page.blocks import card, change, image, meanings, millions, nats, note, table
from assets.evaluation.page.charts import percent
from assets.evaluation.page.decision import decided, tried
from assets.evaluation.page.exhibits import ASSETS, Exhibit, Row
from assets.evaluation.page.svg import element, text
from assets.evaluation.page.ways import OWN, explained

ABOUT = (
    "<p>Puzzle (arXiv 2411.19146) makes variants of every layer's attention and feed-forward "
    "network (FFN), scores each by what it does to the parent when it alone is put in, and looks "
    "for the best variant of every layer within the limits. How the layers were chosen here, and "
    "on what grounds.</p>"
)
# Pictures and numbers that the page has elsewhere, or says in words.
STRIP, SUMS, SUMS_AND_OTHERS = "architecture", "pareto", "front"
ELSEWHERE = {
    "architecture": {"kl", "measured_kl", "predicted_kl", "rounds_kl", "proven", "gap"}
    | {"parameters", "parameters_share", "weight_bytes_share"},
    "search_study": {"search_kl", "best_other_kl", "regret"}
    | {f"parent_perplexity{end}" for end in ("", "_low", "_high")},
}
WORDS = {
    "spearman": "rank correlation of sum and true KL",
    "pearson": "linear correlation of sum and true KL",
    "assemblies": "random assemblies",
    "tokens": "tokens measured on",
    "scores": "blocks scored",
    "median_kl": "median score, nats a token",
    "removed": "variants that the target cannot run",
    "batch": "sequences at a time in the costs",
}
CORRELATED = ("spearman", "pearson")  # of random assemblies: nothing of fewer than three
BESIDE = 8  # key numbers that stand beside the pictures; further ones are folded away


def section(shown_by_model: Mapping[str, list[Exhibit]]) -> str:
    """The section's HTML; empty without exhibits."""
    parts = [
        card(f"{model.capitalize()}: {ASSETS[shown.asset][0]}", *_content(model, shown, line))
        for model, line in shown_by_model.items()
        for shown in line
    ]
    return ABOUT + _new_ways(shown_by_model) + "".join(parts) if parts else ""


def _new_ways(shown_by_model: Mapping[str, list[Exhibit]]) -> str:
    """What proposes candidates, but for what the section of equal sizes has explained."""
    every = [shown for line in shown_by_model.values() for shown in line]
    known = {row["method"] for shown in every for row in shown.baselines} - {OWN}
    new = explained(row["method"] for shown in every for row in shown.tried)
    new = {way: meaning for way, meaning in new.items() if way not in known}
    return meanings(new) if new else ""


def _content(model: str, shown: Exhibit, line: Sequence[Exhibit]) -> Iterable[str]:
    if shown.asset == "architecture":
        yield element("p", text(decided(shown, line)))
    else:
        yield note(ASSETS[shown.asset][1])
    if shown.tried:
        yield tried(shown.tried)
    beside = any(SUMS_AND_OTHERS in each.pictures for each in line)
    # The page draws layers itself, and the study's picture of sums holds more.
    drawn = {STRIP, SUMS} if beside else {STRIP}
    pictures = [
        image(f"{model}, {shown.asset}: {_words(name)}", picture)
        for name, picture in shown.pictures.items()
        if shown.asset != "architecture" or name not in drawn
    ]
    if pictures:
        yield element("div", *pictures, class_="pictures")
    if shown.tests:
        yield _tests(shown.tests)
    if shown.times:
        yield _latency(shown.times)
    numbers = _numbers(shown)
    if numbers:
        rows = (f"<dt>{text(_words(k))}</dt><dd>{_written(k, v)}</dd>" for k, v in numbers[:BESIDE])
        yield element("dl", *rows, class_="numbers")
    if numbers[BESIDE:]:
        further = table(("Number", "Value"), ((_words(k), _written(k, v)) for k, v in numbers))
        yield element("details", "<summary>All numbers</summary>", further)


def _numbers(shown: Exhibit) -> list[tuple[str, float]]:
    """The metrics that the page does not say elsewhere."""
    if shown.asset == "cost_report":
        return []  # its picture has them all
    hidden = ELSEWHERE.get(shown.asset, set())
    if shown.numbers.get("assemblies", 3) < 3:
        hidden = hidden | set(CORRELATED)
    return [(name, value) for name, value in shown.numbers.items() if name not in hidden]


def _tests(rows: Sequence[Row]) -> str:
    """KL by form of each run; differences that their interval does not tell from 0 say so."""
    about = (
        "KL to the parent, nats a token, with one run alone in another form. Where the reversed "
        "order is about as good, fusing is safe. Differences with 95 % intervals."
    )
    head = ("Layers", "As it is", "Reversed", "Fused", "Fused, less as is", "Last norm, less own")
    body = [
        (
            f"{row['run'][0]} to {row['run'][-1]}",
            *(nats(row[f"kl_{form}"]) for form in ("sequential", "reversed", "parallel")),
            change(row["kl_parallel"] - row["kl_sequential"], row["ci_low"], row["ci_high"]),
            change(
                row["kl_last_norm"] - row["kl_parallel"],
                row["last_norm_ci_low"],
                row["last_norm_ci_high"],
            ),
        )
        for row in rows
    ]
    return element("small", text(about)) + table(head, body)


def _latency(times: Mapping[str, float]) -> str:
    """Measured seconds before and after, and the share saved."""
    body = []
    for phase in ("prefill", "decode"):
        before, after = times[f"{phase}_seconds_before"], times[f"{phase}_seconds_after"]
        saved = percent(1 - after / before)
        body.append((phase, f"{1000 * before:.3g} ms", f"{1000 * after:.3g} ms", f"{saved} %"))
    return table(("One sequence", "Before", "After", "Saved"), body)


def _words(name: str) -> str:
    """A metric's name as a reader takes it.

    >>> _words("weight_bytes_share"), _words("removed")
    ("weight bytes, of the parent's", 'variants that the target cannot run')
    """
    if name.endswith("_share"):
        return f"{_words(name.removesuffix('_share'))}, of the parent's"
    return WORDS.get(name, name.replace("_", " "))


def _written(name: str, value: float) -> str:
    """A metric as text.

    >>> _written("parameters", 1.94e6), _written("memory_bytes_share", 0.5)
    ('1.94 M', '50.0 %')
    """
    if name == "parameters":
        return millions(int(value))
    if name.endswith("_share"):
        return f"{percent(value)} %"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
