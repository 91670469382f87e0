"""Text that a model's parent writes itself, for self-distillation: its answers to bundled prompts.

Asked through the engines and the request store, so that an answer is paid for once. Rows are those
of any other source of conversations.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.problems.texts import identified
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

FILE = "prompts"  # where rows say that they stand: the line is the prompt's number


def write_texts(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `texts`, `rejected` and `sources` of what `inputs["model"]` answers.

    `recipe`: `name`, `shard` and `source`, whose `limit` prompts are sampled at temperature 1 and
    top-p 0.95. An answer ends after `max_new_tokens` tokens at the latest; an empty one is rejected
    with its prompt's number.
    """
    import pyarrow as pa

    from resources.engines.opening import open_engine
    from resources.engines.protocol import Request, Sampling
    from resources.recipe.sections.data import Source
    from resources.sources.account import Account, Batch, Reject, rejected_batch
    from resources.sources.conversations import MESSAGES
    from resources.sources.prompts import prompts

    source, model = Source.model_validate(recipe["source"]), inputs["model"]
    asked = prompts(source.limit or 0)
    engine = open_engine(model, model.data_version, execution, role="writer")
    sampling = Sampling(1.0, 0.95, source.max_new_tokens or 1, recipe["seed"])
    made = engine.generate([Request((("user", prompt),)) for prompt in asked], sampling)
    turns, lines, rejects = [], [], []
    for line, (prompt, answer) in enumerate(zip(asked, made, strict=True), 1):
        if not answer.text.strip():
            rejects.append(Reject(line, "answer", "", "empty"))
            continue
        lines.append(line)
        said = (("user", prompt), ("assistant", answer.text))
        turns.append([{"role": role, "content": text, "train": True} for role, text in said])
    columns = {
        "messages": pa.array(turns, MESSAGES),
        "file": pa.repeat(FILE, len(lines)),
        "line": pa.array(lines, pa.int64()),
    }
    batch = Batch(pa.RecordBatch.from_pydict(columns), rejected_batch(FILE, rejects))
    account = Account(recipe["name"])
    account.add(batch)
    return Output(
        tables={
            "texts": identified(batch.kept, recipe, source.license),
            "rejected": account.table(),
            "sources": account.summary().append_column("shard", [[recipe["shard"]]]),
        },
        metrics={
            "kept": float(account.kept),
            "dropped": float(account.dropped),
            "tokens": float(sum(each.completion_tokens for each in made)),
        },
    )
