"""Chooses the SFT samples of a domain: right, obedient to the toggle, new, and not held out.

Every response that is not used becomes a row of `dropped` with the reason and the evidence. The
filters that look at one row stand in `filters.py`; here are those that compare rows.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from assets.sft_data.decontaminate import HELD_OUT_COLUMNS, contaminated, evidence
from assets.sft_data.deduplicate import BATCH, Repeats
from assets.sft_data.feedback_edit.used import with_edits
from assets.sft_data.filters import FILTERS
from resources.benchmarks import apart
from resources.benchmarks.compared import CONTAMINATED, UNDECIDED
from resources.benchmarks.contamination import hits
from resources.cleaning.duplicates import Duplicate
from resources.cleaning.filters import first_reason
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import pyarrow as pa

    from resources.execution import Execution

VERSION = "v1"  # of the published rows, as in the published data set
PROBLEM_COLUMNS = (
    "domain",
    "source",
    "question",
    "license",
    "prompt_messages",
    "composition",
    "difficulty",
)


def select(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """The tables `sft_samples` and `dropped` of one domain.

    `inputs`: `generations`, `verdicts`, `problems`, `held_out`, benchmarks. `recipe`: `samples_on`
    (0: there are no reasoning-on samples that reasoning-off ones could be paired with); with
    `deduplicate` and `decontaminate` near duplicates and neighbours of benchmarks are dropped too,
    and `duplicates` and `contamination` are further tables. Where some problems were voted on the
    samples' further column `truth` says which ("vote"), and which had an answer ("given").
    """
    table = _candidates(inputs)
    total = table.num_rows
    dropped: list[pa.Table] = []
    further: dict[str, pa.Table | Iterator[pa.RecordBatch]] = {}

    def drop(reason: str, evidence: pa.Array, matched: pa.Array | None = None) -> None:
        nonlocal table
        table = _split(table, reason, evidence, matched, dropped)

    held_out = apart.held_out(inputs, HELD_OUT_COLUMNS)
    found = contaminated(table, held_out, recipe.get("decontaminate"))
    if "decontaminate" in recipe:
        ids = zip(table["row_id"].to_pylist(), table["problem_id"].to_pylist(), strict=True)
        further["contamination"] = hits((row, found[i]) for row, i in ids if i in found)
    for reason in (CONTAMINATED, UNDECIDED):
        drop(reason, *evidence(table, {i: m for i, m in found.items() if m.reason == reason}))
    for reason, evidence_of in FILTERS.items():
        drop(reason, evidence_of(table))
    unfit = _unfit(table, recipe.get("filters", {}))
    for reason in sorted({why for why, _ in unfit.values()}):
        drop(reason, _said_of(table, reason, unfit))
    drop("duplicate", *duplicated(table))
    near = recipe.get("deduplicate", {}).get("near")
    if near is not None:
        repeats = Repeats(workdir, near, inputs)
        lost = _repeated(table, repeats)
        further["duplicates"] = repeats.clusters(lost, inputs["generations"].key)
        drop("duplicate", *_evidence(lost, table.num_rows, repeats))
    if recipe["samples_on"]:
        drop("unpaired", unpaired(table))
    samples = _samples(table, inputs, recipe["asset_key"])
    all_dropped = _dropped(dropped, inputs["problems"].key)
    return Output(
        tables={"sft_samples": samples, "dropped": all_dropped, **further},
        metrics=_metrics(samples, all_dropped, total),
    )


def _unfit(table: pa.Table, settings: Mapping[str, Any]) -> dict[bytes, tuple[str, str]]:
    """By row id, the filter of the recipe that a response does not pass, and its evidence."""
    if not settings:
        return {}
    columns = (table[name].to_pylist() for name in ("row_id", "response", "question"))
    rows = zip(*columns, strict=True)
    found = ((row_id, first_reason(said, asked, settings)) for row_id, said, asked in rows)
    return {row_id: why for row_id, why in found if why is not None}


def _said_of(table: pa.Table, reason: str, unfit: Mapping[bytes, tuple[str, str]]) -> pa.Array:
    """Row by row, the evidence of one filter."""
    import pyarrow as pa

    found = [unfit.get(row_id, ("", "")) for row_id in table["row_id"].to_pylist()]
    return pa.array([text if why == reason else None for why, text in found], pa.string())


def duplicated(table: pa.Table) -> tuple[pa.Array, pa.Array]:
    """Evidence and row id of the first response where a later sample repeats it word for word.

    >>> import pyarrow as pa
    >>> rows = {"row_id": [b"a", b"b", b"c"], "problem_id": [b"p"] * 3, "reasoning": ["on"] * 3,
    ...         "sample_index": [1, 0, 2], "response": ["x", "x", "y"]}
    >>> duplicated(pa.table(rows))[0].to_pylist()
    ['sample 0 says the same', None, None]
    """
    import pyarrow as pa

    names = ("problem_id", "reasoning", "response", "sample_index", "row_id")
    rows = list(zip(*(table[name].to_pylist() for name in names), strict=True))
    first: dict[tuple[Any, ...], tuple[int, bytes]] = {}
    for *key, index, row_id in rows:
        first[tuple(key)] = min(first.get(tuple(key), (index, row_id)), (index, row_id))
    kept = [(first[tuple(key)], row_id) for *key, _, row_id in rows]
    return (
        pa.array(
            [None if one[1] == own else f"sample {one[0]} says the same" for one, own in kept],
            pa.string(),
        ),
        pa.array([None if one[1] == own else one[1] for one, own in kept], table["row_id"].type),
    )


def _repeated(table: pa.Table, repeats: Repeats) -> dict[int, Duplicate]:
    """The candidates, in their order, that nearly repeat one which is kept."""
    for batch in table.to_batches(BATCH):
        said = batch.column("response").to_pylist()
        pairs = zip(_messages(batch), said, strict=True)
        whole = [[*turns, {"role": "assistant", "content": last}] for turns, last in pairs]
        repeats.add(batch.column("row_id").to_pylist(), whole)
    return repeats.found()


def _evidence(
    found: Mapping[int, Duplicate], rows: int, repeats: Repeats
) -> tuple[pa.Array, pa.Array]:
    """Row by row, the evidence of duplicates and the row id of what is kept."""
    import pyarrow as pa

    ones = [found.get(place) for place in range(rows)]
    return (
        pa.array([one and repeats.evidence(one) for one in ones], pa.string()),
        pa.array([one and repeats.id_of(one.kept) for one in ones], pa.binary(16)),
    )


def unpaired(table: pa.Table) -> pa.Array:
    """Evidence where a reasoning-off response answers a prompt without a reasoning-on sample.

    >>> import pyarrow as pa
    >>> rows = {"problem_id": [b"p", b"p", b"q"], "reasoning": ["on", "off", "off"]}
    >>> unpaired(pa.table(rows)).to_pylist()
    [None, None, 'no reasoning-on sample of this prompt is left']
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    on = table.filter(pc.equal(table["reasoning"], "on"))["problem_id"]
    alone = pc.invert(pc.is_in(table["problem_id"], on))
    lost = pc.and_(pc.equal(table["reasoning"], "off"), alone)
    text = pa.scalar("no reasoning-on sample of this prompt is left")
    return pc.if_else(lost, text, pa.scalar(None, pa.string())).combine_chunks()


