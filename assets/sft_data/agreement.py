"""How often a judge agrees with the verifiers, where those know."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution

COLUMNS = ("domain", "model", "prompt", "known", "verdict")


def agree(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """A row of `judge_agreement` for each domain that was judged.

    Every input is one domain's `judgements`.
    """
    import pyarrow as pa

    from warehouse.schemas import SCHEMAS

    rows = [compared(each.table("judgements", list(COLUMNS))) for each in inputs.values()]
    found = [row for row in rows if row is not None]
    table = pa.Table.from_pylist(found, schema=SCHEMAS["judge_agreement"])
    shares = {f"agreement_{row['domain']}": row["agreement"] for row in found if row["compared"]}
    return Output(tables={"judge_agreement": table}, metrics=shares)


def compared(judgements: pa.Table) -> dict[str, Any] | None:
    """One domain's judgements counted; None where there are none.

    `judged` answers, of which the judge left `unknown` open; `compared` have a verdict of both
    sides, which `agreed` (`agreement`: their share, with a 95 % Wilson interval; null where none is
    compared). `wrong_accepted`: the verifier said incorrect, the judge correct; `right_refused`:
    the other way round.

    >>> import pyarrow as pa
    >>> rows = {"domain": ["math"] * 4, "model": ["m"] * 4, "prompt": ["p"] * 4,
    ...         "known": ["correct", "incorrect", "unknown", "correct"],
    ...         "verdict": ["correct", "correct", "correct", "unknown"]}
    >>> found = compared(pa.table(rows))
    >>> [found[name] for name in ("judged", "unknown", "compared", "agreed", "wrong_accepted")]
    [4, 1, 2, 1, 1]
    """
    import pyarrow.compute as pc

    from resources.benchmarks.intervals import wilson

    if not judgements.num_rows:
        return None
    known, said = judgements["known"], judgements["verdict"]

    def count(mask: pa.ChunkedArray) -> int:
        return int(pc.sum(mask).as_py() or 0)

    both = pc.and_(pc.not_equal(known, "unknown"), pc.not_equal(said, "unknown"))
    pairs, agreed = count(both), count(pc.and_(both, pc.equal(known, said)))
    low, high = wilson(agreed / pairs, pairs) if pairs else (None, None)
    first = judgements.slice(0, 1).to_pylist()[0]
    return {
        **{name: first[name] for name in ("domain", "model", "prompt")},
        "judged": judgements.num_rows,
        "unknown": count(pc.equal(said, "unknown")),
        "compared": pairs,
        "agreed": agreed,
        "agreement": agreed / pairs if pairs else None,
        "ci_low": low,
        "ci_high": high,
        "wrong_accepted": count(pc.and_(pc.equal(known, "incorrect"), pc.equal(said, "correct"))),
        "right_refused": count(pc.and_(pc.equal(known, "correct"), pc.equal(said, "incorrect"))),
    }
