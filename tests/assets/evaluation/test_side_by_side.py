"""Checkpoints on the same unseen text: hand-computed means, real small models, one table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from assets.catalog import all_specs
from assets.evaluation import checks, compared, side_by_side
from assets.evaluation.assets import specs
from assets.evaluation.page.children import section
from assets.evaluation.page.facts import Facts, Stage
from assets.evaluation.page.overview import overview
from assets.evaluation.side_by_side import compare, held_out
from resources.benchmarks.intervals import difference, mean_of
from resources.models import loading
from resources.recipe.errors import RecipeError
from resources.recipe.loading import load as load_recipe
from tests.assets.rl import support
from warehouse.store import Artifact, Output, Store

RECIPE = {
    "model": "super",
    "line": ["parent", "sft"],
    "tokens": 40,
    "sequence_length": 12,
    "prompts": ["2 + 2?", "And 3 + 3?"],
    "max_new_tokens": 4,
}


@pytest.fixture(scope="module")
def line(
    tmp_path_factory: pytest.TempPathFactory, tiny_llama: Path
) -> tuple[Store, dict[str, Artifact]]:
    """A parent, a child that is another function, and a corpus with held-out text."""
    store = Store(tmp_path_factory.mktemp("home"))
    parent = support.checkpoint(store, "super/parent", tiny_llama)

    def child(work: Path, inputs: object, recipe: object, execution: object) -> Output:
        model = loading.load(tiny_llama)
        model.lm_head.weight.data.mul_(0.5)
        loading.save(model, work / "made", tiny_llama)
        return Output(files={"": work / "made"})

    def corpus(work: Path, inputs: object, recipe: object, execution: object) -> Output:
        ids = [list(range(5, 5 + n)) for n in (30, 8, 20, 9)]
        rows = pa.table({"row_id": pa.array([bytes([n] * 16) for n in range(4)], pa.binary(16))})
        return Output(tables={"held_out": rows.append_column("text_ids", pa.array(ids))})

    made = {
        "parent": parent,
        "sft": support.build(store, "super/sft", child, {"model": parent}, {}),
        "corpus": support.build(store, "problems/corpus_tokens", corpus, {}, {}),
    }
    return store, made


def test_text_is_the_beginning_of_each_document_until_there_is_enough(
    line: tuple[Store, dict[str, Artifact]],
) -> None:
    texts = held_out(line[1]["corpus"], tokens=21, length=12)
    assert [len(text) for text in texts] == [12, 8, 12]
    assert texts[0].tolist() == list(range(5, 17))
    with pytest.raises(ValueError, match="holds no text out"):
        held_out(line[1]["parent"], tokens=21, length=12)


def test_means_weigh_tokens_not_sequences() -> None:
    mean, low, high = mean_of(np.array([[3.0, 1.0], [1.0, 3.0]]), seed=0)
    assert mean == 1.0
    assert low == pytest.approx(1 / 3) and high == 3.0


def test_differences_are_paired_by_sequence() -> None:
    draw = np.random.default_rng(0)
    counts = draw.integers(4, 9, 30).astype(float)
    hard = draw.uniform(0, 9, 30) * counts  # sequences differ by far more than the models do
    before = np.stack([hard, counts], axis=1)
    after = np.stack([hard + counts, counts], axis=1)
    assert difference(before, before, 3) == (0.0, 0.0, 0.0)
    assert difference(after, before, 3) == pytest.approx((1.0, 1.0, 1.0))
    value, low, high = difference(after[:, :2], before * [0.9, 1.0], 3)
    alone = mean_of(after, 3)
    assert value == pytest.approx(alone[0] - 0.9 * mean_of(before, 3)[0])
    assert low < value < high and high - low < 0.2 * (alone[2] - alone[1])


def test_a_line_is_compared_with_its_parent(line: tuple[Store, dict[str, Artifact]]) -> None:
    store, inputs = line
    made = support.build(store, "super/side_by_side", compare, inputs, RECIPE)
    assert checks.parent_is_itself(made, inputs).passed
    parent, child = made.table("side_by_side").to_pylist()
    assert child["kl"] > 0 and child["kl_low"] <= child["kl"] <= child["kl_high"]
    assert parent["tokens"] == child["tokens"] == 12 + 8 + 12 + 9
    model = loading.load(inputs["parent"].path(), dtype="float32")
    total = count = 0.0
    for text in held_out(inputs["corpus"], 40, 12):
        ids = torch.from_numpy(text)[None]
        logits = model(ids).logits[0, :-1]
        total += float(
            torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").detach()
        )
        count += len(text) - 1
    assert parent["perplexity"] == pytest.approx(np.exp(total / count), rel=1e-5)
    assert parent["parameters"] == sum(p.numel() for p in model.parameters())
    sums = made.table("side_by_side_sequences").to_pylist()
    own = [row for row in sums if row["stage"] == "sft"]
    assert [row["tokens"] for row in own] == [12, 8, 12, 9]
    assert [row["predictions"] for row in own] == [11, 7, 11, 8]
    assert sum(row["kl"] for row in own) / 41 == pytest.approx(child["kl"])
    assert np.exp(sum(row["loss"] for row in own) / 37) == pytest.approx(child["perplexity"])
    [found] = compared.gathered({made.key: made}, {"super": "super/parent"})
    assert [(each.after, each.before) for each in found.changes] == [("sft", "parent")]
    # Of the parent the KL is 0: the difference is the KL, but for the draws of the interval.
    value, low, high = found.changes[0].kl
    assert value == pytest.approx(child["kl"])
    assert (low, high) == pytest.approx((child["kl_low"], child["kl_high"]), rel=0.05)
    html = section([found], {"super": stages("super", "parent", "sft")})
    assert html.count('class="said"') == 4 and "cut after 4 tokens" in html
    assert "in vLLM" not in html
    measured = {name for name in made.observations if name.endswith("_tokens_per_second")}
    assert measured == {
        f"{stage}_{what}_tokens_per_second"
        for stage in ("parent", "parent_beside", "sft", "sft_beside")
        for what in ("read", "written")
    }
    assert all(made.observations[name] > 0 for name in measured)
    assert "2 + 2?" in html and "KL to the parent" in html
    assert section([], {}) == ""


def test_a_parent_reads_each_text_once_and_no_figure_moves(
    line: tuple[Store, dict[str, Artifact]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit-equal to both models' logits text by text, which is what the figures are defined by."""
    _, inputs = line
    parent, child = (loading.load(inputs[name].path(), dtype="float32") for name in RECIPE["line"])
    texts = held_out(inputs["corpus"], 40, 12)
    read: list[int] = []
    run = parent.run
    monkeypatch.setattr(parent, "run", lambda *given: read.append(1) or run(*given))
    told = side_by_side.states(parent, texts)
    found = [side_by_side.measured(parent, told, model, texts) for model in (parent, child, child)]
    assert len(read) == len(texts)
    for model, (losses, divergences) in zip((parent, child, child), found, strict=True):
        for text, loss, divergence in zip(texts, losses, divergences, strict=True):
            ids = torch.from_numpy(text)[None]
            with torch.inference_mode():
                logs, reference = (each(ids).logits[0].log_softmax(-1) for each in (model, parent))
            nll = -logs[:-1].gather(1, ids[0, 1:, None]).sum()
            kl = (reference.exp() * (reference - logs)).sum()
            assert loss.tolist() == [float(nll), len(text) - 1]
            assert divergence.tolist() == [float(kl), len(text)]
    assert found[1][1][:, 0].min() > 0.0


