"""`heirloom init`: one commented recipe from a parent and files, which `heirloom check` accepts.

Reads the parent's small files and rows of each source, and writes nothing that it did not see.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.errors import CommandError
from resources.pretrained.source import ParentSource, SourceError, parse
from resources.recipe.data import Source
from resources.recipe.reading import finding
from warehouse.files.filesystem import replacing

if TYPE_CHECKING:
    from resources.models.export.limits import Engine

# How a row may hold one exchange: their columns for prompt, response and what may stand between.
EXCHANGES = (
    ("instruction", "output", "input"),
    ("prompt", "response", None),
    ("prompt", "completion", None),
    ("question", "answer", None),
)
TURNS = ("messages", "conversations")
ENGINES: tuple[Engine, ...] = ("vllm", "vllm_plugin")  # stock first, as the bases have it
ROWS = 20_000  # at most so many rows of a source are counted
LONGEST = 2048  # tokens of a sequence, unless the parent reads fewer


@dataclass(frozen=True)
class Chats:
    """A file of conversations: where its columns stand, and how many rows it has at least."""

    path: str
    fields: Mapping[str, str]
    rows: int


def main(arguments: argparse.Namespace) -> int:
    """Write DIR.yaml (default: named after the model), and print what to do with it."""
    here = Path.cwd()
    try:
        source = parse(arguments.parent, here)
    except SourceError as error:
        raise CommandError(f"--parent {arguments.parent}: {error}") from error
    base = finding.title(finding.find(f"{finding.PREFIX}{arguments.base}"))
    config, engine = _described(source)
    name = model_name(source.name)
    path = Path(f"{arguments.dir or name}".rstrip("/").removesuffix(".yaml") + ".yaml")
    if path.exists():
        raise CommandError(f"{path} is there already; give another name, or remove it")
    folder = path.absolute().parent
    given = {}
    for file in arguments.sft:
        chats = _chats(Path(file), folder)
        given[_word(Path(file).name.partition(".")[0])] = chats
    parent = arguments.parent
    if source.kind != "hub" and not parent.startswith("bundled/"):
        parent = _from(Path(source.location), folder, parent)
    lines = _written(arguments, base, name, parent, config, engine, given)
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(path) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print(f"{path}: {len(lines)} lines. Next: heirloom check {path}")
    return 0


def model_name(parent: str) -> str:
    """What a parent's child is called: the word that its name begins with.

    >>> model_name("SmolLM2-135M-Instruct"), model_name("org/Llama-3.2-1B@main"), model_name("7B")
    ('smol', 'llama', 'model')
    """
    found = re.match(r"[A-Za-z]+", parent.rpartition("/")[2])
    word = found[0].removesuffix("LM").lower() if found else ""
    return word or "model"


def _word(text: str) -> str:
    word = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")
    return word if word[:1].isalpha() else f"data_{word}"


def _from(path: Path, folder: Path, said: str) -> str:
    """A path as the recipe says it: absolute where it was given so, else from its folder."""
    if said.startswith(("/", "~")):
        return str(path)
    relative = os.path.relpath(path, folder)
    return relative if relative.startswith("..") else f"./{relative}"


def _described(source: ParentSource) -> tuple[dict[str, Any], str]:
    """The parent's configuration, and the engine to search for: the first that runs its layers.

    CommandError with everything that is wrong with the parent.
    """
    from resources.models.errors import CheckpointError
    from resources.models.export.limits import refusals
    from resources.pretrained import checking
    from resources.pretrained.assembling import assemble

    with tempfile.TemporaryDirectory(prefix="heirloom-init-") as scratch:
        try:
            found = assemble(source, Path(scratch), "description")
            wrong = checking.faults(found.folder, weights=source.kind == "folder")
            wrong = [found.said(each) for each in wrong]
            config = checking.read_json(
                found.folder / "config.json", "this is no checkpoint folder"
            )
            ours = None if wrong else checking.family_config(found.folder)
        except CheckpointError as error:
            raise CommandError(str(error)) from error
    if wrong or ours is None:
        raise CommandError("; ".join(wrong))
    blocks = ours.to_dict()
    runs = (engine for engine in ENGINES if not refusals(engine, blocks))
    return config, next(runs, "transformers")


def _chats(file: Path, folder: Path) -> Chats:
    """A file of conversations, from its first rows; CommandError where it holds none."""
    from resources.sources.account import SourceError as Unreadable
    from resources.sources.reading import read
    from resources.sources.shards import shards

    whole, tried = file.expanduser().absolute(), []
    with tempfile.TemporaryDirectory(prefix="heirloom-init-") as scratch:
        for fields in _mappings():
            source = Source(
                kind="conversations", path=str(whole), fields=fields, license="unstated"
            )
            kept = 0
            try:
                for shard in shards(source, folder, Path(scratch)):
                    for batch in islice(read(source, shard), -(-ROWS // 4096)):
                        kept += batch.kept.num_rows
                        if batch.rejected.num_rows and not kept:
                            first = batch.rejected.slice(0, 1).to_pylist()[0]
                            tried.append("line {line}: {field}: {reason}".format(**first))
                            break
            except Unreadable as error:
                tried.append(str(error))
            if kept:
                return Chats(_from(whole, folder, str(file)), fields, kept)
    raise CommandError(
        f"--sft {file}: no conversations: {tried[0] if tried else 'no rows'}; give rows with "
        f"{TURNS[0]}, or with one of {', '.join(f'{p} and {r}' for p, r, _ in EXCHANGES)}"
    )


def _mappings() -> list[dict[str, str]]:
    turns = [{"messages": column} for column in TURNS]
    turns.append({"messages": TURNS[1], "role": "from", "content": "value"})
    exchanges = []
    for prompt, response, query in EXCHANGES:
        fields = {"prompt": prompt, "response": response}
        exchanges += [{**fields, "query": query}, fields] if query else [fields]
    return [*turns, *exchanges]


def _written(
    arguments: argparse.Namespace,
    base: str,
    name: str,
    parent: str,
    config: Mapping[str, Any],
    engine: str,
    given: Mapping[str, Chats],
) -> list[str]:
    length = min(LONGEST, int(config.get("max_position_embeddings") or LONGEST))
    heads = int(config.get("num_key_value_heads") or config["num_attention_heads"])
    fewer = [f"kv_{n}" for n in (heads // 2, 1) if 0 < n < heads and heads % n == 0]
    attention = ", ".join(["full", *dict.fromkeys(fewer), "noop"])
    target, library, shorter = [], f"attention: [{attention}]", []
    if length < LONGEST:
        library += f", sequence_length: {length}"
        shorter = [
            f"      {section}: {{sequence_length: {length}}}"
            for section in ("importance", "scores")
        ]
    if engine != ENGINES[0]:
        target = [f"        target: {{engine: {engine}}}  # vllm alone cannot run these layers"]
    lines = [
        f"# {config['num_hidden_layers']} layers of {config['hidden_size']}, {heads} "
        f"key-value heads, {config['vocab_size']:,} tokens.",
        f"# What is not said here is inherited: heirloom check {arguments.dir or name} --resolved",
        f"extends: heirloom/{base}",
        "models:",
        f"  {name}:",
        f"    parent: {parent}",
        "    puzzle:",
        "      # What a layer may become; the search takes the best mix within the limits.",
        f"      library: {{{library}}}",
        *shorter,
        "      search:",
        "        limits: {parameters: 0.8, kv_bytes_per_token: 0.7}  # of the parent's",
        *target,
        f"    distillation: {{tokens: 100M, sequence_length: {length}}}",
    ]
    if given:
        rows = sum(chats.rows for chats in given.values())
        mix = ", ".join(f"{each}: 1" for each in given)
        lines += [
            "    sft:",
            "      main:",
            f"        mix: {{{mix}}}  # a weight for each source below",
            f"        samples: {max(1, rows * 9 // 10)}  # of {rows} rows counted",
            "        epochs: 1",
            "        packed: true",
            "        learning_rate: 2e-5",
            f"        batch_tokens: {16 * length}",
            f"        sequence_length: {length}",
            "sources:",
        ]
        for each, chats in given.items():
            fields = ", ".join(f"{ours}: {theirs}" for ours, theirs in chats.fields.items())
            lines.append(f"  {each}:")
            lines.append(f"    path: {chats.path}")
            lines.append(f"    fields: {{{fields}}}")
            lines.append("    kind: conversations")
            lines.append("    license: unstated  # write whose text it is")
        lines += [
            "# The text that heals: add sources of kind text, or hub:org/name@REV.",
            f"corpus: {{mix: {{{mix}}}, tokens: 100M}}",
        ]
    lines.append(_execution(arguments.gpus))
    if arguments.teacher:
        lines += [
            "# Servers as engines come with the next release:",
            f"# roles: {{teacher: {{model: NAME, engine: {{openai: {arguments.teacher}}}}}}}",
        ]
    return lines


def _execution(gpus: int | None) -> str:
    found = (1 if shutil.which("nvidia-smi") else 0) if gpus is None else gpus
    if not found:
        return "execution: {device: cpu, threads: 2}"
    sharded = f", ranks: {found}, zero_stage: 3" if found > 1 else ""
    return f"execution: {{device: cuda{sharded}}}"
