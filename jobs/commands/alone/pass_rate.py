"""`heirloom pass-rate`: how often a served model solves each row of a file, without a home.

Answers are kept in a request store beside the file, so that a run that was stopped goes on and
more samples ask only for those. The rule for rates is that of pass-rate assets.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jobs.commands.alone import rows as files
from jobs.commands.alone.rows import Made, Row
from jobs.commands.alone.verify import FIELDS, Judge, checked
from jobs.errors import CommandError, UsageError

if TYPE_CHECKING:
    from resources.engines.protocol import Completion, Engine, Request
    from resources.engines.server.endpoint import Address
    from resources.verifiers.verdict import Verdict

COUNTED = ("correct", "incorrect", "unknown", "truncated")
COLUMNS = ("verdict", "pass_rate", "samples", *COUNTED, "evidence")
KEPT, NO_QUESTION = "kept", "no question"
Thing = tuple[int, Row, int]  # a row's place, the row, and which of its samples


def main(arguments: argparse.Namespace) -> int:
    """Ask for every row, judge, write the rows with their rates, and say how many are kept."""
    import pyarrow as pa

    from resources.engines.server.errors import EngineError
    from resources.sources.account import SourceError

    checked(arguments.verifier)
    path, output = Path(arguments.file), Path(arguments.output) if arguments.output else None
    asked = _Asked(path, files.fields(arguments.field, FIELDS), arguments.samples)
    try:
        places = sum(1 for _ in files.read(path))
        counts = _counts(arguments, asked, places)
    except (EngineError, SourceError) as error:
        raise CommandError(str(error)) from None
    rates = _Rates(counts, arguments.discard_at)
    kinds = dict.fromkeys(COLUMNS, pa.int64())
    kinds |= {"verdict": pa.string(), "pass_rate": pa.float64(), "evidence": pa.string()}
    rejected = files.annotate(path, output, kinds, rates.columns)
    print(rates.account(rejected), file=sys.stderr)
    return 0


@dataclass
class _Tally:
    """What the samples of a row came to, and of each verdict the first one's evidence."""

    counts: Counter[str] = field(default_factory=Counter)
    evidence: dict[str, tuple[int, str]] = field(default_factory=dict)

    def add(self, index: int, verdict: Verdict, *, truncated: bool) -> None:
        """Count one more; answers come in any order."""
        self.counts.update(["samples", verdict.verdict])
        self.counts["truncated"] += truncated
        said = index, str(verdict.evidence)
        self.evidence[verdict.verdict] = min(said, self.evidence.get(verdict.verdict, said))


class _Asked:
    """The requests of a file, row by row; read anew each time, so that no row is held."""

    def __init__(self, path: Path, names: dict[str, str], samples: int) -> None:
        self.path, self.names, self.samples = path, names, samples

    def rows(self) -> Iterator[tuple[int, Row]]:
        """The rows that ask something, by place."""
        for place, row in enumerate(files.read(self.path)):
            if isinstance(row.get(self.names["question"]), str):
                yield place, row

    def each(self) -> Iterator[Thing]:
        """Every row that asks something, once a sample."""
        for place, row in self.rows():
            for index in range(self.samples):
                yield place, row, index

    def request(self, thing: Thing) -> Request:
        """What is asked of the model."""
        from resources.engines.protocol import Request

        _, row, index = thing
        return Request((("user", row[self.names["question"]]),), index)


def _counts(arguments: argparse.Namespace, asked: _Asked, places: int) -> list[_Tally | None]:
    """What the samples of each row came to; None where a row asks nothing."""
    from assets.sft_data.asking import Asking
    from resources.engines.protocol import Sampling

    found: list[_Tally | None] = [None] * places
    for place, _ in asked.rows():
        found[place] = _Tally()
    count = asked.samples * sum(each is not None for each in found)
    if not count:
        raise CommandError(
            f"{asked.path}: no row has text in {asked.names['question']!r} (--field question=…)"
        )
    sampling = Sampling(arguments.temperature, arguments.top_p, arguments.max_new_tokens)
    judge, asking = Judge(arguments.verifier, asked.names), Asking(f"pass-rate {asked.path}")
    engine = _engine(arguments)
    for things, made in asking.answered(engine, asked.each(), asked.request, count, sampling):
        _judge(things, made, judge, asked.names["response"], found)
    try:
        asking.settled()
    except ValueError as error:
        raise CommandError(str(error)) from None
    return found


