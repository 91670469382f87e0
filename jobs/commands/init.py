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

from jobs.checks.amounts import BYTES_PER_TOKEN, PASSES, PYTHON_BYTES, about
from jobs.errors import CommandError
from resources.pretrained.source import ParentSource, SourceError, parse
from resources.recipe.data import Source
from resources.recipe.reading import finding
from warehouse.files.filesystem import replacing

if TYPE_CHECKING:
    import pyarrow as pa

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
BASE = "single-gpu"
# Text to heal on that ships with Python, our names: what a recipe begins with until it has better.
PYTHON = ("documentation", "docstrings")


@dataclass(frozen=True)
class Chats:
    """A file of conversations: where its columns stand, and how much of them was counted."""

    path: str
    fields: Mapping[str, str]
    rows: int
    size: int  # bytes of text


@dataclass(frozen=True)
class Amounts:
    """What a machine gets through: a further base, tokens of a sequence to heal and for SFT,
    sequences of an SFT step."""

    base: str | None
    length: int
    sft_length: int
    sft_batch: int


GPU = Amounts(None, 2048, 2048, 16)
CPU = Amounts("laptop", 256, 1024, 4)  # lengths as the base's own


def main(arguments: argparse.Namespace) -> int:
    """Write DIR.yaml (default: named after the model), and print what to do with it."""
    here = Path.cwd()
    try:
        source = parse(arguments.parent, here)
    except SourceError as error:
        raise CommandError(f"--parent {arguments.parent}: {error}") from error
    base = finding.title(finding.find(f"{finding.PREFIX}{arguments.base}"))
    gpus = _gpus(arguments.gpus)
    amounts = CPU if base == BASE and not gpus else GPU
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
    bases = [f"{finding.PREFIX}{each}" for each in (base, amounts.base) if each]
    lines = [
        f"# {config['num_hidden_layers']} layers of {config['hidden_size']}, {_heads(config)} "
        f"key-value heads, {config['vocab_size']:,} tokens.",
        f"# What is not said here is inherited: heirloom check {arguments.dir or name} --resolved",
        f"extends: {bases[0] if len(bases) == 1 else '[' + ', '.join(bases) + ']'}",
        *_model(name, parent, config, engine, given, amounts),
        *_data(given, amounts),
        *_execution(gpus),
    ]
    if arguments.teacher:
        lines += [
            "# Servers as engines come with the next release:",
            f"# roles: {{teacher: {{model: NAME, engine: {{openai: {arguments.teacher}}}}}}}",
        ]
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
            kept = size = 0
            try:
                for shard in shards(source, folder, Path(scratch)):
                    for batch in islice(read(source, shard), -(-ROWS // 4096)):
                        kept += batch.kept.num_rows
                        size += _text_bytes(batch.kept)
                        if batch.rejected.num_rows and not kept:
                            first = batch.rejected.slice(0, 1).to_pylist()[0]
                            tried.append("line {line}: {field}: {reason}".format(**first))
                            break
            except Unreadable as error:
                tried.append(str(error))
            if kept:
                return Chats(_from(whole, folder, str(file)), fields, kept, size)
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


def _text_bytes(kept: pa.RecordBatch) -> int:
    """Bytes of text in rows of a source, conversations or plain."""
    texts = kept.column("text").to_pylist() if "text" in kept.schema.names else []
    turns = kept.column("messages").to_pylist() if "messages" in kept.schema.names else []
    texts += [turn["content"] for row in turns for turn in row or []]
    return sum(len(text.encode()) for text in texts if text)


def _heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def _within(length: int, config: Mapping[str, Any]) -> int:
    """A length in tokens, cut to the parent's context."""
    return min(length, int(config.get("max_position_embeddings") or length))


def _model(
    name: str,
    parent: str,
    config: Mapping[str, Any],
    engine: str,
    given: Mapping[str, Chats],
    amounts: Amounts,
) -> list[str]:
    """The model's section: its parent, what its layers may become, how it is healed and taught."""
    length, heads = _within(amounts.length, config), _heads(config)
    fewer = [f"kv_{n}" for n in (heads // 2, 1) if 0 < n < heads and heads % n == 0]
    attention = ", ".join(["full", *dict.fromkeys(fewer), "noop"])
    library, healing, shorter = f"attention: [{attention}]", "", []
    if amounts is GPU:
        tokens = about(PASSES * _tokens(given))
        library, healing = f"{library}, tokens: {tokens}", f"tokens: {tokens}"
    if length < amounts.length:
        library, healing = (f"{each}, sequence_length: {length}" for each in (library, healing))
        shorter = [
            f"      {section}: {{sequence_length: {length}}}"
            for section in ("importance", "scores")
        ]
    target = [f"        target: {{engine: {engine}}}  # vllm alone cannot run these layers"]
    lines = [
        "models:",
        f"  {name}:",
        f"    parent: {parent}",
        "    puzzle:",
        "      # What a layer may become; the search takes the best mix within the limits.",
        f"      library: {{{library}}}",
        *shorter,
        "      search:",
        "        limits: {parameters: 0.8, kv_bytes_per_token: 0.7}  # of the parent's",
        *(target if engine != ENGINES[0] else []),
        *([f"    distillation: {{{healing.removeprefix(', ')}}}"] if healing else []),
    ]
    if given:
        rows, length = (
            sum(each.rows for each in given.values()),
            _within(amounts.sft_length, config),
        )
        lines += [
            "    sft:",
            "      main:",
            f"        mix: {{{', '.join(f'{each}: 1' for each in given)}}}  # {rows} rows counted",
            "        epochs: 1",
            "        packed: true",
            "        learning_rate: 2e-5",
            f"        batch_tokens: {amounts.sft_batch * length}",
            f"        sequence_length: {length}",
        ]
    return lines


def _data(given: Mapping[str, Chats], amounts: Amounts) -> list[str]:
    """The sources, the text that heals, and what the report shows side by side."""
    lines = ["sources:"]
    for name, chats in given.items():
        fields = ", ".join(f"{ours}: {theirs}" for ours, theirs in chats.fields.items())
        lines += [
            f"  {name}:",
            f"    path: {chats.path}",
            f"    fields: {{{fields}}}",
            "    kind: conversations",
            "    license: unstated  # write whose text it is",
        ]
    lines.append("  # Ships with Python: put text of your own here, files or hub:org/name@REV.")
    for name in PYTHON:
        lines.append(f'  {name}: {{kind: text, path: "python:{name}", license: psf-2.0}}')
    mix = ", ".join(f"{name}: 1" for name in (*PYTHON, *given))
    tokens = "160K, holdout: 10%" if amounts is CPU else about(_tokens(given))
    return [
        *lines,
        f"corpus: {{mix: {{{mix}}}, tokens: {tokens}}}  # what heals the model",
        "# What the report shows of parent and children: unseen text, and their answers to these.",
        f"side_by_side: {{tokens: 4K, sequence_length: {min(256, amounts.length)},",
        '  prompts: ["What is the capital of France?", "Explain why the sky is blue."]}',
    ]


def _tokens(given: Mapping[str, Chats]) -> int:
    """About how many tokens the sources hold."""
    size = sum(chats.size for chats in given.values()) + sum(PYTHON_BYTES[each] for each in PYTHON)
    return size // BYTES_PER_TOKEN


def _gpus(said: int | None) -> int:
    return (1 if shutil.which("nvidia-smi") else 0) if said is None else said


def _execution(gpus: int) -> list[str]:
    if not gpus:
        return [f"execution: {{device: cpu, threads: {os.cpu_count() or 2}, micro_batch: 4}}"]
    sharded = f", ranks: {gpus}, zero_stage: 3" if gpus > 1 else ""
    return [f"execution: {{device: cuda{sharded}}}"]