def stages(model: str, *labels: str) -> list[Stage]:
    return [Stage(model, f"{model}/{each}", each, 8, 5_000_000, [], [], None) for each in labels]


def measured(store: Store, model: str, *line: str) -> Artifact:
    """What `compare` gives of a line whose every step adds 0.1 nats of KL a token."""
    rows, sums, answers = [], [], []
    for number, stage in enumerate(line):
        of = {"model": model, "stage": stage}
        kl = 0.1 * number
        ends = {"kl": kl, "kl_low": kl, "kl_high": kl}
        ends |= {"perplexity": 20.0, "perplexity_low": 19.0, "perplexity_high": 21.0}
        sizes = {"parameters": 2_000_000 - number, "kv_bytes_per_token": 64, "tokens": 8}
        rows.append(of | sizes | ends)
        answers.append(of | {"prompt": "Who?", "answer": f"{model} {stage}"})
        sums += [
            of | {"sequence": n, "loss": 9.0, "predictions": 3, "kl": 4 * kl, "tokens": 4}
            for n in range(2)
        ]
    speeds = {
        f"{stage}{beside}_{what}_tokens_per_second": 7.0
        for stage in line
        for beside in ("", "_beside")
        for what in ("read", "written")
    }
    tables = {"side_by_side": rows, "side_by_side_sequences": sums, "answers_shown": answers}
    output = Output(
        tables={name: pa.Table.from_pylist(each) for name, each in tables.items()},
        observations=speeds,
    )
    return support.publish(store, f"{model}/side_by_side", output, max_new_tokens=4)


