"""Whether the declared text is as much as a recipe wants to train on, by the bytes of its sources.

An upper bound, from names and sizes alone: it warns where the recipe asks for several times as
much, and says nothing of what is nearly enough.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from jobs.checks.asked import Asked, Finding
from resources.recipe.reading.shape import MODELS
from resources.recipe.sections.base import Training
from resources.recipe.sections.data import PYTHON, WRITTEN, CorpusMix, Source
from resources.recipe.sections.puzzle import Puzzle
from resources.recipe.tree import KeyPath

BYTES_PER_TOKEN = 4  # of English, about
PASSES = 4  # over the same text teach nearly as new text does; more teach little
# What ships with Python, bytes of text; it differs little from one version to another.
PYTHON_BYTES = {"documentation": 460_000, "docstrings": 1_300_000, "source": 10_000_000}
# How much larger the text of a file is than the file, at most.
_PACKED, _PARQUET = 8, 6


def amounts(asked: Asked) -> Iterator[Finding]:
    """Tokens of the corpus far beyond its sources, and of training far beyond the corpus."""
    corpus = asked.recipe.family.corpus
    trained = list(_trained(asked))
    if not trained:
        return
    if isinstance(corpus, CorpusMix):
        held = _held(asked)
        there = corpus.tokens if held is None else min(corpus.tokens, held)
        if held is not None and corpus.tokens > PASSES * held:
            yield asked.fault(
                ("corpus", "tokens"),
                f"{corpus.tokens:,} tokens, and what it mixes holds about {about(held)}",
                f"write about {about(held)}, or add text",
                stops=False,
            )
    else:
        there = corpus.documents * corpus.max_tokens
    for keys, tokens in trained:
        if tokens > PASSES * there:
            yield asked.fault(
                keys,
                f"{tokens:,} tokens are {tokens / max(there, 1):,.0f} passes over a corpus of "
                f"about {about(there)}",
                f"at most {PASSES} teach nearly as new text does: add text, or write fewer",
                stops=False,
            )


def _held(asked: Asked) -> float | None:
    """About how many tokens the mixed sources hold; None where it cannot be told of one."""
    sizes = [_tokens(asked, source) for source in asked.recipe.family.mixed_sources.values()]
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def _trained(asked: Asked) -> Iterator[tuple[KeyPath, int]]:
    """Where tokens of the corpus are asked for, and how many."""
    for name, model in asked.recipe.models.items():
        for field in model.readers("corpus"):
            section = getattr(model, field)
            if isinstance(section, Training) and section.tokens:
                yield (MODELS, name, field, "tokens"), section.tokens
            if isinstance(section, Puzzle) and not section.library_of and section.library.tokens:
                yield (MODELS, name, field, "library", "tokens"), section.library.tokens


def _tokens(asked: Asked, source: Source) -> float | None:
    """About how many tokens a source holds at most; None where that cannot be told from here."""
    if source.path.startswith(WRITTEN):
        return float((source.limit or 0) * (source.max_new_tokens or 0))
    if source.path.startswith(PYTHON):
        return PYTHON_BYTES[source.path.removeprefix(PYTHON)] / BYTES_PER_TOKEN
    if asked.offline and source.path.startswith("hub:"):
        return None
    size = _bytes(asked, source)
    return None if size is None else size / BYTES_PER_TOKEN


def _bytes(asked: Asked, source: Source) -> float | None:
    from resources.sources.account import SourceError
    from resources.sources.hub import Remote
    from resources.sources.opening import compression
    from resources.sources.shards import shards

    total = 0.0
    try:
        found = shards(source, asked.recipe.directory, asked.scratch)
    except SourceError:
        return None  # said with the files
    for file in {piece.path: piece for shard in found for piece in shard.pieces}.values():
        size = file.path.size if isinstance(file.path, Remote) else file.local.stat().st_size
        if size is None:
            return None
        packed = _PACKED if compression(Path(file.name)) else 1
        total += size * (_PARQUET if file.name.endswith(".parquet") else packed)
    return total


def about(tokens: float) -> str:
    """A rough number of tokens, as recipes write it.

    >>> about(1_776_123), about(444_030), about(900)
    ('1.7M', '440K', '1K')
    """
    if tokens >= 1_000_000:
        return f"{tokens // 100_000 / 10:g}M"
    return f"{tokens // 10_000 * 10:.0f}K" if tokens >= 10_000 else f"{-(-tokens // 1000):.0f}K"
