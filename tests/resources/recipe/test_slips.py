"""Recipes as people first write them: what was slipped is said, with what would be right."""

from __future__ import annotations

from pathlib import Path

import pytest

from resources.recipe.loading import examine

BASE = "extends: [heirloom/single-gpu, heirloom/laptop]\n"
MODEL = "models: {m: {parent: bundled/super}}\n"
TEXT = (
    "sources: {docs: {kind: text, path: 'python:docstrings', license: psf-2.0}}\n"
    "corpus: {mix: {docs: 1}, tokens: 160K}\n"
)
SHARE = "must be less than 1, found"


def model(text: str) -> str:
    return f"{BASE}models: {{m: {{{text}}}}}\n{TEXT}"


SLIPS = {
    f"extends: heirloom/single-gpu.yaml\n{MODEL}": "did you mean 'heirloom/single-gpu'?",
    f"extends: heirloom/single-gpu, heirloom/laptop\n{MODEL}": (
        "extends: 'heirloom/single-gpu, heirloom/laptop' is one text; write a list, [heirloom/"
    ),
    f"extend: heirloom/single-gpu\n{MODEL}{TEXT}": "unknown key 'extend'; did you mean 'extends'?",
    f"{BASE}model: {{m: {{parent: a/b}}}}\n{TEXT}": "unknown key 'model'; did you mean 'models'?",
    f"{BASE}{MODEL}{TEXT}optimiser: {{}}\n": "unknown key 'optimiser'; did you mean 'optimizer'?",
    f"{BASE}{MODEL}{TEXT}executon: {{}}\n": "unknown key 'executon'; did you mean 'execution'?",
    f"{BASE}{TEXT}": ":1: models: no model; extend it with one, such as `models: {smol: {parent",
    f"{BASE}models: [{{parent: a/b}}]\n{TEXT}": "[{'parent': 'a/b'}]; write `models: {smol: {pa",
    f"{BASE}models: {{m: bundled/super}}\n{TEXT}": "write {parent: bundled/super}",
    f"{BASE}models: {{m: {{}}}}\n{TEXT}": "mine.yaml:2: models.m.parent: missing key 'parent'",
    f"{BASE}models: {{M-1: {{parent: a/b}}}}\n{TEXT}": ":2: models.M-1: must be a name of small",
    model(
        "parent: null"
    ): "models.m.parent: must be a folder, a GGUF file or a hub id org/name, or",
    model("parent: org/some model"): "'org/some model' holds spaces, and no hub id does; a folder",
    model("parent: 'https://host/org/name/tree/main'"): "is an address; write org/name@<revision>",
    model("parent: models/org/name"): "no hub id, which is org/name; a folder here is ./models/org",
    model("parent: a/b, sft: {epochs: 1, mix: {docs: 1}}"): (
        "models.m.sft: holds stages by name, found epochs; write {main: {epochs: …}}"
    ),
    model(
        "parent: a/b, sft: {Main: {mix: {c: 1}, epochs: 1, packed: true, batch_tokens: 256,"
        " sequence_length: 256, learning_rate: 1e-3}}"
    ): "models.m.sft.Main: must be a name of small",
    model("parent: a/b, distillation: {tokens:4K}"): "write `tokens: 4K`, with a space behind the",
    f"{BASE}{MODEL}corpus: {{mix: {{org/name: 1}}, tokens: 1K}}\n": "write hub:org/name for a data",
    f"{BASE}{MODEL}{TEXT.replace('160K', '160K, holdout: 5')}": f"{SHARE} 5; 5 % is 0.05",
    f"{BASE}{MODEL}corpus:\n\ttokens: 1K\n": ":4: column 1: not valid YAML: a tab stands before",
    f"{BASE}{MODEL}{TEXT}optimizer: {{betas: [0.9, 0.9, 0.9]}}\n": (
        ":5: optimizer.betas: must have 2 entries or fewer, found [0.9, 0.9, 0.9]"
    ),
    f"{BASE}{MODEL}{TEXT}side_by_side: !!set {{a, b}}\n": (
        ":5: side_by_side: the tag tag:yaml.org,2002:set has no meaning here; leave it out"
    ),
    f"{BASE}{MODEL}{TEXT}---\nseed: 1\n": "expected a single document in the stream, but found ano",
    f"{BASE}{MODEL}{TEXT}? [a, b]\n: 1\n": "mine.yaml:5: a key must be a word",
    f"{BASE}{MODEL}{TEXT.replace('160K', '٤K')}": "tokens: must be a whole number, found '٤K'",
    f"{BASE}{MODEL}{TEXT}seed: 1{'0' * 30}\n": "seed: must be less than or equal to 9223372036",
    f"{BASE}models: {{each: {{distillation: {{chunk: lots}}}}, m: {{parent: a/b}}}}\n{TEXT}": (
        ":2: models.each.distillation.chunk: must be a whole number, found 'lots'"
    ),
    model("parent: a/b, puzzle: {library: {groups: 0}}"): "groups: must be greater than 0, found 0",
    model(
        "parent: a/b, puzzle: {library_of: m}"
    ): "no other model 'm' with a library; leave it out",
    model("parent: a/b, teacher: c/d"): "unknown key 'teacher'; teacher stands at the top of a rec",
    f"{BASE}{MODEL}{TEXT}distillation: {{}}\n": "it stands under a model, models.NAME.distillation",
    f"{BASE}{MODEL}corpus: {{sources: [a], tokens: 1K}}\n": "corpus.mix: missing key 'mix'",
    model("parent: a/b, puzzle: {search: {limits: {memory_bytes: 8GB}}}"): "'8GB'; write 8B",
}


