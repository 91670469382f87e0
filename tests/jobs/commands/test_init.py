"""`heirloom init` writes one short recipe that `heirloom check` accepts, or says why it cannot."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from assets.catalog import all_specs
from jobs import cli
from resources.pretrained.source import BUNDLED
from resources.recipe.loading import load
from resources.store.home import Home
from tests.jobs.broken import GOOD, lines
from tests.resources.chat import tooled

Capture = pytest.CaptureFixture[str]
SMOLLM2 = os.environ.get("HEIRLOOM_SMOLLM2", "")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, home: Home, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize(
    ("rows", "fields"),
    [
        ([GOOD], {"messages": "messages"}),
        ([{"conversations": GOOD["messages"]}], {"messages": "conversations"}),
        (
            [{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}],
            {"messages": "conversations", "role": "from", "content": "value"},
        ),
        (
            [{"instruction": "a", "input": "", "output": "b"}],
            {"prompt": "instruction", "response": "output", "query": "input"},
        ),
        ([{"prompt": "a", "response": "b"}], {"prompt": "prompt", "response": "response"}),
        ([{"question": "a", "answer": "b"}], {"prompt": "question", "response": "answer"}),
    ],
)
def test_rows_are_mapped_as_they_come(
    rows: list[object], fields: dict[str, str], here: Path
) -> None:
    (here / "my-chats.jsonl").write_text(lines(*rows * 20))
    words = ["init", "mine", "--parent", "bundled/super", "--sft", "./my-chats.jsonl"]
    assert cli.main([*words, "--gpus", "0"]) == 0
    recipe = load("mine")
    source = recipe.family.sources["my_chats"]
    assert (source.path, source.fields) == ("./my-chats.jsonl", fields)
    assert recipe.models["super"].sft[0].samples is None  # all there are
    assert recipe.execution.device == "cpu"


def test_what_it_writes_is_short_and_passes_the_check(here: Path, capsys: Capture) -> None:
    (here / "data").mkdir()
    (here / "data" / "a.jsonl").write_text(lines(*[GOOD] * 20))
    words = ["init", "deep/mine", "--parent", "bundled/super", "--sft", "data/a.jsonl"]
    assert cli.main([*words, "--gpus", "0", "--teacher", "http://host/v1"]) == 0
    text = (here / "deep" / "mine.yaml").read_text()
    assert text.count("\n") <= 40 and "../data/a.jsonl" in text and "# roles:" in text
    assert cli.main(["check", "deep/mine", "--offline"]) == 0
    assert "nothing stops this recipe" in capsys.readouterr().out
    assert cli.main([*words]) == 1
    assert "is there already" in capsys.readouterr().err
    assert cli.main(["init", "sharded", "--parent", "bundled/super", "--gpus", "4"]) == 0
    assert load("sharded").execution.ranks == 4


def test_conversations_with_tools_are_taken_as_text(here: Path, capsys: Capture) -> None:
    """Which the corpus has a place for, and the bundled template, which knows no tools."""
    row = {"messages": tooled.conversation(), "tools": tooled.TOOLS}
    (here / "a.jsonl").write_text(lines(*[GOOD, row] * 20))
    (here / "b.jsonl").write_text(lines(*[GOOD] * 20))
    words = ["init", "mine", "--parent", "bundled/super", "--gpus", "0"]
    assert cli.main([*words, "--sft", "a.jsonl", "--sft", "b.jsonl"]) == 0
    sources = load("mine").family.sources
    assert (sources["a"].tools, sources["b"].tools) == ("text", "template")
    assert cli.main(["check", "mine", "--offline"]) == 0
    assert "a: super reads tools, calls and results as text" in capsys.readouterr().out


def test_files_of_one_name_are_sources_of_two_and_none_is_a_domain(here: Path) -> None:
    words = ["init", "mine", "--parent", "bundled/super", "--gpus", "0"]
    for file in ("a/chats.jsonl", "b/chats.jsonl", "math.jsonl", "docstrings.json"):
        (here / file).parent.mkdir(exist_ok=True)
        (here / file).write_text(lines(*[GOOD] * 20))
        words += ["--sft", file]
    assert cli.main(words) == 0
    recipe = load("mine")
    made = ["chats", "chats_2", "math_2", "docstrings_2"]
    assert list(recipe.models["super"].sft[0].mix) == made
    assert set(recipe.family.sources) == {*made, "documentation", "docstrings"}


def test_it_plans_what_was_asked_for_and_nothing_else(here: Path) -> None:
    (here / "a.jsonl").write_text(lines(*[GOOD] * 20))
    words = ["init", "mine", "--parent", "bundled/super", "--sft", "a.jsonl", "--gpus", "0"]
    assert cli.main(words) == 0
    made = {spec.key for spec in all_specs(load("mine"))}
    line = {f"super/{stage}" for stage in ("parent", "assembled", "distilled", "main")}
    assert line | {"super/exported", "super/side_by_side", "evaluation/report"} <= made
    strange = ("parents/", "rl_data/", "problems/math", "problems/held_out")
    assert not [key for key in made if key.startswith(strange) or "benchmarks" in key]
    assert {key for key in made if key.startswith("sft_data/")} == {"sft_data/a"}


def test_the_models_of_a_base_are_left_out(here: Path) -> None:
    words = ["init", "mine", "--parent", "bundled/nano", "--from", "practitioner", "--gpus", "8"]
    assert cli.main(words) == 0
    assert list(load("mine").models) == ["nano"]


def test_a_parent_that_stock_vllm_cannot_run_is_searched_for_an_engine_that_can(
    here: Path, capsys: Capture
) -> None:
    shutil.copytree(BUNDLED / "super", here / "windowed")
    config = here / "windowed" / "config.json"
    values = {**json.loads(config.read_text()), "model_type": "mistral", "sliding_window": 64}
    config.write_text(json.dumps(values))
    (here / "a.jsonl").write_text(lines(*[GOOD] * 20))
    words = ["init", "mine", "--parent", "./windowed", "--sft", "a.jsonl", "--gpus", "0"]
    assert cli.main(words) == 1
    assert f"heirloom: {config}: this mistral has" in capsys.readouterr().err
    config.write_text(json.dumps({**values, "architectures": ["MistralForCausalLM"]}))
    assert cli.main(words) == 0
    (model,) = load("mine").models.values()
    assert model.puzzle is not None and model.puzzle.search.target.engine == "vllm_plugin"
    cli.main(["check", "mine", "--offline"])
    assert "exports: ok" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--parent", "./absent"], "absent: no such folder"),
        (["--parent", "a/b/c"], "--parent a/b/c"),
        (["--parent", "./broken"], "broken/config.json: not valid JSON"),
        (["--parent", "bundled/super", "--from", "tinny"], "did you mean 'heirloom/tiny'?"),
        (["--parent", "bundled/super", "--from", "tiny"], "use one of practitioner, single-gpu"),
        (["--parent", "bundled/super", "--sft", "none.jsonl"], "none.jsonl: no such file"),
        (["--parent", "bundled/super", "--sft", "odd.jsonl"], "line 1: messages: no such field"),
    ],
)
def test_what_it_cannot_read_is_one_line_and_nothing_is_written(
    words: list[str], said: str, here: Path, capsys: Capture
) -> None:
    (here / "odd.jsonl").write_text(json.dumps({"text": "a"}) + "\n")
    (here / "broken").mkdir()
    (here / "broken" / "config.json").write_text("{")
    (here / "broken" / "model.safetensors").write_bytes(b"")
    assert cli.main(["init", "mine", *words]) == 1
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(here.glob("*.yaml"))


@pytest.mark.skipif(not SMOLLM2, reason="HEIRLOOM_SMOLLM2 names no folder of SmolLM2")
def test_a_downloaded_parent(here: Path, capsys: Capture) -> None:
    (here / "chats.jsonl").write_text(lines(*[GOOD] * 20))
    words = ["init", "mine", "--parent", SMOLLM2, "--sft", "./chats.jsonl", "--gpus", "0"]
    assert cli.main(words) == 0
    assert list(load("mine").models) == ["smol"]
    assert cli.main(["check", "mine", "--offline"]) == 0
    out = capsys.readouterr().out
    assert "<|im_start|>assistant" in out and "»b<|im_end|>" in out
