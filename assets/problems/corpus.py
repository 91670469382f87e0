"""The procedural corpus of recovery: direct answers and worked texts, as text for every model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

STYLES = {"direct": 0.5, "worked": 0.5}
# Deep problems are rare, as in what the bundled parents have read.
DEPTHS = {
    "direct": {1: 0.5, 2: 0.25, 3: 0.1, 4: 0.05, 5: 0.05, 6: 0.05},
    "worked": {1: 0.25, 2: 0.25, 3: 0.2, 4: 0.12, 5: 0.1, 6: 0.08},
}
SOURCE, LICENSE = "procedural", "Apache-2.0"


def make_corpus(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: Execution,
) -> Output:
    """`documents` documents of problems outside every problem set, as the table `texts`.

    Answers and work are learned; a conversation's questions and a text's `context` are only read.
    """
    import pyarrow as pa

    from resources.parents.documents import pieces, problems
    from resources.sources.apart import text_hash
    from warehouse.rows import with_ids
    from warehouse.schemas import SCHEMAS

    drawn = problems(
        STYLES, dict.fromkeys(recipe["domains"], 1.0), DEPTHS, seed=f"{recipe['seed']}/corpus"
    )
    pairs = [next(drawn) for _ in range(int(recipe["documents"]))]
    made = pieces(pairs, rng=Random(f"{recipe['seed']}/corpus"), thinks=False)
    whole = [
        piece.context + piece.text
        if piece.messages is None
        else "\n".join(turn["content"] for turn in piece.messages)
        for piece in made
    ]
    texts = [None if piece.messages is not None else piece.text for piece in made]
    contexts = [None if piece.messages is not None else piece.context for piece in made]
    table = pa.table(
        {
            "text": pa.array(texts, pa.string()),
            "context": pa.array(contexts, pa.string()),
            "messages": pa.array(
                [piece.messages for piece in made], SCHEMAS["texts"].field("messages").type
            ),
            "source": pa.repeat(SOURCE, len(made)),
            "bytes": pa.array([len(text.encode()) for text in whole], pa.int64()),
            "text_hash": pa.array([text_hash(text) for text in whole], pa.int64()),
            "license": pa.repeat(LICENSE, len(made)),
            "kind": pa.array([style for style, _ in pairs], pa.string()),
            "domain": pa.array([problem.domain for _, problem in pairs], pa.string()),
            "content": [f"{style}|{problem.question}" for style, problem in pairs],
            "index": pa.array(range(len(pairs)), pa.int64()),
        }
    )
    table = with_ids(
        table, recipe["asset_key"], ["content"], sample_index_column="index"
    ).drop_columns(["content", "index"])
    return Output(tables={"texts": table}, metrics={"documents": float(len(made))})