def _candidates(inputs: Mapping[str, Artifact]) -> pa.Table:
    """Generations with `verdict`, `evidence` and their problem's columns, in a fixed order.

    Where the verifier's verdict is `unknown` it is that of the judge, if one was asked. Where
    `inputs` has edits, chosen ones take their drafts' places.
    """
    import pyarrow.compute as pc

    table = inputs["generations"].table("generations")
    table = table.sort_by([(n, "ascending") for n in ("problem_id", "reasoning", "sample_index")])
    verdicts = inputs["verdicts"].table("verdicts")
    if "judgements" in inputs:
        verdicts = with_judge(verdicts, inputs["judgements"].table("judgements"))
    problems = inputs["problems"].table("problems")
    for name, other, own, their, columns in (
        ("verdicts", verdicts, "row_id", "generation_id", ("verdict", "evidence", "verifier")),
        ("problems", problems, "problem_id", "row_id", PROBLEM_COLUMNS),
    ):
        place = pc.index_in(table[own], other[their])
        if place.null_count:
            raise ValueError(
                f"{inputs['generations'].key}: {place.null_count} generations have no row in "
                f"{inputs[name].key}; rebuild it"
            )
        for column in columns:
            values = other[column].take(place)
            table = (
                table.set_column(table.column_names.index(column), column, values)
                if column in table.column_names
                else table.append_column(column, values)
            )
    return with_edits(table, inputs) if "edits" in inputs else table


