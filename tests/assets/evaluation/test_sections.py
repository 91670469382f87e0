"""Sections that show a model's layers and what training gave back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from assets.evaluation.page import recovered
from assets.evaluation.page.facts import Facts, Layer, Stage
from assets.evaluation.page.sections import architectures
from tests.assets.rl import support
from warehouse.store import Output, Store


def test_a_parent_that_two_models_share_is_drawn_once() -> None:
    full, half = Layer(1.0, 1.0, "2 kv heads", "width 8"), Layer(1.0, 0.5, "2 kv heads", "width 4")
    parent = Stage("a", "a/parent", "parent", 9, 9, [full], [], None)
    lines = {
        name: [parent, Stage(name, f"{name}/assembled", "assembled", 8, 9, [half], [], None)]
        for name in ("a", "b")
    }
    html = architectures(Facts("test", {}, lines))
    assert html.count("<svg") == 3 and html.count("parent · 1 layers") == 1
    assert "fused into a wider one" not in html


def test_healing_is_drawn_over_the_tokens_it_took(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    values = {"kl_forward": [0.43, 0.36, 0.33], "cross_entropy": [3.0, 2.9, 2.8]}
    values |= {"agreement": [0.67, 0.7, 0.72], "teacher_entropy": [2.0, 2.0, 2.0]}
    rows = [
        {"step": 10 * n, "tokens": 5000 * n, "metric": f"held_out_{name}", "value": value}
        for name, course in values.items()
        for n, value in enumerate(course)
    ]
    rows.append({"step": 1, "tokens": 1000, "metric": "loss", "value": 0.4})
    healed = Output(tables={"training_metrics": pa.Table.from_pylist(rows)})
    unmeasured = Output(tables={"training_metrics": pa.Table.from_pylist(rows[-1:])})
    made = {
        key: support.publish(store, key, output)
        for key, output in (("m/distilled", healed), ("m/sft", unmeasured), ("m/parent", Output()))
    }
    found = recovered.courses(made, list(made))
    assert list(found) == ["m/distilled"]
    assert found["m/distilled"]["kl_forward"] == [(0.0, 0.43), (5000.0, 0.36), (10000.0, 0.33)]
    html = recovered.section(found)
    assert html.count("<svg") == 3 and "teacher" not in html
    for words in ("0.430", "0.330", "20.1", "16.4", "67.0", "72.0", "10 K", "tokens: 0.360"):
        assert words in html
    assert recovered.section({}) == ""
