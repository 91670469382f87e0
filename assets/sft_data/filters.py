"""The filters of SFT samples: each says, row by row, why a response is not used, or null.

A filter takes a table of candidates (generations with their verdict, and columns of their problem)
and returns its evidence: a string array, null where the row is kept. Each carries its examples.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from resources.verifiers.reasoning import follows_toggle

if TYPE_CHECKING:
    import pyarrow as pa

Filter = Callable[["pa.Table"], "pa.Array"]


def truncated(table: pa.Table) -> pa.Array:
    """Responses that ran into the token limit: training on one teaches not to finish.

    >>> import pyarrow as pa
    >>> rows = {"finish_reason": ["stop", "length"], "completion_tokens": [3, 8]}
    >>> truncated(pa.table(rows)).to_pylist()
    [None, 'finish_reason length after 8 tokens']
    """
    import pyarrow.compute as pc

    tokens = table["completion_tokens"].cast("string")
    evidence = pc.binary_join_element_wise(
        "finish_reason ", table["finish_reason"], " after ", tokens, " tokens", ""
    )
    return _where(pc.not_equal(table["finish_reason"], "stop"), evidence)


def incorrect(table: pa.Table) -> pa.Array:
    """Responses whose answer is wrong.

    >>> import pyarrow as pa
    >>> rows = {"verdict": ["correct", "incorrect", "unknown"], "evidence": ["", "7 is not 8", ""]}
    >>> incorrect(pa.table(rows)).to_pylist()
    [None, '7 is not 8', None]
    """
    import pyarrow.compute as pc

    return _where(pc.equal(table["verdict"], "incorrect"), table["evidence"])


def unverified(table: pa.Table) -> pa.Array:
    """Responses that the verifier could not judge: not known to be right, so not used.

    >>> import pyarrow as pa
    >>> rows = {"verdict": ["correct", "incorrect", "unknown"], "evidence": ["", "", "timeout"]}
    >>> unverified(pa.table(rows)).to_pylist()
    [None, None, 'timeout']
    """
    import pyarrow.compute as pc

    return _where(pc.equal(table["verdict"], "unknown"), table["evidence"])


def disobeys_toggle(table: pa.Table) -> pa.Array:
    """Thinking where none was asked for, none or malformed where it was.

    >>> import pyarrow as pa
    >>> responses = ["<think>\\na\\n</think>\\n\\nb", "<think>\\n\\n</think>\\n\\nb", "b"]
    >>> rows = {"response": responses, "reasoning": ["on", "on", "off"]}
    >>> disobeys_toggle(pa.table(rows)).to_pylist()
    [None, 'asked with thinking on: 1 <think>, 1 </think>, starts <think> </think', None]
    """
    import pyarrow as pa

    pairs = zip(table["response"].to_pylist(), table["reasoning"].to_pylist(), strict=True)
    return pa.array(
        [
            None
            if follows_toggle(text, mode)
            else f"asked with thinking {mode}: {text.count('<think>')} <think>, "
            f"{text.count('</think>')} </think>, starts {' '.join(text[:16].split())}"
            for text, mode in pairs
        ],
        pa.string(),
    )


def _where(mask: pa.ChunkedArray, evidence: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    found = pc.if_else(mask, evidence, pa.scalar(None, pa.string()))
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


FILTERS: dict[str, Filter] = {
    "truncated": truncated,
    "incorrect": incorrect,
    "unverified": unverified,
    "disobeys_toggle": disobeys_toggle,
}
