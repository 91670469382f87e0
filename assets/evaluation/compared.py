"""The report's section on what became of a parent: size, cache, perplexity, KL, speed, answers.

Shows what `side_by_side.py` measured and what recovery drew; measures nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assets.evaluation.blocks import card, millions, table
from assets.evaluation.charts import percent
from assets.evaluation.svg import element, text
from warehouse.store import Artifact

ASSET = "side_by_side"
EXPORT, IN_VLLM = "exported", "equal_in_vllm"
CURVE = "held_out_curve"  # the picture that trained checkpoints carry
Row = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """A model's checkpoints side by side; `curves` are pictures of recovery by stage, `served` says
    what vLLM made of the export, where it was asked."""

    rows: list[Row]
    answers: list[Row]
    speed: dict[str, float]
    curves: dict[str, bytes]
    served: str = ""


def section(found: Mapping[str, Compared]) -> str:
    """The section's HTML; empty where nothing was compared."""
    return "".join(
        card(f"{model.capitalize()}: the parent and what became of it", *_content(compared))
        for model, compared in found.items()
    )


def _content(compared: Compared) -> Iterable[str]:
    tokens = compared.rows[0]["tokens"]
    yield element(
        "small",
        text(
            f"On {tokens:,} tokens of text that no stage saw; KL to the parent in nats a token. "
            "Intervals are 95 %. Speeds are of one sequence on this machine, (… x) against the "
            "parent's, measured in turn."
        ),
    )
    head = (
        "Checkpoint",
        "Parameters",
        "KV bytes a token",
        "Perplexity",
        "KL to the parent",
        "Reading, tokens/s",
        "Writing, tokens/s",
    )
    yield table(head, (_line(row, compared) for row in compared.rows))
    if compared.served:
        yield element("p", text(f"The export: {compared.served}."))
    for stage, picture in compared.curves.items():
        data = "data:image/png;base64," + base64.b64encode(picture).decode()
        about = f"{stage}: held-out measures over tokens"
        yield element("div", element("img", src=data, alt=about), class_="picture")
    for prompt in dict.fromkeys(row["prompt"] for row in compared.answers):
        said = [(r["stage"], r["answer"]) for r in compared.answers if r["prompt"] == prompt]
        rows = (
            element(
                "tr",
                element("td", text(stage), class_="stage"),
                element("td", text(answer.strip() or "(nothing)"), class_="said"),
            )
            for stage, answer in said
        )
        yield element("p", element("b", text(prompt))) + element("table", *rows)


def _line(row: Row, compared: Compared) -> tuple[str, ...]:
    whole = compared.rows[0]
    return (
        row["stage"],
        _share(millions(row["parameters"]), row, whole, "parameters"),
        _share(f"{row['kv_bytes_per_token']:,}", row, whole, "kv_bytes_per_token"),
        f"{row['perplexity']:.2f} ({row['perplexity_low']:.2f} to {row['perplexity_high']:.2f})",
        f"{row['kl']:.3f} ({row['kl_low']:.3f} to {row['kl_high']:.3f})",
        *(_speed(compared, row["stage"], what) for what in ("read", "written")),
    )


def _share(written: str, row: Row, whole: Row, name: str) -> str:
    if row is whole or not whole[name]:
        return written
    return f"{written} ({percent(row[name] / whole[name])} %)"


def _speed(compared: Compared, stage: str, what: str) -> str:
    """Tokens a second, and how many times the parent's that is."""
    own = compared.speed.get(f"{stage}_{what}_tokens_per_second")
    beside = compared.speed.get(f"{stage}_beside_{what}_tokens_per_second")
    if own is None or beside is None:
        return ""
    return f"{own:,.0f}" + ("" if own == beside else f" ({own / beside:.2f} x)")


def _served(export: Artifact | None) -> str:
    """What the check of an export says of vLLM."""
    checks = export.checks if export is not None else ()
    return next((each.description for each in checks if each.name == IN_VLLM), "")


def gathered(by_key: Mapping[str, Artifact], models: Iterable[str]) -> dict[str, Compared]:
    """What was compared, by model."""
    found = {}
    for model in models:
        artifact = by_key.get(f"{model}/{ASSET}")
        if artifact is None:
            continue
        rows: list[Row] = artifact.table("side_by_side").to_pylist()
        curves = {}
        for stage in (row["stage"] for row in rows):
            checkpoint = by_key.get(f"{model}/{stage}")  # a parent may be another model's
            if checkpoint is not None and CURVE in checkpoint.manifest["images"]:
                curves[stage] = checkpoint.image(CURVE)
        found[model] = Compared(
            rows,
            artifact.table("answers_shown").to_pylist(),
            {k: v for k, v in artifact.observations.items() if isinstance(v, float)},
            curves,
            _served(by_key.get(f"{model}/{EXPORT}")),
        )
    return found
