"""`heirloom evaluate`: one benchmark on any checkpoint, of the home or of a folder.

Reads the benchmark's files itself and writes nothing; what a run measures of its checkpoints stands
in the view `benchmarks`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import CommandError
from resources.store import home as homes

if TYPE_CHECKING:
    from resources.benchmarks.answers import Answer, Measure, Subject
    from resources.benchmarks.continuation import Document
    from resources.recipe.schema import Recipe
    from resources.recipe.sections.benchmark import Benchmark
    from resources.store.home import Home


def main(arguments: argparse.Namespace) -> int:
    """Ask, judge and print the score with its interval."""
    from resources.benchmarks.answers import Asked
    from resources.benchmarks.methods import method
    from resources.benchmarks.problems import examples, problems, where
    from resources.models.precision import arithmetic
    from resources.recipe.sections.data import HELD_TEXT
    from resources.sources.account import SourceError
    from resources.verifiers.code import judging

    home = homes.find(arguments.home).prepare()
    recipe, benchmark = _declared(home, arguments)
    name = arguments.benchmark
    subject, shown = _subject(home, recipe, arguments.model)
    try:
        with tempfile.TemporaryDirectory(prefix="heirloom-evaluate-") as scratch:
            asked, shots = where(benchmark, recipe.directory, Path(scratch))
            documents = _held_text(home, recipe) if benchmark.path == HELD_TEXT else None
            table, account = problems(name, benchmark, asked, documents)
            shown_first = examples(name, benchmark, shots, table["prompt"].to_pylist())
    except SourceError as error:
        raise CommandError(f"benchmark {name}: {error}") from None
    put = Asked(table.to_pylist(), shown_first.to_pylist(), benchmark)
    with judging(**recipe.family.running), arithmetic(benchmark.dtype, subject.execution.device):
        answers = method(benchmark.method).answer(subject, put, recipe.family.seed)
    print(f"{name} ({_protocol(benchmark)}) on {shown}")
    left = f" + {account.left.total()} not asked" if account.left else ""
    print(f"rows: {account.rows} = {account.kept} problems + {account.dropped} dropped{left}")
    for measure in method(benchmark.method).measure(answers, put):
        print(line(measure, answers))
    return 0


def _held_text(home: Home, recipe: Recipe) -> Iterator[Document]:
    from jobs.keys import open_artifact
    from resources.benchmarks.problems import HELD_COLUMNS, held_text

    return held_text(open_artifact(home, recipe, "problems/corpus").batches("texts", HELD_COLUMNS))


def line(measure: Measure, answers: list[Answer]) -> str:
    """A score as printed: with its interval, and what was not judged or is at chance."""
    of = [each for each in answers if each.reasoning == measure.reasoning]
    value, low, high = (
        f"{100 * each:.1f} %" if measure.share else f"{each:.4f}"
        for each in (measure.value, measure.low, measure.high)
    )
    mode = f", thinking {measure.reasoning}" if measure.reasoning else ""
    text = f"{measure.metric}{mode}: {value} ({low} to {high}, 95 %), {measure.problems} problems"
    if measure.samples > 1:
        text += f", {measure.samples} samples each"
    counts = Counter(each.verdict for each in of)
    cut = sum(each.truncated for each in of)
    notes = [
        *([f"{counts['unknown']} answers unknown, not counted"] if counts["unknown"] else []),
        *([f"{cut} answers cut at the token limit"] if cut else []),
        *([f"at chance ({measure.chance:.1%})"] if measure.at_chance else []),
    ]
    return "; ".join([text, *notes])


def _protocol(benchmark: Benchmark) -> str:
    shot = benchmark.few_shot.examples
    return f"{benchmark.method}, {benchmark.style}, {shot} worked examples"


def _declared(home: Home, arguments: argparse.Namespace) -> tuple[Recipe, Benchmark]:
    """The recipe and the benchmark in it; one that comes with the package need not be named."""
    from jobs.keys import named
    from resources.recipe.errors import nearest
    from resources.recipe.loading import load
    from resources.recipe.packaged import benchmarks

    name = arguments.benchmark
    reference = named(home, arguments)
    named_here = (
        [f"benchmarks.{name}={{}}"] if name in benchmarks() else []
    )  # adds nothing to one there
    overrides = [*named_here, *reference.overrides]
    recipe = load(reference.recipe, overrides, check_paths=False)
    there = recipe.family.declared_benchmarks
    if name not in there:
        raise CommandError(
            f"no benchmark {name!r} in {reference}; {nearest(name, {*there, *benchmarks()})} "
            "(a recipe declares one under `benchmarks`)"
        )
    benchmark = there[name]
    if arguments.limit is not None:
        benchmark = benchmark.model_copy(update={"limit": arguments.limit})
    return recipe, benchmark


def _subject(home: Home, recipe: Recipe, text: str) -> tuple[Subject, str]:
    """The checkpoint that is meant, and how it is shown."""
    from jobs.commands.export.checkpoint import checkpoint
    from jobs.keys import open_artifact
    from resources.benchmarks.answers import Subject
    from resources.execution import Execution

    folder = Path(text).expanduser()
    if (folder / "config.json").is_file():
        execution = Execution.of(
            recipe.execution, roles=dict(recipe.family.roles), progress=_progress
        )
        return Subject(folder.resolve(), str(folder.resolve()), execution), str(folder)
    if folder.is_dir():
        raise CommandError(f"{folder} holds no config.json: name a checkpoint folder")
    artifact = checkpoint(open_artifact(home, recipe, text))
    execution = Execution.of(
        recipe.execution,
        home=str(home.path),
        requests=home.requests,
        roles=dict(recipe.family.roles),
        progress=_progress,
    )
    shown = f"{artifact.key}@{artifact.data_version[:12]}"
    return Subject(artifact, artifact.data_version, execution), shown


def _progress(message: str, fraction: float) -> None:
    if sys.stderr.isatty():
        print(f"\r{fraction:4.0%} {message}", end="", file=sys.stderr, flush=True)
