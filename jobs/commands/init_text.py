"""The text of a recipe that `heirloom init` writes: the model, its data, and how it is run.

Amounts are what a machine gets through and what the data bear. Reads nothing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jobs.checks.amounts import BYTES_PER_TOKEN, PASSES, PYTHON_BYTES, about
from resources.recipe.reading import finding

if TYPE_CHECKING:
    from resources.models.export.limits import Engine

ENGINES: tuple[Engine, ...] = ("vllm", "vllm_plugin")  # stock first, as the bases have it
BASE = "single-gpu"
# Text to heal on that ships with Python, our names: what a recipe begins with until it has better.
PYTHON = ("documentation", "docstrings")


@dataclass(frozen=True)
class Chats:
    """A file of conversations: where its columns stand, and how much of them was counted.

    Its `tools` are written as text, which the corpus and every template have a place for.
    """

    path: str
    fields: Mapping[str, str]
    rows: int
    size: int  # bytes of text
    tools: bool


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


@dataclass(frozen=True)
class Beginning:
    """What a recipe begins with: its base and that one's own models, the model, its parent as the
    recipe names it with its configuration, the engine to search for, conversations by source name,
    and the GPUs."""

    base: str
    others: Sequence[str]
    name: str
    parent: str
    config: Mapping[str, Any]
    engine: str
    given: Mapping[str, Chats]
    gpus: int

    @property
    def amounts(self) -> Amounts:
        """Those of a laptop where there is no GPU; another base has its own."""
        return CPU if self.base == BASE and not self.gpus else GPU


def recipe(begun: Beginning, shown: str) -> list[str]:
    """The lines of a recipe that is called `shown` on the command line."""
    config, amounts = begun.config, begun.amounts
    bases = [f"{finding.PREFIX}{each}" for each in (begun.base, amounts.base) if each]
    return [
        f"# {config['num_hidden_layers']} layers of {config['hidden_size']}, {_heads(config)} "
        f"key-value heads, {config['vocab_size']:,} tokens.",
        f"# What is not said here is inherited: heirloom check {shown} --resolved",
        f"extends: {bases[0] if len(bases) == 1 else '[' + ', '.join(bases) + ']'}",
        *_model(begun),
        *(_taught(begun) if begun.given else []),
        *_data(begun),
        *_execution(begun.gpus),
    ]


def _heads(config: Mapping[str, Any]) -> int:
    return int(config.get("num_key_value_heads") or config["num_attention_heads"])


def _within(length: int, config: Mapping[str, Any]) -> int:
    """A length in tokens, cut to the parent's context."""
    return min(length, int(config.get("max_position_embeddings") or length))


def _model(begun: Beginning) -> list[str]:
    """The model's section: its parent, what its layers may become, how it is healed."""
    config, amounts, engine = begun.config, begun.amounts, begun.engine
    length, heads = _within(amounts.length, config), _heads(config)
    fewer = [f"kv_{n}" for n in (heads // 2, 1) if 0 < n < heads and heads % n == 0]
    attention = ", ".join(["full", *dict.fromkeys(fewer), "noop"])
    library, healing, shorter = f"attention: [{attention}]", "", []
    if amounts is GPU:
        tokens = about(PASSES * _tokens(begun.given))
        library, healing = f"{library}, tokens: {tokens}", f"tokens: {tokens}"
    if length < amounts.length:
        library, healing = (f"{each}, sequence_length: {length}" for each in (library, healing))
        shorter = [
            f"      {section}: {{sequence_length: {length}}}"
            for section in ("importance", "scores")
        ]
    target = [f"        target: {{engine: {engine}}}  # vllm alone cannot run these layers"]
    others = [name for name in begun.others if name != begun.name]
    return [
        "models:",
        *(f"  {name}: null  # the base's own" for name in others),
        f"  {begun.name}:",
        f"    parent: {begun.parent}",
        "    puzzle:",
        "      # What a layer may become; the search takes the best mix within the limits.",
        f"      library: {{{library}}}",
        *shorter,
        "      search:",
        "        limits: {parameters: 0.8, kv_bytes_per_token: 0.7}  # of the parent's",
        *(target if engine != ENGINES[0] else []),
        *([f"    distillation: {{{healing.removeprefix(', ')}}}"] if healing else []),
    ]


def _taught(begun: Beginning) -> list[str]:
    """The SFT stage, on the conversations given."""
    amounts = begun.amounts
    rows = sum(each.rows for each in begun.given.values())
    length = _within(amounts.sft_length, begun.config)
    return [
        "    sft:",
        "      main:",
        f"        mix: {_alike(begun.given)}  # {rows} rows counted",
        "        epochs: 1",
        "        packed: true",
        "        learning_rate: 2e-5",
        f"        batch_tokens: {amounts.sft_batch * length}",
        f"        sequence_length: {length}",
    ]


def _data(begun: Beginning) -> list[str]:
    """The sources, the text that heals, and what the report shows side by side."""
    given, amounts = begun.given, begun.amounts
    lines = ["sources:"]
    for name, chats in given.items():
        fields = ", ".join(f"{ours}: {theirs}" for ours, theirs in chats.fields.items())
        lines += [
            f"  {name}:",
            f"    path: {chats.path}",
            f"    fields: {{{fields}}}",
            "    kind: conversations",
            *(["    tools: text  # the corpus, too, reads it"] if chats.tools else []),
            "    license: unstated  # write whose text it is",
        ]
    lines.append("  # Ships with Python: put text of your own here, files or hub:org/name@REV.")
    for name in PYTHON:
        lines.append(f'  {name}: {{kind: text, path: "python:{name}", license: psf-2.0}}')
    tokens = "160K, holdout: 10%" if amounts is CPU else about(_tokens(given))
    return [
        *lines,
        f"corpus: {{mix: {_alike([*PYTHON, *given])}, tokens: {tokens}}}  # what heals",
        "# What the report shows of parent and children: unseen text, and their answers to these.",
        f"side_by_side: {{tokens: 4K, sequence_length: {_within(256, begun.config)},",
        '  prompts: ["What is the capital of France?", "Explain why the sky is blue."]}',
    ]


def _alike(names: Iterable[str]) -> str:
    """A mixture in which all weigh the same."""
    return f"{{{', '.join(f'{name}: 1' for name in names)}}}"


def _tokens(given: Mapping[str, Chats]) -> int:
    """About how many tokens the sources hold."""
    size = sum(chats.size for chats in given.values()) + sum(PYTHON_BYTES[each] for each in PYTHON)
    return size // BYTES_PER_TOKEN


def _execution(gpus: int) -> list[str]:
    if not gpus:
        return [f"execution: {{device: cpu, threads: {os.cpu_count() or 2}, micro_batch: 4}}"]
    sharded = f", ranks: {gpus}, zero_stage: 3" if gpus > 1 else ""
    return [f"execution: {{device: cuda{sharded}}}"]
