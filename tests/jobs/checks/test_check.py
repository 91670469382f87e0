"""`heirloom check` names every fault at once, and a run does not begin with one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from jobs import cli
from jobs.checks import machine, models, templates
from jobs.checks.asked import Asked
from resources.pretrained import hub
from resources.pretrained.source import BUNDLED, ParentSource
from resources.recipe.loading import examine, load
from resources.recipe.reading.faults import Fault
from resources.store.home import Home
from tests.jobs.broken import BROKEN, GOOD, Broken, lines
from tests.jobs.printed import said
from tests.resources.engines.server.hostile import plain, serving

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_models(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what only whole recipes are asked about here: it loads tokenizers and forks."""
    from jobs.checks import command as check

    slow = {"tokenizer and template", "isolation of programs"}
    if "broken" in request.fixturenames:
        monkeypatch.setattr(check, "CHECKS", [each for each in check.CHECKS if each[0] not in slow])


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.name)
def test_what_stops_a_recipe_is_said(
    broken: Broken, home: Home, tmp_path: Path, capsys: Capture
) -> None:
    out = said(capsys, "check", str(broken.write(tmp_path)), "--offline", code=1)
    for part in broken.said:
        assert part in out, out
    assert "Traceback" not in out


@pytest.mark.parametrize("name", ["tiny", "smoke"])
def test_bundled_recipes_pass(name: str, home: Home, capsys: Capture) -> None:
    out = said(capsys, "check", name, "--offline", code=0)
    assert "nothing stops this recipe" in out
    assert "»4<|eot_id|>«" in out


def test_paper_names_what_this_build_lacks_and_is_not_begun(home: Home, capsys: Capture) -> None:
    out = said(capsys, "check", "paper", "--offline", code=1)
    for part in ("reward_model.pretrained: nvidia/", "(stage rl_data)", "execution.hardware"):
        assert part in out
    assert cli.main(["run", "--recipe", "paper"]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "reward_model.pretrained: nvidia/" in error
    assert not (home.path / "current").exists()


def test_practitioner_fits_its_plan_and_names_what_is_missing(home: Home, capsys: Capture) -> None:
    out = said(capsys, "check", "practitioner", "--offline", code=1)
    assert "teacher: Qwen/Qwen3-32B is loaded whole" in out and "1 to mend\n" in out
    assert "placement: ok" in out and "super/distilled: 16 x H100" in out


def test_resolved_values_come_with_their_origin(
    home: Home, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "c.jsonl").write_text(lines(GOOD))
    path = tmp_path / "mine.yaml"
    path.write_text("extends: heirloom/smoke\nmodels: {super: {rloo: {steps: 3}}}\n")
    out = said(capsys, "check", str(path), "--resolved", "--set", "seed=7", "--offline", code=0)
    found = {line.split()[0]: line for line in out.split("\n\n")[0].splitlines()}
    assert found["models.super.rloo.steps"].endswith("mine.yaml:2]")
    assert "7  [--set seed=7]" in found["seed"]
    assert "[heirloom/tiny/family.yaml:" in found["license"]
    assert found["models.super.distillation.kl_weight"].endswith("1.0  [default]")
    assert "4  [heirloom/smoke.yaml:" in found["models.super.rloo.samples"]


def test_sources_that_are_drawn_from_pass(home: Home, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "c.jsonl").write_text(lines(*[{"messages": GOOD["messages"] * 2}] * 3))
    stage = {"name": "sft", "mix": {"c": 1}, "samples": 2, "packed": True, "epochs": 1}
    stage |= {"batch_tokens": 1024, "sequence_length": 256}
    stage |= {"learning_rate": 1e-3, "min_learning_rate": 1e-4}
    path = tmp_path / "mine.yaml"
    path.write_text(
        "extends: heirloom/smoke\n"
        "sources: {c: {kind: conversations, path: ./c.jsonl, license: mit}}\n"
        f"models: {{super: {{sft: [{json.dumps(stage)}]}}}}\n"
    )
    out = said(capsys, "check", str(path), "--offline", code=0)
    assert "c: of the first 3 rows 3 kept" in out
    assert out.count("»b<|eot_id|>«") == 2  # equal lines are all shown


def test_problems_that_no_answer_is_known_to_are_said(
    home: Home, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "q.jsonl").write_text('{"q": "How much is 2 + 2?"}\n' * 2)
    path = tmp_path / "mine.yaml"
    fields = "kind: problems, path: ./q.jsonl, fields: {question: q}, verifier: math, license: mit"
    sampled = "sft_data: {math: {samples_on: 3}}"  # votes enough for one to be decided
    for truth, told in (("", True), (", truth: vote", False)):
        sources = f"sources: {{c: {{{fields}{truth}}}}}"
        path.write_text(f"extends: heirloom/smoke\n{sampled}\n{sources}\n")
        out = said(capsys, "check", str(path), "--offline", code=0)
        assert ("2 of the rows looked at have no expected answer" in out) == told


def test_a_branch_that_moved_since_the_home_read_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, now = "1" * 40, "2" * 40
    recipe = examine("smoke", check_paths=False).recipe
    assert recipe is not None
    source = ParentSource("hub", "org/model", "main")
    monkeypatch.setattr(hub, "resolve", lambda source: now)
    asked = Asked(recipe, False, tmp_path, {str(source): first})
    (found,) = models._moved(asked, ("models", "super", "parent"), source)
    assert isinstance(found, Fault) and not found.stops
    assert now in str(found) and f"org/model@{first}" in str(found)
    monkeypatch.setattr(hub, "resolve", lambda source: first)
    assert not list(models._moved(asked, ("models", "super", "parent"), source))
    assert not list(models._moved(replace(asked, commits={}), ("models",), source))


def test_recipes_are_listed_a_line_each(home: Home, capsys: Capture) -> None:
    out = said(capsys, "recipes", code=0)
    for name in ("heirloom/tiny", "heirloom/smoke", "heirloom/paper"):
        assert any(line.startswith(name) for line in out.splitlines())


PARENT = BUNDLED / "super"


def parent(tmp_path: Path, config: Mapping[str, object], template: str | None) -> Path:
    """A recipe beside a copy of a bundled parent with another configuration and template."""
    folder = tmp_path / "parent"
    shutil.copytree(PARENT, folder)
    was = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**was, **config}))
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)
    if template is not None:
        (folder / "chat_template.jinja").write_text(template)
    path = tmp_path / "mine.yaml"
    path.write_text("extends: heirloom/smoke\nmodels: {super: {parent: ./parent}}\n")
    return path


