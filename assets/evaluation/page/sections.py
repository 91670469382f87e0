"""The report's sections, each a function from the facts to HTML (empty: nothing to show)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from assets.evaluation.page import charts, diagrams
from assets.evaluation.page.blocks import card, cards, interval, key, millions, scroll, table
from assets.evaluation.page.charts import Line, percent
from assets.evaluation.page.facts import MODES, OVERALL, Facts, Stage
from assets.evaluation.page.lineage import Node
from assets.evaluation.page.svg import element, text

MODE_KEYS = key("on", "thinking on") + key("off", "thinking off")


def along_the_line(facts: Facts) -> str:
    """Every checkpoint's accuracy, and what each stage changed; empty where none was measured."""
    measured = {model: line for model, line in facts.lines.items() if line[-1].scores}
    if not measured:
        return ""
    parts = [
        "<p>Accuracy on all held-out problems after every stage. Whiskers are 95 % intervals; "
        "changes are against the stage before, in percentage points, on the same problems.</p>",
        MODE_KEYS,
        '<span class="key"><span class="flag worse">worse</span> fell by more than chance '
        "explains</span>",
        '<span class="key"><span class="flag lower">lower</span> fell, within the interval</span>',
    ]
    head = (
        '<tr><th>Stage</th><th class="n">Parameters</th><th>Thinking on</th>'
        '<th class="n">Change</th><th>Thinking off</th><th class="n">Change</th>'
        '<th class="n">Problems</th></tr>'
    )
    for model, line in measured.items():
        rows = "".join(_row(stage) for stage in line)
        body = scroll(element("table", head, rows))
        parts.append(card(model.capitalize(), body, _by_benchmark(line)))
    return "".join(parts)


def _row(stage: Stage) -> str:
    cells = [
        f'<td class="stage">{text(stage.label)}</td>',
        f'<td class="n">{millions(stage.parameters)}</td>',
    ]
    for mode in MODES:
        score = stage.score(mode)
        bar = charts.accuracy_bar(score["accuracy"], score["ci_low"], score["ci_high"], mode)
        cells.append(
            f"<td>{bar} <b>{percent(score['accuracy'])}</b>"
            f'<span class="range">{interval(score)}</span></td>'
        )
        cells.append(f'<td class="n">{_change(stage, mode)}</td>')
    cells.append(f'<td class="n">{stage.score("on")["problems"]}</td>')
    return element("tr", *cells)


def _change(stage: Stage, mode: str) -> str:
    if stage.change is None:
        return ""
    value, half = stage.change[mode]
    word = stage.worse(mode)
    kind = "up" if value > half else "down" if word == "worse" else "level"
    flag = f'<span class="flag {word}">{word}</span> ' if word else ""
    number = f'<span class="{kind}" title="± {percent(half)}">{100 * value:+.1f}</span>'
    return flag + number


def _by_benchmark(line: list[Stage]) -> str:
    names = sorted({row["benchmark"] for row in line[-1].scores} - {OVERALL})
    if not names:
        return ""
    head = ["Stage", *(f"{name} {mode}" for name in names for mode in MODES)]
    rows = (
        [
            stage.label,
            *(percent(stage.score(mode, name)["accuracy"]) for name in names for mode in MODES),
        ]
        for stage in line
    )
    counts = ", ".join(f"{name} {line[-1].score('on', name)['problems']}" for name in names)
    summary = element("summary", text(f"By benchmark, percent (problems: {counts})"))
    return element("details", summary, table(head, rows))


