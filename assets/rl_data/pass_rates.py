"""How often a model solves each training problem: the difficulty that RL filters and orders by.

Samples every problem several times with thinking on and counts verdicts, `unknown` apart from
`incorrect`. Which problems are then used is decided in `prompts.py`.
Source: arXiv 2505.00949 section 5 (8 samples by Super; pass rates of 0.75 and above discarded).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.rl_data import problem_rows
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.verifiers.attempts import Attempt


def build_pass_rates(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: dict[str, Any]
) -> Output:
    """Sample `samples` responses to `prompts` problems of `domains` and count what is correct."""
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Sampling
    from resources.verifiers import attempts

    model = inputs["model"]
    problems = problem_rows.draw_evenly(
        inputs, recipe["domains"], recipe["prompts"], recipe["seed"]
    )
    sampling = Sampling(
        temperature=recipe["temperature"],
        top_p=recipe["top_p"],
        max_new_tokens=recipe["max_new_tokens"],
        seed=recipe["seed"],
    )
    engine = open_engine(model, model.data_version, execution)
    made = attempts.attempt(engine, attempts.every(problems, "on", recipe["samples"]), sampling)
    generations, verdicts = attempts.tables(
        made, recipe["asset_key"], model.key, model.data_version, sampling
    )
    table = count(made, recipe["discard_at"])
    judged = [rate for rate in table["pass_rate"].to_pylist() if rate is not None]
    return Output(
        tables={"pass_rates": table, "generations": generations, "verdicts": verdicts},
        metrics={
            "mean_pass_rate": sum(judged) / max(len(judged), 1),
            "kept": sum(table["kept"].to_pylist()) / max(table.num_rows, 1),
            "unknown": sum(table["unknown"].to_pylist()) / max(len(made), 1),
            "truncated": sum(table["truncated"].to_pylist()) / max(len(made), 1),
            "follows_toggle": sum(a.follows_toggle for a in made) / max(len(made), 1),
        },
        observations={"requests": attempts.usage(engine)},
    )


def count(made: "Sequence[Attempt]", discard_at: float) -> "pa.Table":
    """The `pass_rates` table, one row a problem in order of first appearance.

    pass_rate = correct / (correct + incorrect); null, and not kept, when every verdict is unknown.
    """
    import pyarrow as pa

    groups: dict[bytes, list[Attempt]] = {}
    for one in made:
        groups.setdefault(one.prompt.problem["row_id"], []).append(one)
    rows = []
    for problem_id, group in groups.items():
        verdicts = Counter(one.verdict.verdict for one in group)
        judged = verdicts["correct"] + verdicts["incorrect"]
        rate = verdicts["correct"] / judged if judged else None
        rows.append(
            {
                "problem_id": problem_id,
                "domain": group[0].prompt.problem["domain"],
                "samples": len(group),
                "correct": verdicts["correct"],
                "unknown": verdicts["unknown"],
                "truncated": sum(one.truncated for one in group),
                "pass_rate": rate,
                "kept": rate is not None and rate < discard_at,
            }
        )
    schema = pa.schema(
        [
            ("problem_id", pa.binary(16)),
            ("domain", pa.string()),
            ("samples", pa.int32()),
            ("correct", pa.int32()),
            ("unknown", pa.int32()),
            ("truncated", pa.int32()),
            ("pass_rate", pa.float64()),
            ("kept", pa.bool_()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)
