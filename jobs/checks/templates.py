"""Tokenizers and templates: what a given model reads and learns of, how its toggle is worked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

from jobs.checks.asked import Asked, Finding
from jobs.checks.models import named
from resources.recipe.errors import dotted
from resources.recipe.reading.shape import MODELS
from resources.recipe.schema import Recipe
from resources.recipe.sections.data import WRITTEN
from resources.recipe.sections.reinforcement import PolicyGradient, Preference
from resources.recipe.tree import KeyPath

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from resources.chat.chat import Chat
    from resources.chat.encoder import Sample
    from resources.pretrained.assembling import Assembled

# Tokenizer classes that take all of a tokenizer.json.
AS_THE_FILE_SAYS = ("PreTrainedTokenizerFast", "TokenizersBackend")
# Texts on which rules of splitting and normalising part.
PROBES = (
    "Hello, world!",
    "  two words",
    "12345.67",
    "\n\tx = {'é': \"ﬁ\"}",
    " 你好 世界",
    "👍🏽 e\u0301",
)


def templates(asked: Asked) -> Iterator[Finding]:
    """One conversation as each parent reads it, what carries loss marked; a template that fails."""
    from resources.chat.chat import Chat
    from resources.chat.errors import ChatError
    from resources.models.errors import CheckpointError
    from resources.pretrained.checking import faults

    shown: set[str] = set()
    for keys, source, role in named(asked):
        if asked.offline and source.kind == "hub":
            continue
        try:
            found = asked.description(source)
        except CheckpointError:
            continue  # said with the parents
        try:
            chat = Chat.load(found.folder)
            sample = chat.conversation(_example(asked)).samples()[0]
        except ChatError as error:
            if not faults(found.folder, role, weights=False):  # said with the parents
                yield asked.fault(keys, found.said(str(error)))
            continue
        yield from _switched(asked, keys, chat, source.template or source.location)
        yield from _read_otherwise(asked, keys, chat, found)
        if role == "parent" and chat.digest not in shown:
            shown.add(chat.digest)
            head = f"{keys[1]}: what is learned stands between » and «"
            # One finding: no line of it is left out because it stood before.
            yield "\n    ".join([head, *_marked(sample).splitlines()])


def _read_otherwise(asked: Asked, keys: KeyPath, chat: Chat, found: Assembled) -> Iterator[Finding]:
    """A folder that transformers' own loader reads by other rules than its tokenizer.json's.

    Since transformers 5 some tokenizer classes take vocabulary and merges from the file and put
    splitting and normalising of their own in place of what it says (`convert_to_native_format`).
    What the model was trained with stands in the file.
    """
    from resources.chat.folder import CONFIG
    from resources.pretrained.checking import read_json

    file = found.folder / CONFIG
    name = read_json(file, "").get("tokenizer_class") if file.is_file() else None
    if name in AS_THE_FILE_SAYS:
        return
    if _reads_alike(_named(name, found.folder), chat):
        return  # AutoTokenizer opens this class, or the file without one
    from transformers import AutoTokenizer, __version__  # brings torch, some seconds

    where = found.said(f"{file}: tokenizer_class {name!r}")
    remedy = "give a copy of the folder whose tokenizer_class is PreTrainedTokenizerFast"
    try:
        other = AutoTokenizer.from_pretrained(
            found.folder, trust_remote_code=False, local_files_only=True
        )
    except Exception as error:  # the class is whatever a file says
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        what = f"{where}: it is read here, but not by transformers {__version__} nor vLLM ({why})"
        yield asked.fault(keys, what, remedy, stops=False)
        return
    for text, ids in zip(PROBES, chat.texts(PROBES), strict=True):
        theirs = other(text, add_special_tokens=False).input_ids
        if theirs != ids:
            what = (
                f"{where}: by it transformers {__version__} and vLLM read {text!r} as {theirs}; "
                f"tokenizer.json says {ids}, as is read here and was trained"
            )
            yield asked.fault(keys, what, remedy, stops=False)
            return


def _named(name: object, folder: Path) -> PreTrainedTokenizerBase | None:
    """The tokenizer as its class reads the folder, without what AutoTokenizer imports besides."""
    import transformers

    kind = getattr(transformers, name, None) if isinstance(name, str) else None
    if not isinstance(kind, type) or not issubclass(kind, transformers.PreTrainedTokenizerBase):
        return None
    try:
        return kind.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    except Exception:  # AutoTokenizer meets it again, and what it raises is said
        return None


def _reads_alike(other: PreTrainedTokenizerBase | None, chat: Chat) -> bool:
    """Whether a tokenizer gives the ids of tokenizer.json for every probe."""
    if other is None:
        return False
    ids = [other(text, add_special_tokens=False).input_ids for text in PROBES]
    return ids == chat.texts(PROBES)


def _switched(asked: Asked, keys: KeyPath, chat: Chat, where: str) -> Iterator[Finding]:
    """A thinking toggle that is a text of the system turn, where the template writes none."""
    from resources.chat.errors import ChatError

    texts = [switch.system for switch in (chat.toggle.on, chat.toggle.off) if switch.system]
    if chat.habits.system or not texts:
        return
    try:
        turns = [{"role": "system", "content": texts[0]}, {"role": "user", "content": "2 + 2?"}]
        chat.conversation(turns).prompt()
        why = "it drops one"
    except ChatError as error:
        why = str(error)
    asks = _asking(asked.recipe, str(keys[1]) if keys[0] == MODELS else None)
    by = f", which {asks} asks for" if asks else ", as `heirloom chat` asks"
    yield asked.fault(
        keys,
        f"{where}: the chat template writes no system turn ({why}), and the text '{texts[0]}' in "
        f"it is what switches thinking{by}",
        _remedy(chat),
        stops=bool(asks),
    )


def _remedy(chat: Chat) -> str:
    """A toggle that a template without a system turn can be given."""
    if "enable_thinking" in chat.settings.template:
        on, off = "{enable_thinking: true}", "{enable_thinking: false}"
        return f"write {{path: …, thinking: {{on: {on}, off: {off}}}}}, which it reads"
    return (
        "it reads no enable_thinking: write {path: …, thinking: {on: {}, off: {}, tags: [<think>, "
        "</think>]}} where the model decides by itself, or give {path: …, template: ./chat.jinja}, "
        "one with a system turn"
    )


def _asking(recipe: Recipe, model: str | None) -> str | None:
    """What of a recipe asks a given model, a model's parent or else the teacher, to think or not.

    None where nothing does.
    """
    family = recipe.family
    if model is None:
        return "sft_data" if recipe.answered else None
    if family.own_benchmarks is not None:
        return "benchmarks"
    for name, benchmark in family.declared_benchmarks.items():
        if benchmark.thinking:
            return f"benchmarks.{name}.thinking"
    if recipe.answered and family.off_generator == model:
        return "off_generator"
    rates, models = family.pass_rates, recipe.models.values()
    if rates and rates.model == model and any(each.reads("pass_rates") for each in models):
        return "pass_rates"
    said = recipe.models[model]
    for field in said.stage_fields():
        if isinstance(getattr(said, field), PolicyGradient | Preference):
            return dotted((MODELS, model, field))
    for index, stage in enumerate(said.sft):
        if stage.reasoning:
            return dotted((MODELS, model, "sft", index, "reasoning"))
    return None


def _example(asked: Asked) -> list[dict[str, object]]:
    """The first conversation without tools of the recipe's sources, else a made-up one."""
    from resources.sources.account import SourceError
    from resources.sources.reading import read
    from resources.sources.shards import shards

    for source in asked.recipe.family.sources.values():
        away = source.path.startswith(("hub:", WRITTEN) if asked.offline else WRITTEN)
        if source.kind != "conversations" or away:
            continue
        try:
            for shard in shards(source, asked.recipe.directory, asked.scratch)[:1]:
                for batch in islice(read(source, shard), 1):
                    for row in batch.kept.to_pylist():
                        if row["tools"] is None and row["calls"] is None:
                            turns: list[dict[str, object]] = row["messages"]
                            return turns
        except SourceError:
            continue
    return [{"role": "user", "content": "2 + 2?"}, {"role": "assistant", "content": "4"}]


def _marked(sample: Sample) -> str:
    """A rendered text as people read it, with what carries loss between marks."""
    text = sample.text
    for start, end in sorted(sample.spans, reverse=True):
        text = f"{text[:start]}»{text[start:end]}«{text[end:]}"
    return str(replace(sample, text=text))