def _judge(
    things: list[Thing],
    made: list[Completion],
    judge: Judge,
    response: str,
    found: list[_Tally | None],
) -> None:
    """Count the verdicts on some answers; where there is none it is unknown."""
    from resources.verifiers.attempts import unanswered

    pairs = list(zip(things, made, strict=True))
    answered = [row | {response: each.text} for (_, row, _), each in pairs if each.answered]
    verdicts = iter(judge.verdicts(answered))
    for (place, _, index), each in pairs:
        verdict = unanswered(each.finish_reason) or next(verdicts)
        tally = found[place]
        assert tally is not None
        tally.add(index, verdict, truncated=each.finish_reason == "length")


class _Rates:
    """The columns of the rows, in the order of the file."""

    def __init__(self, tallies: list[_Tally | None], discard_at: float) -> None:
        self._tallies, self._discard_at = iter(tallies), discard_at
        self._verdicts: Counter[str] = Counter()

    def columns(self, rows: list[Row]) -> Made:
        """`COLUMNS` of the next rows."""
        values = [self._values(next(self._tallies)) for _ in rows]
        self._verdicts.update(each["verdict"] for each in values)
        return {name: [each.get(name) for each in values] for name in COLUMNS}

    def _values(self, tally: _Tally | None) -> dict[str, Any]:
        from assets.rl_data.pass_rates import decide

        if tally is None:
            return {"verdict": NO_QUESTION}
        counted = {name: tally.counts[name] for name in COUNTED}
        rate, _, why = decide(*counted.values(), discard_at=self._discard_at)
        shown = "; ".join(f"{name}: {said}" for name, (_, said) in sorted(tally.evidence.items()))
        return {
            "verdict": why or KEPT,
            "pass_rate": rate,
            "samples": tally.counts["samples"],
            **counted,
            "evidence": shown,
        }

    def account(self, rejected: int) -> str:
        """How many rows came to what."""
        said = [f"{rows} {what}" for what, rows in sorted(self._verdicts.items())]
        left = f"; {rejected} lines are no rows" if rejected else ""
        return f"{self._verdicts.total()} rows = {' + '.join(said)}{left}"


def _store(arguments: argparse.Namespace) -> Path:
    """Where answers are kept."""
    return Path(arguments.requests or f"{arguments.file}.requests")


def _engine(arguments: argparse.Namespace) -> Engine:
    """The server, asked through the request store."""
    from resources.engines.opening import addresses, open_served
    from resources.execution import Execution
    from resources.recipe.errors import RecipeError
    from resources.recipe.sections.roles import Role

    engine = {"openai": arguments.engine, "concurrency": arguments.concurrency}
    engine |= {"api_key_env": arguments.api_key_env} if arguments.api_key_env else {}
    try:
        role = Role.model_validate({"model": arguments.model or "?", "engine": engine})
    except (ValueError, RecipeError) as error:
        raise UsageError(f"--engine {arguments.engine}: {_first(error)}") from None
    if arguments.model is None:
        role = role.model_copy(update={"model": _only(addresses(role)[0])})
    execution = Execution(requests=_store(arguments), roles={"pass_rates": role})
    return open_served(role.asked(), execution, "pass_rates")


def _only(address: Address) -> str:
    """The one model that a server lists. CommandError where it lists several or none."""
    from resources.engines.server.endpoint import Endpoint
    from resources.engines.server.errors import Again, EngineError

    async def ask() -> list[dict[str, Any]] | None:
        endpoint = Endpoint(address)
        try:
            return await endpoint.models()
        except Again as problem:
            raise EngineError(f"{address.base}: {problem}") from None
        finally:
            await endpoint.close()

    listed = [each["id"] for each in asyncio.run(ask()) or ()]
    if len(listed) != 1:
        names = ", ".join(listed[:8]) or "nothing"
        raise CommandError(f"{address.base} lists {names}: say which with --model")
    return str(listed[0])


def _first(error: Exception) -> str:
    """What a section says is wrong, in one line."""
    return str(getattr(error, "errors", lambda: [{"msg": str(error)}])()[0]["msg"])