def with_judge(verdicts: pa.Table, judgements: pa.Table) -> pa.Table:
    """The verdicts, of the judge where the verifier has none: what is exact is never overruled.

    >>> import pyarrow as pa
    >>> known = pa.table({"generation_id": [b"a", b"b", b"c"], "evidence": ["x", "y", "z"],
    ...                   "verdict": ["incorrect", "unknown", "unknown"]})
    >>> said = pa.table({"generation_id": [b"a", b"b"], "verdict": ["correct", "correct"],
    ...                  "evidence": ["", "Same."], "model": ["m"] * 2, "prompt": ["p-1"] * 2})
    >>> found = with_judge(known, said)
    >>> found["verdict"].to_pylist(), found["evidence"].to_pylist()
    (['incorrect', 'correct', 'unknown'], ['x', 'judge m, prompt p-1: Same.', 'z'])
    """
    import pyarrow.compute as pc

    place = pc.index_in(verdicts["generation_id"], judgements["generation_id"])
    said = judgements.take(place)
    open_ = pc.and_(pc.equal(verdicts["verdict"], "unknown"), pc.is_valid(place))
    text = pc.binary_join_element_wise(
        "judge ", said["model"], ", prompt ", said["prompt"], ": ", said["evidence"], ""
    )
    for name, value in (("verdict", said["verdict"]), ("evidence", text)):
        chosen = pc.if_else(open_, value, verdicts[name])
        verdicts = verdicts.set_column(verdicts.column_names.index(name), name, chosen)
    return verdicts


def _split(
    table: pa.Table,
    reason: str,
    evidence: pa.Array,
    matched: pa.Array | None,
    dropped: list[pa.Table],
) -> pa.Table:
    """The rows without evidence; the others go to `dropped`."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kept = pc.is_null(evidence)
    if matched is None:
        matched = pa.nulls(table.num_rows, pa.binary(16))
    rows = pa.table(
        {
            "row_id": table["row_id"],
            "reason": pa.repeat(reason, table.num_rows),
            "evidence": evidence,
            "matched_row_id": matched,
            "problem_id": table["problem_id"],
            "reasoning": table["reasoning"],
        }
    )
    dropped.append(rows.filter(pc.invert(kept)))
    return table.filter(kept)


def _samples(table: pa.Table, inputs: Mapping[str, Artifact], asset_key: str) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc

    from resources.chat.toggle import Toggle
    from resources.verifiers.voting import BY_VOTE
    from warehouse.rows import parents_of, with_ids
    from warehouse.schemas import SCHEMAS

    schema = SCHEMAS["sft_samples"]
    messages = _messages(table)
    modes = table["reasoning"].to_pylist()
    published = Toggle()  # as Nemotron's own rows; a model is told its own toggle's words
    columns = {
        "domain": table["domain"],
        "input": pa.array(messages, schema.field("input").type),
        "output": table["response"],
        "category": table["domain"],
        "license": table["license"],
        "reasoning": table["reasoning"],
        "generator": table["model"],
        "version": pa.repeat(VERSION, table.num_rows),
        "system_prompt": pa.array([published.switch(m).system for m in modes], pa.string()),
        "tokens": table["completion_tokens"],
        "problem_id": table["problem_id"],
    }
    if "votes" in inputs["verdicts"].manifest["inputs"]:
        by_vote = pc.ends_with(table["verifier"], BY_VOTE)
        columns["truth"] = pc.if_else(by_vote, "vote", "given")
    names = [name for name in ("row_id", "problem_id", "edit_id") if name in table.column_names]
    keys = [inputs[name].key for name in ("generations", "problems", "edits")[: len(names)]]
    rows = zip(*(table[name].to_pylist() for name in names), strict=True)
    ids = [[one for one in row if one is not None] for row in rows]
    parents = parents_of(ids, [keys[: len(own)] for own in ids])
    return with_ids(pa.table(columns), asset_key, ["output", "reasoning"], parents)


def _messages(rows: pa.Table | pa.RecordBatch) -> list[list[dict[str, str]]]:
    """What each candidate was asked: its problem's own turns, or its question."""
    questions, given = rows["question"].to_pylist(), rows["prompt_messages"].to_pylist()
    return [
        json.loads(turns) if turns else [{"role": "user", "content": question}]
        for question, turns in zip(questions, given, strict=True)
    ]


def _dropped(parts: list[pa.Table], problems_key: str) -> pa.Table:
    """Dropped rows keep the id of their generation; their parent is the problem."""
    import pyarrow as pa

    from warehouse.rows import PARENTS, parents_of

    table = pa.concat_tables(parts)
    ids = table["problem_id"].to_pylist()
    parents = parents_of([[one] for one in ids], [[problems_key]] * len(ids))
    return table.drop_columns(["problem_id"]).append_column(pa.field("parents", PARENTS), parents)


def _metrics(samples: pa.Table, dropped: pa.Table, total: int) -> dict[str, float]:
    modes = Counter(samples["reasoning"].to_pylist())
    reasons = Counter(dropped["reason"].to_pylist())
    metrics = {"samples": float(samples.num_rows), "kept": samples.num_rows / max(total, 1)}
    metrics |= {f"samples_{mode}": float(count) for mode, count in sorted(modes.items())}
    return metrics | {f"dropped_{why}": float(count) for why, count in sorted(reasons.items())}
