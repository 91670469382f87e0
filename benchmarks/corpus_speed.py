"""What a corpus of text costs: tokens a second against the bare tokenizer, memory by size, resume.

    python benchmarks/corpus_speed.py CHECKPOINT [--what rate memory kill] [--tokens 1e6 1e7]

CHECKPOINT is a folder with a tokenizer and a chat template. The text is Python's own documentation,
repeated, a line in each document that no other has. Each asset is built in a process of its own,
through the store, into a fresh home: reading JSON Lines, the mixture, the tokens. For the rate, the
tokens asset (its tokenizer loaded, its input verified, its output stored) and the bare tokenizer
(`encode_batch` on the same texts in memory, ids not even read) run in one process, now the one
first, now the other. It has imported the libraries before, and knows the digest of the tokenizer's
file, as a run does that plans; the share is also given with the bare tokenizer's own loading
counted. `kill` ends the tokens asset by SIGKILL on its way, builds it again, and compares its hash
with that of a home where nothing was killed. Prints Markdown tables.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.execution import Execution
from warehouse.store import Artifact, Output, Request, Store

TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
WHAT = ("rate", "memory", "kill")
CHARACTERS = 4.2  # of this text a token, about
NAME = "docs"


def documents(characters: float) -> Iterator[str]:
    """So many characters of Python's documentation, no two documents alike."""
    from pydoc_data.topics import topics

    texts = sorted(topics.values())
    number, written = 0, 0
    while written < characters:
        text = f"Note {number} of this collection.\n\n{texts[number % len(texts)]}"
        yield text
        number, written = number + 1, written + len(text)


def write(path: Path, tokens: float) -> None:
    """A JSON Lines file of about so many tokens."""
    with path.open("w", encoding="utf-8") as file:
        for text in documents(tokens * CHARACTERS):
            file.write(json.dumps({"text": text}) + "\n")


def texts_of(home: Path, file: Path) -> Artifact:
    """The asset of the file's only shard."""
    from assets.problems.texts import make_texts

    recipe = {
        "name": NAME,
        "source": {"kind": "text", "path": file.name, "license": "PSF-2.0"},
        "shard": file.name,
        "pieces": [{"name": file.name, "start": 0, "stop": None}],
    }
    request = Request(f"problems/text_{NAME}", None, make_texts, {}, recipe, 0, code_version="1")
    return Store(home).build(request, execution=Execution(observe=(str(file),)))


def mixture_of(home: Path, file: Path, tokens: float) -> Artifact:
    """The mixture of that one source."""
    from assets.problems.mixture import make_mixture

    recipe = {
        "weights": {NAME: 1.0},
        "max_drop": {NAME: 0.0},
        "tokens": int(tokens),
        "holdout": 0.02,
    }
    made = {NAME: texts_of(home, file)}
    return Store(home).build(
        Request("problems/corpus", None, make_mixture, made, recipe, 0, code_version="1")
    )


def tokens_of(home: Path, file: Path, checkpoint: Path, tokens: float) -> Artifact:
    """Its tokens for the checkpoint's chat."""
    from assets.problems.corpus_tokens import make_tokens

    store = Store(home)
    model = store.build(
        Request("x/parent", None, lambda *_: tokenizer(checkpoint), {}, {}, 0, code_version="1")
    )
    inputs = {"corpus": mixture_of(home, file, tokens), "model": model}
    recipe = {"weights": {NAME: 1.0}, "tokens": int(tokens)}
    return store.build(
        Request("problems/corpus_tokens", None, make_tokens, inputs, recipe, 0, code_version="1")
    )


def tokenizer(checkpoint: Path) -> Output:
    """The tokenizer's files of a checkpoint, without its weights."""
    folder = Path(tempfile.mkdtemp())
    for name in TOKENIZER:
        if (checkpoint / name).is_file():
            shutil.copy(checkpoint / name, folder)
    return Output(files={"": folder})


def child(stage: str, home: Path, file: Path, checkpoint: Path, tokens: float) -> dict[str, Any]:
    """Build one asset in a process of its own: seconds, peak memory in MB, what it made."""
    command = [sys.executable, __file__, str(checkpoint), "--stage", stage]
    command += ["--home", str(home), "--file", str(file), "--tokens", str(tokens)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def run_stage(stage: str, home: Path, file: Path, checkpoint: Path, tokens: float) -> None:
    """What the child does."""
    if stage.endswith("first"):
        print(json.dumps(pair(stage, home, file, checkpoint, tokens)))
        return
    began = time.perf_counter()
    if stage == "nothing":
        from resources.chat.chat import Chat

        Chat.load(checkpoint)
        made = None
    elif stage == "texts":
        made = texts_of(home, file)
    elif stage == "mixture":
        made = mixture_of(home, file, tokens)
    else:
        made = tokens_of(home, file, checkpoint, tokens)
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "peak": peak(),
                "tokens": made.metrics.get("tokens", 0.0) if made else 0.0,
                "version": made.data_version if made else "",
            }
        )
    )


