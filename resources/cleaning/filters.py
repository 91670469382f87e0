"""The filters of an answer that a recipe may ask for: each says why it is not used, or nothing.

A filter takes the answer, what was asked and the recipe's setting, and returns its evidence, or
None where the answer is kept. Each carries its examples.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from resources.cleaning.words import words

RUN = 8  # words that come again in a row
LETTERS = 40  # fewer say no language
_REFUSAL = re.compile(
    r"\W*(?:(?:i'?m|i am) (?:very |really |so )?sorry,? (?:but )?(?:i|as)\b|sorry,? (?:but )?i can|"
    r"i (?:can(?:no|')t|am (?:not able|unable) to|won't) (?:assist|help|provide|fulfil|comply|do)|"
    r"as an ai(?: language model)?\b)",
    re.IGNORECASE,
)
_TAG = re.compile(r"</?think>")


def repetition(answer: str, asked: str, most: float) -> str | None:
    """Answers of which more than the share `most` of the runs of 8 words came before.

    >>> repetition("so it goes on and on and on and " * 9, "", 0.3)
    '88% of its runs of 8 words came before: so it goes on and on and on (9 times)'
    >>> repetition("Each of these words stands here once, and none of them comes again.", "", 0.3)
    """
    spoken = words(answer)
    runs = Counter(tuple(spoken[i : i + RUN]) for i in range(len(spoken) - RUN + 1))
    total = runs.total()
    share = (total - len(runs)) / total if total else 0.0
    if share <= most:
        return None
    run, times = runs.most_common(1)[0]
    return f"{share:.0%} of its runs of {RUN} words came before: {' '.join(run)} ({times} times)"


def refusal(answer: str, asked: str, wanted: bool) -> str | None:
    """Answers that begin by refusing, thinking left aside.

    >>> refusal("<think>\\nHm.\\n</think>\\n\\nI'm sorry, but I can't help with that.", "", True)
    "begins: I'm sorry, but I can't help with that."
    >>> refusal("I am sorry to hear it. Try this.", "", True)
    """
    said = _said(answer)
    return f"begins: {' '.join(said.split())[:80]}" if _REFUSAL.match(said) else None


def too_long(answer: str, asked: str, most: int) -> str | None:
    """Answers of more than `most` words, thinking included.

    >>> too_long("one two three", "", 2), too_long("one two", "", 2)
    ('3 words, at most 2', None)
    """
    count = len(answer.split())
    return f"{count:,} words, at most {most:,}" if count > most else None


def cut_off(answer: str, asked: str, wanted: bool) -> str | None:
    """Answers that end within a fence, a box or their thinking.

    >>> cut_off("Here:\\n```python\\nprint(1)", "", True)
    'a fence is never closed'
    >>> cut_off("It is $\\\\boxed{4", "", True)
    'a box is never closed'
    >>> cut_off("Here:\\n```python\\nprint(1)\\n```\\nIt is $\\\\boxed{\\\\frac{1}{2}}$.", "", True)
    """
    if answer.count("<think>") > answer.count("</think>"):
        return "its thinking never ends"
    if len(re.findall(r"^ {0,3}```", _said(answer), re.MULTILINE)) % 2:
        return "a fence is never closed"
    box = answer.rfind("\\boxed{")
    last = answer[box:] if box >= 0 else ""
    return "a box is never closed" if last.count("{") > last.count("}") else None


def broken_thinking(answer: str, asked: str, wanted: bool) -> str | None:
    """Answers whose thinking tags are no one pair around something, at the start.

    >>> broken_thinking("So </think> 4", "", True)
    '0 <think>, 1 </think>'
    >>> broken_thinking("<think>\\n\\n</think>\\n\\n4", "", True)
    'its thinking is empty'
    >>> broken_thinking("<think>\\n2 + 2\\n</think>\\n\\n4", "", True)
    """
    tags = _TAG.findall(answer)
    if not tags:
        return None
    if tags != ["<think>", "</think>"]:
        return f"{tags.count('<think>')} <think>, {tags.count('</think>')} </think>"
    before, _, rest = answer.partition("<think>")
    thinking, _, _ = rest.partition("</think>")
    if before.strip():
        return f"says something before it thinks: {before.strip()[:40]}"
    return None if thinking.strip() else "its thinking is empty"


def unboxed(answer: str, asked: str, wanted: bool) -> str | None:
    """Answers without a box to questions that ask for one.

    >>> unboxed("It is 4.", "What is 2 + 2? Put it into \\\\boxed{}.", True)
    'asked for a box, and has none'
    >>> unboxed("It is 4.", "What is 2 + 2?", True)
    """
    missing = "\\boxed" in asked and "\\boxed" not in answer
    return "asked for a box, and has none" if missing else None


def other_language(answer: str, asked: str, wanted: Sequence[str]) -> str | None:
    """Answers in none of the languages `wanted` (ISO 639-1), where there are letters enough to say.

    >>> other_language("Das ist ein ganz gewöhnlicher deutscher Satz über das Wetter.", "", ["en"])
    'reads as de, wanted en'
    >>> other_language("This is a quite ordinary English sentence on the weather.", "", ["en"])
    >>> other_language("42", "", ["en"])
    """
    said = _said(answer)[:1000]
    if sum(map(str.isalpha, said)) < LETTERS:
        return None
    found = _language(said)
    return None if found in wanted else f"reads as {found}, wanted {', '.join(wanted)}"


Filter = Callable[[str, str, Any], str | None]
FILTERS: dict[str, Filter] = {
    "broken_thinking": broken_thinking,
    "cut_off": cut_off,
    "too_long": too_long,
    "refusal": refusal,
    "unboxed": unboxed,
    "repetition": repetition,
    "other_language": other_language,
}


def first_reason(answer: str, asked: str, settings: Mapping[str, Any]) -> tuple[str, str] | None:
    """The first filter of `settings` that an answer does not pass, with its evidence.

    >>> first_reason("one two three", "", {"too_long": 2, "refusal": True})
    ('too_long', '3 words, at most 2')
    """
    for name, says in FILTERS.items():
        if name in settings and (evidence := says(answer, asked, settings[name])) is not None:
            return name, evidence
    return None


def first_of_turns(
    turns: Sequence[Mapping[str, str]], settings: Mapping[str, Any]
) -> tuple[str, str] | None:
    """The same of all that the assistant says, each answer to what the user said before it.

    >>> turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "I am here"}]
    >>> first_of_turns(turns, {"too_long": 2})
    ('too_long', '3 words, at most 2')
    """
    asked = ""
    for turn in turns:
        if turn["role"] == "user":
            asked = turn["content"]
        elif turn["role"] == "assistant":
            found = first_reason(turn["content"], asked, settings)
            if found is not None:
                return found
    return None


def _said(answer: str) -> str:
    """What follows the thinking."""
    return answer.rpartition("</think>")[2].lstrip()


def _language(text: str) -> str:
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0  # it draws at random, and must say the same of the same text
    try:
        return str(detect(text))
    except LangDetectException:
        return "no language"