def architectures(facts: Facts) -> str:
    """What each layer keeps, at the stages where that changes; a shared parent once."""
    made, drawn = [], set[str]()
    for model, line in facts.lines.items():
        shown: list[Stage] = []
        for stage in line:
            if not shown or stage.layers != shown[-1].layers:
                shown.append(stage)
        strips = []
        for stage in shown:
            if stage.key in drawn:
                continue
            drawn.add(stage.key)
            size = f"{len(stage.layers)} layers · {millions(stage.parameters)} parameters"
            about = element("small", text(f"{stage.label} · {size}"))
            strips.append(element("div", about, scroll(diagrams.strip(stage.layers)), class_="gap"))
        if strips:
            made.append(card(model.capitalize(), *strips))
    layers = [layer for line in facts.lines.values() for stage in line for layer in stage.layers]
    fused = any(layer.ffn > diagrams.FUSED for layer in layers)
    return "".join(
        [
            "<p>One column a layer: attention above, feed-forward network (FFN) below. A cell is "
            "filled as far as the layer keeps its parent's key-value heads or width.</p>",
            key("attention", "attention kept"),
            key("ffn", "FFN kept"),
            key("fused", "several FFNs fused into a wider one") if fused else "",
            '<span class="key"><i class="ring"></i> removed</span>',
            *made,
        ]
    )


def by_depth(facts: Facts) -> str:
    """Accuracy over serial depth, thinking on and off."""
    stages = [(model.capitalize(), line[-1], line[0]) for model, line in facts.lines.items()]
    if facts.teacher is not None:
        stages.append(("Teacher", facts.teacher, facts.teacher))
    made = []
    for name, last, first in stages:
        if not last.depths():
            continue
        series = [_curve(last, mode, f"thinking {mode}", mode) for mode in MODES]
        if first is not last:
            series.append(_curve(first, "off", "parent, thinking off", "before", dashed=True))
        made.append(card(name, charts.lines(series, "serial depth k")))
    if not made:
        return ""
    return (
        "<p>A problem of serial depth k has k steps that wait for each other. Answering at once "
        "should fail as k grows; thinking should carry further. Bands are 95 % intervals.</p>"
        f"{MODE_KEYS}{key('teacher', 'parent, thinking off (dotted)')}{cards(*made)}"
    )


def _curve(stage: Stage, mode: str, name: str, kind: str, *, dashed: bool = False) -> Line:
    rows = [stage.score(mode, depth=depth) for depth in stage.depths()]
    points = [(row["difficulty"], row["accuracy"], row["ci_low"], row["ci_high"]) for row in rows]
    return Line(name, kind, points, dashed)


def reinforcement(facts: Facts) -> str:
    """Pass rates of the prompts, and the reward of every RL stage."""
    made = []
    if facts.pass_rates:
        counts = Counter(round(rate * 8) for rate in facts.pass_rates)
        columns = {f"{n}/8": float(counts[n]) for n in range(9)}
        dropped = [f"{n}/8" for n in range(9) if n / 8 >= facts.discard_at]
        about = "prompts by pass rate; grey ones are too easy to practise"
        chart = charts.histogram(columns, dropped, "samples that were correct")
        made.append(card("How hard the prompts are", element("small", text(about)), chart))
    for name, curve in facts.curves.items():
        if len(curve) > 1:
            about = element("small", text(f"mean reward over {len(curve)} rollout steps"))
            made.append(card(name, about, charts.spark(curve)))
    return cards(*made) if made else ""


