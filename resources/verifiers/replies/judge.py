"""What a judge's reply says. It fails closed: whatever is not plainly a verdict is `unknown`."""

from __future__ import annotations

from typing import cast

from resources.verifiers.reasoning import TAGS, Tags
from resources.verifiers.replies import last_line
from resources.verifiers.verdict import Value, Verdict

_VALUES = "correct|incorrect|unclear"


def read(reply: str, finish_reason: str = "stop", tags: Tags = TAGS) -> Verdict:
    """The verdict of the last line, with what is said before it as evidence.

    `unknown` where the reply was cut off, ends otherwise, has two different verdicts, or says that
    it is unclear.

    >>> read("Both are 4.\\nVerdict: correct")
    Verdict(verdict='correct', evidence='Both are 4.')
    >>> read("Verdict: correct\\nOr rather:\\n**Verdict: incorrect**").evidence
    'two different lines with a verdict: Verdict: correct Or rather: **Verdict: incorrect**'
    >>> read("It is not correct.").evidence
    'no last line with a verdict: It is not correct.'
    """
    who = "the judge's reply"
    said, why = last_line.read(reply, "verdict", _VALUES, who, finish_reason, tags)
    if said is None:
        return Verdict("unknown", why)
    if said == "unclear":
        return Verdict("unknown", f"the judge finds it unclear: {why}")
    return Verdict(cast(Value, said), why)
