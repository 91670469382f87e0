"""The report's cards: what each model became, in the numbers that a person asks for first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from assets.evaluation.compared import Compared, Row, is_raw
from assets.evaluation.page.blocks import (
    cards,
    decimal,
    estimate,
    interval,
    meanings,
    millions,
    nats,
    stored,
)
from assets.evaluation.page.charts import percent
from assets.evaluation.page.equal_size import won
from assets.evaluation.page.facts import MODES, Facts, Stage
from assets.evaluation.page.svg import element, text
from assets.evaluation.page.ways import BY_HAND

Rows = dict[str, str]  # term -> HTML
CUT = {
    "KL": "how far the next-token probabilities lie from the parent's: 0 is the same",
    "perplexity": "among how many equally likely next tokens the model wavers: less is better",
    "raw, healed": "a child put together from its blocks, and trained after that",
}
COMPARED = {
    "KV cache": "what attention keeps of every token read, here in 16 bits",
    "prefill, decode": "reading a prompt, and writing after it",
}


def overview(facts: Facts) -> str:
    """A card a model, and the terms that the page goes on to use."""
    terms = (CUT if facts.puzzle or facts.compared else {}) | (COMPARED if facts.compared else {})
    made = cards(*(_card(facts, model, line) for model, line in facts.lines.items()))
    return made + (meanings(terms) if terms else "")


def _card(facts: Facts, model: str, line: list[Stage]) -> str:
    first, last = line[0], line[-1]
    compared = next((each for each in facts.compared if model in each.models), None)
    head, rows = "", Rows()
    if compared is not None:
        head, rows = _against_parent(model, compared, line)
        rows |= _won(facts, model)
        if last.scores:
            rows |= {f"Problems right, thinking {mode}": _answered(last, mode) for mode in MODES}
    elif last.scores:
        head, rows = _accuracy(first, last)
    if compared is None:
        rows["Parameters"] = _became(millions, first.parameters, last.parameters)
        rows["Weights on disk"] = _became(stored, first.stored, last.stored)
    rows["Checkpoints"] = text(" → ".join(stage.label for stage in line))
    if model in facts.padded:
        rows["Exported"] = "padded with zeros: saves neither memory nor time in an engine"
    whose = "from" if model in facts.given else "stands for"
    role = f"{whose} {facts.roles.get(model, 'its parent')}"
    name = element("b", text(model)) + element("small", text(role))
    values = (f"<dt>{term}</dt><dd>{value}</dd>" for term, value in rows.items())
    return element(
        "div", element("div", name, class_="name"), head, element("dl", *values), class_="card"
    )


def _against_parent(model: str, compared: Compared, line: list[Stage]) -> tuple[str, Rows]:
    """What a card says of a child that was measured beside its parent."""
    rows = compared.of(model)
    parent, last = rows[0], rows[-1]
    kept = last["parameters"] / parent["parameters"]
    head = (
        f'<div class="big">{percent(kept)}<small> % of the parameters</small></div>'
        f'<div class="soft">{_became(millions, parent["parameters"], last["parameters"])}</div>'
    )
    found = {"Weights on disk": _became(stored, line[0].stored, line[-1].stored)}
    cached = (row["kv_bytes_per_token"] for row in (parent, last))
    found["KV cache, bytes a token"] = _became("{:,}".format, *cached)
    prefill, decode = (compared.speeds[last["label"]][what][1] for what in ("read", "written"))
    if last is not parent:
        found["Prefill, decode"] = f"{prefill:.2f} x, {decode:.2f} x as fast"
        raw = [row for row in rows if is_raw(row)]
        found["KL to the parent, nats a token"] = _kl(last)
        if raw and raw[-1] is not last:
            found["KL raw, before healing"] = _kl(raw[-1])
    found["Perplexity"] = _became(decimal, parent["perplexity"], last["perplexity"])
    return head, found


def _won(facts: Facts, model: str) -> Rows:
    """What the choice of layers is worth against cuts by hand and all other ways, all raw."""
    rows = [row for shown in facts.puzzle.get(model, []) for row in shown.baselines]
    said = {
        "KL won, raw, over the best cut by hand": won(rows, BY_HAND),
        "KL won, raw, over the best other choice": won(rows),
    }
    if len(set(said.values())) == 1:
        said.popitem()
    return {term: text(value) for term, value in said.items() if value}


def _kl(row: Row) -> str:
    return estimate(row["kl"], row["kl_low"], row["kl_high"], nats)


def _became(write: Callable[[Any], str], before: float, after: float) -> str:
    """A number of the parent and of the child, once where they are written alike."""
    was, now = write(before), write(after)
    return now if was == now else f"{was} → {now}"


def _answered(last: Stage, mode: str) -> str:
    score = last.score(mode)
    of = f"({interval(score)}) of {score['problems']}"
    return f"{percent(score['accuracy'])} % <small>{of}</small>"


def _accuracy(first: Stage, last: Stage) -> tuple[str, Rows]:
    """What a card says of a model's accuracy: its large number, and the rows below."""
    on, off = last.score("on"), last.score("off")
    before = max(first.score(mode)["accuracy"] for mode in MODES)
    head = (
        f'<div class="big">{percent(on["accuracy"])}<small> % right, thinking on</small></div>'
        f'<div class="soft">{interval(on)} (95 %), {on["problems"]} held-out problems</div>'
    )
    return head, {
        "Thinking off": f"{percent(off['accuracy'])} % <small>{interval(off)}</small>",
        "Parent, better mode": f"{percent(before)} %",
    }