def data(facts: Facts) -> str:
    """Training samples by domain and mode, verdicts, and what was dropped."""
    parts = []
    if facts.samples:
        rows: dict[str, list[tuple[str, str, float]]] = {}
        for domain, mode, count, _ in facts.samples:
            rows.setdefault(domain, []).append((f"thinking {mode}", mode, float(count)))
        numbers = table(
            ("Domain", "Thinking", "Samples", "Mean tokens"),
            (
                (domain, mode, f"{n:,}", f"{tokens:.0f}")
                for domain, mode, n, tokens in facts.samples
            ),
        )
        details = element("details", "<summary>Numbers</summary>", numbers)
        chart = charts.stacked(rows, "samples")
        parts.append(card("Verified training samples", MODE_KEYS, chart, details))
    for source, (model, prompts) in facts.self_distilled.items():
        about = (
            f"A share of the corpus, the source {source}, is what {model}'s parent itself answers "
            f"to {prompts} prompts that come with the package."
        )
        parts.append(card("Self-distillation", element("small", text(about))))
    if facts.unjudged:
        about = (
            "The recipe leaves programs unjudged: no code answer was run, every verdict on one is "
            "unknown, none was trained on, and code is not among the benchmarks."
        )
        parts.append(card("Programs were not run", element("small", about)))
    if facts.verdicts:
        kinds = {"correct": "good", "incorrect": "bad", "unknown": "muted"}
        keys = "".join(key(colour, verdict) for verdict, colour in kinds.items())
        rows = {
            name.removeprefix("sft_data/").removesuffix("_verdicts"): [
                (verdict, colour, float(counts[verdict])) for verdict, colour in kinds.items()
            ]
            for name, counts in facts.verdicts.items()
        }
        parts.append(card("Sampled answers by verdict", keys, charts.stacked(rows, "answers")))
    if facts.agreement:
        parts.append(judges(facts.agreement))
    if facts.edited:
        parts.append(edited(facts.edited))
    if facts.dropped:
        about = "Dropped rows stay in the view <code>dropped</code>, each with its evidence."
        listed = table(
            ("Asset", "Reason", "Rows"),
            ((asset, why, f"{count:,}") for (asset, why), count in sorted(facts.dropped.items())),
        )
        parts.append(card("Dropped, and why", f"<small>{about}</small>", listed))
    return "".join(parts)


def judges(rows: Sequence[Mapping[str, Any]]) -> str:
    """How far a judge is to be believed: its verdicts beside the verifier's, domain by domain."""
    about = (
        "A judge decides where the verifier cannot; it was asked about some answers whose verdict "
        "is known, too. Agreement: of the answers on which both have a verdict, with the 95 % "
        "interval."
    )
    numbers = table(
        (
            "Domain",
            "Judge",
            "Prompt",
            "Asked",
            "Left open",
            "Agreement",
            "Wrong ones accepted",
            "Right ones refused",
        ),
        (
            (
                row["domain"],
                row["model"],
                row["prompt"],
                f"{row['judged']:,}",
                f"{row['unknown']:,}",
                f"{row['agreement']:.1%} ({row['ci_low']:.1%} to {row['ci_high']:.1%}) of "
                f"{row['compared']:,}"
                if row["compared"]
                else "not compared",
                f"{row['wrong_accepted']:,}",
                f"{row['right_refused']:,}",
            )
            for row in rows
        ),
    )
    return card("The judge", element("small", text(about)), numbers)


def edited(rows: Sequence[Mapping[str, Any]]) -> str:
    """What feedback, edit and choice gain by truth, or why there is no number."""
    about = (
        "Drafts were edited by feedback on them, and one of a draft and its edits was chosen. "
        "Accuracy by the verifier's truth alone, on the same drafts in every row, with the 95 % "
        "interval of a bootstrap over problems; the gain is over the drafts, paired."
    )

    def share(row: Mapping[str, Any], name: str, low: str, high: str) -> str:
        if row["refused"]:
            return str(row["refused"])
        if row[name] is None:
            return ""
        return f"{row[name]:.1%} ({row[low]:.1%} to {row[high]:.1%})"

    numbers = table(
        ("Answers to", "Which", "Accuracy", "Gain", "Drafts", "Left out"),
        (
            (
                row["name"],
                row["answers"],
                share(row, "accuracy", "ci_low", "ci_high"),
                share(row, "gain", "gain_low", "gain_high"),
                f"{row['drafts']:,}",
                f"{row['left_out']:,}",
            )
            for row in rows
        ),
    )
    return card("Feedback and edits", element("small", text(about)), numbers)


def lineage(nodes: list[Node]) -> str:
    """The graph of what the final model was made from."""
    return (
        f"<p>Everything that <b>{text(nodes[0].key)}</b> was made from: {len(nodes)} assets, each "
        "in the version that was used. Inputs that another input contains are not drawn.</p>"
        + element("div", scroll(diagrams.graph(nodes)), class_="card flat")
    )
