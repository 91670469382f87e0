"""What a judge's reply says. It fails closed: whatever is not plainly a verdict is `unknown`."""

from __future__ import annotations

import re
from typing import cast

from resources.verifiers.reasoning import TAGS, Tags, split
from resources.verifiers.verdict import Value, Verdict, shorten

_DRESS = r"[\s*_#>`]*"
_VERDICT = re.compile(
    rf"{_DRESS}verdict{_DRESS}:{_DRESS}(correct|incorrect|unclear){_DRESS}\.?{_DRESS}",
    re.IGNORECASE,
)


def read(reply: str, finish_reason: str = "stop", tags: Tags = TAGS) -> Verdict:
    """The verdict of the last line, with what is said before it as evidence.

    `unknown` where the reply was cut off, ends otherwise, has two different verdicts, or says that
    it is unclear.

    >>> read("Both are 4.\\nVerdict: correct")
    Verdict(verdict='correct', evidence='Both are 4.')
    >>> read("Verdict: correct\\nOr rather:\\n**Verdict: incorrect**").evidence
    'two different verdicts: Verdict: correct Or rather: **Verdict: incorrect**'
    >>> read("It is not correct.").evidence
    'no last line with a verdict: It is not correct.'
    """
    if finish_reason != "stop":
        return Verdict("unknown", f"the judge's reply ended with {finish_reason}")
    said = split(reply, tags)[1]
    lines = [line for line in said.splitlines() if line.strip()]
    found = [match[1].lower() for line in lines if (match := _VERDICT.fullmatch(line))]
    if not found or not _VERDICT.fullmatch(lines[-1]):
        return Verdict("unknown", f"no last line with a verdict: {_end(said)}")
    if len(set(found)) > 1:
        return Verdict("unknown", f"two different verdicts: {_end(said)}")
    before = _end("\n".join(lines[:-1])) or "no reason given"
    if found[0] == "unclear":
        return Verdict("unknown", f"the judge finds it unclear: {before}")
    return Verdict(cast(Value, found[0]), before)


def _end(text: str, limit: int = 300) -> str:
    """The end of a text, where judges come to the point."""
    line = " ".join(text.split())
    return shorten(line, limit) if len(line) <= limit else f"...{line[3 - limit :]}"
