"""Whole assemblies without checkpoints, and the study of the search through the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from assets.puzzle.calibration import sequences
from assets.puzzle.choice import assemblies
from assets.puzzle.choice.assemblies import assembly_kl, assembly_measures
from assets.puzzle.choice.choose import choose_architecture
from assets.puzzle.costs.closed_form import block_costs
from assets.puzzle.fusion import fuse
from assets.puzzle.halves import ATTENTION, FFN, Library, compose, file_name, new_half
from assets.puzzle.scoring.build import model_kl
from assets.puzzle.study import correlation, ranks, study_search
from resources.execution import Execution
from resources.models.loading import load, save
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from tests.assets.puzzle import tiny
from tests.assets.puzzle.problems import recipe, score_table
from warehouse.store import Artifact, Output, Request, Store

ATTENTIONS, FFNS = ("full", "kv_1", "noop"), ("full", "ratio_50", "noop")
PAIRS = [(a, f) for a in ATTENTIONS for f in FFNS]
METHODS = [
    "search",
    "marginal greedy",
    "paper greedy",
    "max parameters",
    "best uniform",
    "random 1",
    "random 2",
    "depth by influence",
    "contiguous depth",
]


def write_library(model: HeterogeneousDecoderForCausalLM, folder: Path) -> Path:
    """Random halves in the place of trained ones."""
    from safetensors.torch import save_file

    torch.manual_seed(1)
    for layer in range(model.config.num_hidden_layers):
        for kind, variant in ((ATTENTION, "kv_1"), (FFN, "ratio_50")):
            half = new_half(model, layer, kind, variant)
            weights = {
                name: torch.ones_like(value) if "norm" in name else torch.randn_like(value) * 0.2
                for name, value in half.state_dict().items()
            }
            path = folder / file_name(layer, kind, variant)
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(weights, path)
    return folder


def test_assemblies_are_the_composed_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, data = tiny.parent(layers=4), tiny.data()
    library = Library(model, write_library(model, tmp_path / "library"))
    draw = np.random.default_rng(0)
    choices = [[PAIRS[draw.integers(len(PAIRS))] for _ in range(4)] for _ in range(12)]
    choices += [[("full", "full")] * 4, choices[0]]
    pieces = [[((at,), f"{a}/{f}") for at, (a, f) in enumerate(choice)] for choice in choices]
    monkeypatch.setattr(assemblies, "CHUNK", 5)
    found = assembly_kl(library, pieces, data, batch=3, folder=tmp_path)
    for row, choice in zip(found, choices, strict=True):
        assert row == pytest.approx(model_kl(model, compose(library, choice), data), abs=1e-10)
    assert np.array_equal(found, assembly_kl(library, pieces, data))
    # what is in the folder is not computed again
    monkeypatch.setattr(assemblies, "_Walk", None)
    assert np.array_equal(found, assembly_kl(library, pieces, data, batch=3, folder=tmp_path))


def test_cross_entropy_is_of_the_next_token_of_the_same_document() -> None:
    model, data = tiny.parent(layers=2), tiny.data()
    pieces = [((0,), "full/full"), ((1,), "full/full")]
    kl, loss = assembly_measures(Library(model), [pieces], data)[0].T
    assert kl == pytest.approx(0, abs=1e-12)
    with torch.inference_mode():
        hidden, context = data.context(model)
        logs = torch.log_softmax(model.logits(model.run(hidden, context)).double(), dim=-1)
    for row, ids, documents, of in zip(logs, data.input_ids, data.document_ids, loss, strict=True):
        told = [
            -float(row[at, ids[at + 1]])
            for at in range(len(ids) - 1)
            if documents[at + 1] == documents[at]
        ]
        assert of == pytest.approx(np.mean(told), abs=1e-5)


def test_a_run_is_what_fusion_makes_of_it() -> None:
    model, data = tiny.parent(layers=4), tiny.data()
    library = Library(model)
    free = compose(library, [("full", "full"), *[("noop", "full")] * 3])
    pieces = [((0,), "full/full"), ((1, 2), "fused/full"), ((3,), "noop/full")]
    found = assembly_kl(library, [pieces], data)[0]
    assert found == pytest.approx(model_kl(model, fuse(free, [[1, 2]]), data), abs=1e-10)


def test_correlations_by_hand() -> None:
    assert ranks(np.array([10.0, 30.0, 20.0, 20.0])).tolist() == [0, 3, 1.5, 1.5]
    assert correlation(np.array([1.0, 2, 3]), np.array([10.0, 30, 20])) == pytest.approx(0.5)
    assert correlation(np.array([1.0, 1]), np.array([1.0, 2])) == 0


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Artifact]:
    """A parent, its random library, true scores and costs."""
    home = tmp_path_factory.mktemp("home")
    store, model = Store(home), tiny.parent(layers=4, dtype=torch.float32)
    save(model, home / "parent", tiny.TOKENIZER)
    folder = write_library(model, home / "library")
    library = Library(model, folder)
    kl = tiny.replacement_kl(library, PAIRS, tiny.data(share="score")).mean(axis=2)
    scores = {(at, *pair): kl[at, place] for at in range(4) for place, pair in enumerate(PAIRS)}

    def build(name: str, made: Any, given: dict[str, Artifact], section: Any) -> Artifact:
        return store.build(Request(f"m/{name}", None, made, given, section, 0, code_version="1"))

    parent = build("parent", lambda *_: Output(files={"": home / "parent"}), {}, {})
    costs = {"attention": ATTENTIONS, "ffn": FFNS, "dtype_bytes": 2, "batch": 2, "context": 8}
    table = score_table(scores)
    return {
        "parent": parent,
        "corpus": build("corpus", lambda *_: Output(tables={"corpus": corpus_table()}), {}, {}),
        "block_library": build("block_library", lambda *_: Output(files={"": folder}), {}, {}),
        "block_scores": build(
            "block_scores", lambda *_: Output(tables={"block_scores": table}), {}, {}
        ),
        "block_costs": build("block_costs", block_costs, {"parent": parent}, costs),
    }


def corpus_table() -> pa.Table:
    table = tiny.corpus(200)
    ids = pa.array([index.to_bytes(16, "big") for index in range(200)], pa.binary(16))
    masks = [[True] * len(text) for text in table["text_ids"].to_pylist()]
    names = {"kind": "text", "domain": "math"}
    table = table.append_column("row_id", ids).append_column("loss_mask", pa.array(masks))
    for name, value in names.items():
        table = table.append_column(name, pa.array([value] * 200))
    return table


SECTION = {
    "tokens": 128,
    "sequence_length": 32,
    "seed": 3,
    "asset_key": "m/architecture",
    "model": "m",
}


def test_true_kl_decides_among_searched_and_hand_made_choices(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    measured = {"tokens": 256, "steps": 2, "improved": 1}
    section = recipe({"parameters": 0.75}, rounds=1, solutions=2, measured=measured)
    chosen = choose_architecture(tmp_path, inputs, section | SECTION, Execution())
    rows = chosen.tables["measured_choices"].to_pylist()
    methods = {row["method"] for row in rows}  # equal choices stand once
    assert {"search", "search, 2"} <= methods and len(methods) == len(rows) >= 4
    assert [row["chosen"] for row in rows] == [True] + [False] * (len(rows) - 1)
    assert all(row["kl"] >= rows[0]["kl"] and row["ci_low"] <= row["kl"] for row in rows)
    assert chosen.metrics["measured_kl"] == rows[0]["kl"]
    assert chosen.metrics["predicted_kl"] == pytest.approx(rows[0]["objective"])
    assert chosen.metrics["parameters"] == rows[0]["parameters"]
    # The table of layers is the winner's, whose true KL is measured once more.
    model = inputs["parent"].path()
    library = Library(load(model, dtype="float32"), [inputs["block_library"].path()])
    layers = chosen.tables["architectures"].to_pylist()
    pieces = [((row["layer"],), f"{row['attention']}/{row['ffn']}") for row in layers]
    # The first 128 tokens propose, the 256 after them decide.
    data = sequences(
        inputs["corpus"].table("corpus"), "score", tokens=384, sequence_length=32, seed=3
    ).select(slice(4, None))
    found = assembly_kl(library, [pieces], data).mean()
    assert found == pytest.approx(rows[0]["kl"], abs=1e-6)


def test_the_study_sets_the_search_beside_the_others(
    inputs: dict[str, Artifact], tmp_path: Path
) -> None:
    section = recipe({"parameters": 0.75, "kv_bytes_per_token": 0.6}, rounds=2)
    chosen = choose_architecture(tmp_path / "a", inputs, section | SECTION, Execution())
    rounds = chosen.tables["rounds"].to_pylist()
    assert chosen.metrics["rounds_kl"] == rounds[-1]["kl"] <= rounds[0]["kl"]
    assert chosen.metrics["kl"] == pytest.approx(rounds[-1]["objective"])
    architecture = Store(tmp_path / "home").build(
        Request("m/architecture", None, lambda *_: chosen, {}, {}, 0, code_version="1")
    )
    study = {"assemblies": 20, "random": 2, "search": section}
    made = study_search(
        tmp_path, inputs | {"architecture": architecture}, study | SECTION, Execution(micro_batch=4)
    )
    rows = {row["method"]: row for row in made.tables["search_baselines"].to_pylist()}
    assert list(rows) == METHODS
    known = {name: row for name, row in rows.items() if row["feasible"]}
    assert {"search", "max parameters", "random 1", "contiguous depth"} <= set(known)
    most = 0.75 * inputs["block_costs"].metrics["parent_parameters"]
    for row in known.values():
        assert row["parameters"] <= most
        assert row["ci_low"] <= row["kl"] <= row["ci_high"]
        assert row["parameters_share"] == pytest.approx(row["parameters"] / most * 0.75)
        # Paired: the difference is that of the means, its interval around it.
        assert row["above_search"] == pytest.approx(row["kl"] - rows["search"]["kl"], abs=1e-12)
        assert row["above_low"] <= row["above_search"] <= row["above_high"]
        assert 1 < row["perplexity_low"] <= row["perplexity"] <= row["perplexity_high"]
    assert rows["search"]["above_low"] == rows["search"]["above_high"] == 0
    parent = [made.metrics[f"parent_perplexity{end}"] for end in ("_low", "", "_high")]
    assert 1 < parent[0] <= parent[1] <= parent[2]
    for row in (row for row in rows.values() if not row["feasible"]):
        assert (row["kl"], row["parameters"]) == (None, None)
    kls = [row["kl"] for row in known.values()]
    first = min(known.values(), key=lambda row: row["objective"])
    assert made.metrics["regret"] == pytest.approx(first["kl"] - min(kls))
    assert made.metrics["search_kl"] == rows["search"]["kl"]
    surrogate = made.tables["surrogate"].to_pylist()
    assert len(surrogate) == 20
    sums, kl = (np.array([row[name] for row in surrogate]) for name in ("surrogate", "kl"))
    assert made.metrics["spearman"] == pytest.approx(correlation(ranks(sums), ranks(kl)))
    # sums of scores of changes in one layer are true, of many an estimate of the same order
    assert made.metrics["spearman"] > 0.5
    assert made.images["surrogate"].startswith(b"\x89PNG")
    model = Library(tiny.parent(layers=4, dtype=torch.float32), inputs["block_library"].path())
    table = architecture.table("architectures").to_pylist()
    composed = compose(model, [(row["attention"], row["ffn"]) for row in table])
    data = sequences(
        inputs["corpus"].table("corpus"), "held_out", tokens=128, sequence_length=32, seed=3
    )
    found = model_kl(model.parent, composed, data).mean()
    assert rows["search"]["kl"] == pytest.approx(found, rel=1e-4)
