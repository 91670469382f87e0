"""The card of an exported data set, in the form that the `datasets` library and hubs read.

Every number in it comes from the warehouse, and rows in = samples + rows dropped with a reason.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

CARD = "README.md"
FILES = {"parquet": ".parquet", "jsonl": ".jsonl"}


@dataclass(frozen=True)
class Facts:
    """How many samples have one license, generator and mode; `tokens` of their answers."""

    license: str | None
    generator: str | None
    reasoning: str | None
    rows: int
    tokens: int | None


@dataclass(frozen=True)
class Part:
    """A data set of the export: `entering` rows are `kept` and those dropped for `reasons`."""

    name: str
    key: str
    data_version: str
    entering: int
    kept: int
    reasons: Mapping[str, int]
    by: Sequence[Facts]

    @property
    def balance(self) -> str:
        """The account in one line.

        >>> dropped = {"incorrect": 20, "unpaired": 11}
        >>> Part("math", "sft_data/math", "1f", 60, 29, dropped, ()).balance
        '60 rows = 29 samples + 20 incorrect + 11 unpaired'
        """
        terms = [f"{rows:,} {why}" for why, rows in self.reasons.items()]
        return f"{self.entering:,} rows = " + " + ".join([f"{self.kept:,} samples", *terms])


def card(title: str, parts: Sequence[Part], form: str) -> str:
    """README.md: a header that `load_dataset` understands, the account, licenses and columns."""
    return "\n".join([*_header(parts, form), "", f"# {title}", "", *_body(parts, form), ""])


def _header(parts: Sequence[Part], form: str) -> list[str]:
    licenses = sorted({each.license for part in parts for each in part.by if each.license})
    lines = ["---", f"license: {licenses[0].lower() if len(licenses) == 1 else 'other'}"]
    if form in FILES:
        lines.append("configs:")
        for part in parts:
            lines += [f"- config_name: {part.name}", f"  data_files: {part.name}{FILES[form]}"]
    return [*lines, "---"]


def _body(parts: Sequence[Part], form: str) -> list[str]:
    total, entering = sum(p.kept for p in parts), sum(p.entering for p in parts)
    reasons = list(dict.fromkeys(why for part in parts for why in part.reasons))
    head = ["data set", "rows in", "samples", *reasons]
    rows: list[list[str | int]] = [
        [p.name, p.entering, p.kept, *(p.reasons.get(r, 0) for r in reasons)] for p in parts
    ]
    sums = [sum(p.reasons.get(r, 0) for p in parts) for r in reasons]
    versions = [[p.name, p.key, p.data_version] for p in parts]
    facts = [
        [p.name, f.license or "", f.generator or "", f.reasoning or "", f.rows, f.tokens or ""]
        for p in parts
        for f in p.by
    ]
    return [
        f"{total:,} of {entering:,} rows; the others were dropped for the reasons below.",
        "",
        *_table(head, [*rows, ["all", entering, total, *sums]]),
        "",
        "Tokens are those of the answers, where they were counted as the answers were sampled.",
        "",
        *_table(["data set", "license", "generator", "reasoning", "samples", "tokens"], facts),
        "",
        "## Columns",
        "",
        "`input`, `output`, `category`, `license`, `reasoning`, `generator`, `used_in_training`, "
        "`version` and `system_prompt` are those of the published Llama-Nemotron data set. "
        "`row_id` and `parents` name the row and the rows that it was made from, `asset_key` and "
        "`data_version` the artifact that holds it. Where there is a column `split`, rows that say "
        "`held_out` are for measuring and were not trained on.",
        "",
        *_table(["data set", "artifact", "version"], versions),
        "",
        "## Loading",
        "",
        "```python",
        *_loading(parts[0].name, form),
        "```",
    ]


def _loading(name: str, form: str) -> list[str]:
    if form in FILES:
        return ["from datasets import load_dataset", f'load_dataset("FOLDER", "{name}")']
    return ["from datasets import load_from_disk", f'load_from_disk("FOLDER/{name}")']


def _table(head: Sequence[str], rows: Sequence[Sequence[str | int]]) -> list[str]:
    def cell(value: str | int) -> str:
        return f"{value:,}" if isinstance(value, int) else value.replace("|", "\\|")

    numbers = [all(isinstance(row[place], int) for row in rows) for place in range(len(head))]
    rule = "|".join("---:" if number else "---" for number in numbers)
    lines = [f"| {' | '.join(map(cell, row))} |" for row in (head, *rows)]
    return [lines[0], f"|{rule}|", *lines[1:]]