def test_two_targets_of_one_parent_stand_in_one_table(tmp_path: Path) -> None:
    store = Store(tmp_path / "home")
    whole, half, other = ("parent", "assembled", "distilled", "sft"), ("parent", "assembled"), "o"
    made = [
        measured(store, "a", *whole),
        measured(store, "b", *half),
        measured(store, other, *half),
    ]
    parents = {"a": "a/parent", "b": "a/parent", other: "o/parent", "unmeasured": "u/parent"}
    both, third = compared.gathered({each.key: each for each in made}, parents)
    assert [row["label"] for row in both.rows] == [
        "parent",
        "a assembled",
        "a distilled",
        "a sft",
        "b assembled",
    ]
    assert [row["label"] for row in third.rows] == ["parent", "assembled"]
    changes = {(each.after, each.before): each.kl[0] for each in both.changes}
    assert changes == pytest.approx(
        {
            ("a assembled", "parent"): 0.1,
            ("a distilled", "a assembled"): 0.1,
            ("a sft", "a distilled"): 0.1,
            ("a sft", "a assembled"): 0.2,
            ("b assembled", "parent"): 0.1,
            ("b assembled", "a assembled"): 0.0,
        }
    )
    lines = {"a": stages("a", *whole), "b": stages("b", *half)}
    html = section([both], lines)
    assert html.count("b assembled") == 5  # sizes, two changes, and once above its answer
    assert html.count("2.00 M<") == 1 and "5 MB" in html and "(1.00 x)" in html
    assert ">+0.200<" in html and ">0.000<" in html  # no spread, no interval
    assert "<b>a parent</b>" not in html and "<td></td>" not in html and "(nothing)" not in html
    cards = overview(Facts("test", {}, lines, compared=[both]))
    one, two = (card.split("</div></div>")[0] for card in cards.split('class="name"')[1:])
    assert "KL raw, before healing" in one and "parent → assembled → distilled → sft" in one
    assert "before healing" not in two and "0.100" in two and "Problems" not in two
    assert "<dd></dd>" not in cards and cards.count("<dt>KL</dt>") == 1
    alone = measured(store, "unmeasured", "parent")
    [nothing] = compared.gathered({alone.key: alone}, parents)
    assert (len(nothing.rows), nothing.changes) == (1, [])


def test_it_is_made_where_it_is_asked_for() -> None:
    keys = {spec.key for spec in specs(load_recipe("smol", check_paths=False))}
    assert {"smol/side_by_side", "smol76/side_by_side"} <= keys
    assert not any("side_by_side" in s.key for s in specs(load_recipe("tiny", check_paths=False)))
    section = "side_by_side={tokens: 64, sequence_length: 16}"
    with pytest.raises(RecipeError, match="give corpus a mix"):
        load_recipe("tiny", [section], check_paths=False)


def test_text_is_made_for_it_where_no_stage_reads_any(tmp_path: Path) -> None:
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        "extends: [heirloom/single-gpu, heirloom/laptop]\n"
        "models: {m: {parent: bundled/super, stages: []}}\n"
        "sources: {text: {kind: text, path: 'python:docstrings', license: psf-2.0}}\n"
        "corpus: {mix: {text: 1}, tokens: 64K}\n"
    )
    section = "side_by_side={tokens: 1K, sequence_length: 256}"
    made = {spec.key: spec for spec in all_specs(load_recipe(recipe, [section]))}
    read = {key.split("[")[0] for key in made["m/side_by_side"].inputs.values()}
    assert read == {"m/parent", "problems/corpus_tokens"} <= made.keys()
    assert "problems/corpus_tokens" not in {s.key for s in all_specs(load_recipe(recipe))}
    with pytest.raises(RecipeError, match="holdout to 1%"):
        load_recipe(recipe, [section, "corpus.holdout=0%"])