@pytest.mark.parametrize(
    ("config", "template", "said"),
    [
        ({}, None, "parent: no chat_template.jinja"),
        ({}, "{% for m in messages %}{{ m.content ", "parent: the chat template is no valid Jinja"),
        ({"num_hidden_layers": "8"}, "{{ messages }}", "config.json: num_hidden_layers is '8'"),
    ],
)
def test_one_fault_of_a_parent_is_one_line_that_names_its_folder(
    config: Mapping[str, object], template: str | None, said: str, tmp_path: Path
) -> None:
    recipe = load(str(parent(tmp_path, config, template)))
    lines = []
    for number, check in enumerate((models.parents, templates.templates, machine.placement)):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        lines += [str(each) for each in check(Asked(recipe, True, scratch))]
    faults = [each for each in lines if "models.super.parent: " in each]
    assert len(faults) == 1 and said in faults[0], lines
    assert str(tmp_path / "parent") in faults[0]


def test_a_recipe_of_a_folder_is_checked_without_torch(tmp_path: Path) -> None:
    """Its configuration and the headers of its weights alone say what is wrong with a parent."""
    (tmp_path / "mine.yaml").write_text(
        "extends: [heirloom/single-gpu, heirloom/laptop]\n"
        "models: {mine: {parent: bundled/super}}\n"
        'sources: {docs: {kind: text, path: "python:docstrings", license: psf-2.0}}\n'
        "corpus: {mix: {docs: 1}, tokens: 100K}\n"
    )
    code = (
        "import sys; from jobs.cli import main; code = main(sys.argv[1:]); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    words = ["check", str(tmp_path / "mine.yaml"), "--home", str(tmp_path / "home")]
    made = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stdout + made.stderr


NO_SYSTEM = (
    "{% for m in messages %}{% if m.role == 'system' %}SYSTEM{% endif %}"
    "{% if m.role != 'system' %}<|start_header_id|>{{ m.role }}<|end_header_id|>{{ m.content }}"
    "<|eot_id|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>{% endif %}"
)


@pytest.mark.parametrize(
    ("template", "thinking", "asked", "said", "stops"),
    [
        (NO_SYSTEM.replace("SYSTEM", ""), "", "", "template drops this system turn", True),
        (
            NO_SYSTEM.replace("SYSTEM", "{{ raise_exception('no system') }}"),
            "",
            "",
            "the conversation: no system), and the text 'detailed thinking on'",
            True,
        ),
        (
            NO_SYSTEM.replace("SYSTEM", "{{ '' if enable_thinking }}"),
            "",
            "",
            "thinking: {on: {enable_thinking: true}, off: {enable_thinking: false}}}, which it",
            True,
        ),
        (NO_SYSTEM.replace("SYSTEM", ""), "", "benchmarks: null\n", "as `heirloom chat`", False),
        (NO_SYSTEM.replace("SYSTEM", ""), ", thinking: {on: {}, off: {}}", "", "", False),
        (NO_SYSTEM.replace("SYSTEM", "{{ m.content }}"), "", "", "", False),
    ],
)
def test_a_toggle_by_a_system_turn_needs_one(
    template: str, thinking: str, asked: str, said: str, stops: bool, tmp_path: Path
) -> None:
    path = parent(tmp_path, {}, template)
    path.write_text(
        "extends: [heirloom/single-gpu, heirloom/questions]\nsft_data: null\n"
        f"{asked}models: {{m: {{parent: {{path: ./parent{thinking or ', tokenizer: own'}}},"
        " stages: [distillation]}}\n"
    )
    found = list(templates.templates(Asked(load(str(path)), True, tmp_path)))
    faults = [each for each in found if isinstance(each, Fault)]
    assert len(faults) == bool(said), found
    for fault in faults:
        assert said in str(fault) and "models.m.parent: " in str(fault), fault
        assert fault.stops is stops and str(tmp_path / "parent") in str(fault)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LlamaTokenizerFast", "tokenizer.json says ["),
        ("PreTrainedTokenizerFast", ""),
        ("TokenizersBackend", ""),
        ("CodeGenTokenizer", ""),
        ("NoSuchTokenizer", ""),
        ("pipeline", "tokenizer_class 'pipeline': it is read here, but not by transformers "),
    ],
)
def test_a_tokenizer_class_that_reads_otherwise_is_said(
    name: str, said: str, tmp_path: Path
) -> None:
    recipe = load(str(parent(tmp_path, {}, (PARENT / "chat_template.jinja").read_text())))
    config = {"tokenizer_class": name, "eos_token": "<|eot_id|>"}
    (tmp_path / "parent" / "tokenizer_config.json").write_text(json.dumps(config))
    found = [each for each in templates.templates(Asked(recipe, True, tmp_path))]
    faults = [each for each in found if isinstance(each, Fault) and "tokenizer_class" in str(each)]
    assert len(faults) == bool(said), found
    for fault in faults:
        assert said in str(fault) and not fault.stops
        assert str(fault).startswith(f"{tmp_path / 'mine.yaml'}:2: models.super.parent: ")


def test_servers_are_asked_for_their_models(home: Home, tmp_path: Path, capsys: Capture) -> None:
    text = "extends: heirloom/smoke\nroles: {{teacher: {{model: {}, engine: {{openai: '{}'}}}}}}\n"
    path = tmp_path / "mine.yaml"
    with serving(plain()) as server:
        path.write_text(text.format("m", server.url))
        out = said(capsys, "check", str(path), code=0)
        assert f"teacher: {server.url}/v1 serves m" in out and "give the engine a version" in out
        path.write_text(text.format("other", server.url))
        out = said(capsys, "check", str(path), code=1)
        assert f"mine.yaml:2: roles.teacher.engine: {server.url}/v1 does not serve other" in out
    out = said(capsys, "check", str(path), code=1)
    assert "roles.teacher.engine: " in out and "nobody answers there" in out
    out = said(capsys, "check", str(path), "--offline", code=0)
    assert "teacher: not asked" in out
