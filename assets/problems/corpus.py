"""The corpus of recovery: direct answers and worked texts, as token ids with a loss mask."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random
from typing import Any

from warehouse.store import Artifact, Output

STYLES = {"direct": 0.5, "worked": 0.5}
# Deep problems are rare, as in what the bundled parents have read.
DEPTHS = {
    "direct": {1: 0.5, 2: 0.25, 3: 0.1, 4: 0.05, 5: 0.05, 6: 0.05},
    "worked": {1: 0.25, 2: 0.25, 3: 0.2, 4: 0.12, 5: 0.1, 6: 0.08},
}


def make_corpus(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: dict[str, Any],
    execution: dict[str, Any],
) -> Output:
    """`documents` documents of at most `max_tokens` tokens, of problems outside every problem set.

    The mask is true on the tokens that carry loss: answers and work, not questions.
    """
    import pyarrow as pa

    from resources.models.loading import load_tokenizer
    from resources.parents.documents import encode, problems
    from warehouse.rows import with_ids

    tokenizer = load_tokenizer(inputs["tokenizer"].path())
    drawn = problems(
        STYLES, dict.fromkeys(recipe["domains"], 1.0), DEPTHS, seed=f"{recipe['seed']}/corpus"
    )
    pairs = [next(drawn) for _ in range(int(recipe["documents"]))]
    documents = encode(tokenizer, pairs, rng=Random(f"{recipe['seed']}/corpus"), thinks=False)
    limit = int(recipe["max_tokens"])
    table = pa.table(
        {
            "text_ids": pa.array([d.ids[:limit] for d in documents], pa.list_(pa.int32())),
            "loss_mask": pa.array([d.mask[:limit] for d in documents], pa.list_(pa.bool_())),
            "kind": [d.style for d in documents],
            "domain": [d.problem.domain for d in documents],
            "content": [f"{d.style}|{d.problem.question}" for d in documents],
            "index": pa.array(range(len(documents)), pa.int64()),
        }
    )
    table = with_ids(
        table, recipe["asset_key"], ["content"], sample_index_column="index"
    ).drop_columns(["content", "index"])
    tokens = sum(len(d.ids[:limit]) for d in documents)
    return Output(tables={"corpus": table}, metrics={"tokens": float(tokens)})
