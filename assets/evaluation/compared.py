"""The report's section on what became of a parent: size, cache, perplexity, KL, speed, answers.

Shows what `side_by_side.py` measured and what recovery drew; measures nothing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from assets.evaluation.blocks import card, millions, table
from assets.evaluation.svg import element, text
from warehouse.store import Artifact

ASSET = "side_by_side"
CURVE = "held_out_curve"  # the picture that trained checkpoints carry
Row = dict[str, Any]


@dataclass(frozen=True)
class Compared:
    """A model's checkpoints side by side; `curves` are pictures of recovery by stage."""

    rows: list[Row]
    answers: list[Row]
    speed: dict[str, float]
    curves: dict[str, bytes]


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
            "Intervals are 95 %. Speeds are of this machine."
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
    stage = row["stage"]
    reading = row["tokens"] / compared.speed[f"{stage}_forward_seconds"]
    writing = compared.speed.get(f"{stage}_generated_tokens_per_second")
    return (
        stage,
        millions(row["parameters"]),
        f"{row['kv_bytes_per_token']:,}",
        f"{row['perplexity']:.2f} ({row['perplexity_low']:.2f} to {row['perplexity_high']:.2f})",
        f"{row['kl']:.3f} ({row['kl_low']:.3f} to {row['kl_high']:.3f})",
        f"{reading:,.0f}",
        f"{writing:,.0f}" if writing else "",
    )


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
            checkpoint = by_key[f"{model}/{stage}"]
            if CURVE in checkpoint.manifest["images"]:
                curves[stage] = checkpoint.image(CURVE)
        found[model] = Compared(
            rows,
            artifact.table("answers_shown").to_pylist(),
            {k: v for k, v in artifact.observations.items() if isinstance(v, float)},
            curves,
        )
    return found