@pytest.mark.parametrize("text", SLIPS)
def test_a_slip_is_one_line_with_what_would_be_right(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    faults = [str(each) for each in examine(path, check_paths=False).faults]
    (fault,) = (each for each in faults if SLIPS[text] in each)
    assert "mine.yaml:" in fault and "\n" not in fault
    assert len(faults) <= 3


def test_a_path_with_slashes_is_joined_by_dots(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(BASE + MODEL + TEXT)
    (fault,) = examine(path, ["models/m/distillation/tokens=1K"], check_paths=False).faults
    assert "join the parts of a path by dots: models.m.distillation.tokens" in str(fault)


def test_an_entry_of_a_list_that_is_not_there_is_given_whole(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(BASE + MODEL + TEXT)
    (fault,) = examine(path, ["models.m.stages[0]=puzzle"], check_paths=False).faults
    assert "models.m.stages has no entries; give it whole, models.m.stages=[…]" in str(fault)


ODD = {
    "amounts in quotes": model("parent: bundled/super, distillation: {tokens: '100K'}"),
    "a comment and a mark": f"# mine\n{BASE}{MODEL}{TEXT}seed: {{value: 3, source: a die}}\n",
    "a base given twice over": f"extends: [heirloom/laptop, heirloom/single-gpu]\n{MODEL}{TEXT}",
    "two models of one parent": (
        f"{BASE}models: {{a: {{parent: bundled/super}}, b: {{parent: bundled/super}}}}\n{TEXT}"
    ),
    "stages in a block": f"{BASE}models:\n  m:\n    parent: bundled/super\n    stages:\n"
    f"      - puzzle\n      - distillation\n{TEXT}",
    "windows' ends of lines": (BASE + MODEL + TEXT).replace("\n", "\r\n"),
    "a byte order mark": f"\ufeff{BASE}{MODEL}{TEXT}",
    "a branch as revision": model("parent: org/name@main"),
    "an absolute bound": model(
        "parent: bundled/super, puzzle: {search: {limits: {parameters: {max: 1M}}}}"
    ),
    "a hub data set in the mixture": f"{BASE}{MODEL}{TEXT}".replace("docs: 1", "'hub:a/b@main': 1"),
}


@pytest.mark.parametrize("name", ODD)
def test_what_is_odd_and_right_passes(name: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(ODD[name])
    assert [str(each) for each in examine(path, check_paths=False).faults] == []