def peak() -> float:
    """The most memory that this process ever held, MB; what its parent held does not count."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status has no VmHWM: run this on Linux")


def sizes(folder: Path, checkpoint: Path, wanted: list[float]) -> None:
    """Seconds and peak memory of each asset at each size."""
    print("| tokens | asset | seconds | peak memory, MB |\n|---|---|---|---|")
    for tokens in wanted:
        file, home = folder / "docs.jsonl", folder / f"home_{tokens:.0f}"
        write(file, tokens)
        for stage in ("nothing", "texts", "mixture", "tokens"):
            found = child(stage, home, file, checkpoint, tokens)
            shown = f"{found['tokens']:,.0f}" if found["tokens"] else f"about {tokens:,.0f}"
            print(
                f"| {shown} | {stage} | {found['seconds']:.1f} | {found['peak']:.0f} |", flush=True
            )
        shutil.rmtree(home)


def pairs(folder: Path, checkpoint: Path, tokens: float, count: int) -> None:
    """The tokens asset and the bare tokenizer in turns, each pair in a process of its own."""
    file, home = folder / "docs.jsonl", folder / "home_pairs"
    write(file, tokens)
    child("mixture", home, file, checkpoint, tokens)
    shares: dict[str, list[float]] = {}
    print("| | bare tokenizer, tokens/s | asset, tokens/s | share |\n|---|---|---|---|")
    for number in range(count):
        other = folder / f"home_pair_{number}"
        shutil.copytree(home, other)
        stage = ("bare first", "asset first")[number % 2]
        found = child(stage, other, file, checkpoint, tokens)
        shutil.rmtree(other)
        for clock, rate in found["bare"].items():
            own = found["asset"][clock.removesuffix(", loaded")]
            shares.setdefault(clock, []).append(own / rate)
            print(f"| {clock} | {rate:,.0f} | {own:,.0f} | {own / rate:.2f} |", flush=True)
    medians = ", ".join(f"{name} {statistics.median(each):.2f}" for name, each in shares.items())
    print(f"\nmedian share: {medians}; {found['tokens']:,} tokens a turn")


def pair(stage: str, home: Path, file: Path, checkpoint: Path, tokens: float) -> dict[str, Any]:
    """Tokens a second of both, `bare first` or `asset first`; libraries are imported before."""
    from resources.chat.chat import Chat

    Chat.load(checkpoint)
    texts = mixture_of(home, file, tokens).table("texts", ["text"])["text"].to_pylist()
    found: dict[str, Any] = {}
    turns = [_bare, _asset] if stage == "bare first" else [_asset, _bare]
    for turn in turns:
        found |= turn(texts, home, file, checkpoint, tokens)
    return found


def _bare(
    texts: list[str], home: Path, file: Path, checkpoint: Path, tokens: float
) -> dict[str, Any]:
    from tokenizers import Tokenizer

    loading = _clocks()
    backend = Tokenizer.from_file(str(checkpoint / TOKENIZER[0]))
    began, found = _clocks(), 0
    for start in range(0, len(texts), 1024):
        batch = backend.encode_batch(texts[start : start + 1024], add_special_tokens=False)
        found += sum(map(len, batch))
    rates = _since(began, found)
    rates |= {f"{name}, loaded": rate for name, rate in _since(loading, found).items()}
    return {"bare": rates, "tokens": found}


def _asset(
    texts: list[str], home: Path, file: Path, checkpoint: Path, tokens: float
) -> dict[str, Any]:
    began = _clocks()
    made = tokens_of(home, file, checkpoint, tokens)
    return {"asset": _since(began, made.metrics["tokens"] + made.metrics["held_out_tokens"])}


def _clocks() -> dict[str, float]:
    return {"wall": time.perf_counter(), "CPU": time.process_time()}


def _since(began: dict[str, float], tokens: float) -> dict[str, float]:
    """Tokens a second of wall time, and of CPU time of all threads."""
    return {name: tokens / (now - began[name]) for name, now in _clocks().items()}


def killed(folder: Path, checkpoint: Path, tokens: float) -> None:
    """Kill the tokens asset on its way, build it again, and compare with an undisturbed home."""
    file = folder / "docs.jsonl"
    write(file, tokens)
    calm = child("tokens", folder / "calm", file, checkpoint, tokens)
    home = folder / "killed"
    child("mixture", home, file, checkpoint, tokens)
    command = [sys.executable, __file__, str(checkpoint), "--stage", "tokens"]
    command += ["--home", str(home), "--file", str(file), "--tokens", str(tokens)]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while running.poll() is None:
        if len(list(home.glob("work/*/*.arrow"))) >= 3:
            os.kill(running.pid, signal.SIGKILL)
            break
        time.sleep(0.05)
    code = running.wait()
    left = len(list(home.glob("work/*/*.arrow")))
    again = child("tokens", home, file, checkpoint, tokens)
    same = "the same" if again["version"] == calm["version"] else "ANOTHER"
    print(
        f"killed (exit {code}) with {left} batches done, resumed: {same} hash "
        f"{again['version'][:16]}; {calm['seconds']:.1f} s undisturbed, {again['seconds']:.1f} s "
        "after the kill"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--tokens", type=float, nargs="+", default=[1e6, 1e7])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--what", nargs="+", choices=WHAT, default=WHAT)
    parser.add_argument("--stage")
    parser.add_argument("--home", type=Path)
    parser.add_argument("--file", type=Path)
    given = parser.parse_args()
    if given.stage:
        run_stage(given.stage, given.home, given.file, given.checkpoint, given.tokens[0])
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores\n")
    with tempfile.TemporaryDirectory() as name:
        if "rate" in given.what:
            pairs(Path(name), given.checkpoint, given.tokens[0], given.pairs)
        if "memory" in given.what:
            sizes(Path(name), given.checkpoint, given.tokens)
        if "kill" in given.what:
            killed(Path(name), given.checkpoint, given.tokens[0])


if __name__ == "__main__":
    main()
