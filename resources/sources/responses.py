"""Recorded answers to problems, from rows in the shapes that people have: a problem and an answer.

The thinking may stand in the answer, between tags, or in a field of its own. Judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from resources.chat.toggle import TAGS
from resources.recipe.sections.data import FIELDS
from resources.sources.fields import Unfit, optional_text, plain_text
from resources.sources.problems import PROBLEM, problem

RESPONSE = pa.struct(
    [
        *PROBLEM,
        ("response", pa.string()),
        ("model", pa.string()),
        ("reasoning", pa.string()),
    ]
)


def response(
    row: Mapping[str, Any], columns: Mapping[str, str], domain: str, voted: bool = False
) -> dict[str, Any]:
    """The problem and the answer in a row, as `RESPONSE`; `reasoning` is on where it thinks.

    Without `columns` the row's fields bear our names. Raises Unfit as `problem` does, and where
    the thinking stands in the answer and in a field of its own.

    >>> row = {"question": "1+1?", "response": "\\\\boxed{2}", "thinking": "One and one."}
    >>> found = response(row, {}, "math")
    >>> found["response"], found["reasoning"]
    ('<think>\\nOne and one.\\n</think>\\n\\n\\\\boxed{2}', 'on')
    """
    names = FIELDS["responses"]
    columns = columns or {n: n for n in names if n in row} | {"response": "response"}
    said = plain_text(row, columns["response"])
    asked = {name: column for name, column in columns.items() if name not in _ANSWER}
    thinks = any(tag in said for tag in TAGS)
    thinking = optional_text(row, columns["thinking"]) if "thinking" in columns else None
    if thinking is not None:
        if thinks:
            raise Unfit(columns["thinking"], thinking, f"{TAGS[0]} stands in the answer too")
        said = f"{TAGS[0]}\n{thinking.strip()}\n{TAGS[1]}\n\n{said.strip()}"
    return {
        **problem(row, asked or {"question": "question"}, domain, voted),
        "response": said,
        "model": optional_text(row, columns["model"]) if "model" in columns else None,
        "reasoning": "on" if thinks or thinking is not None else "off",
    }


_ANSWER = ("response", "thinking", "model")
