"""Which of several answers a model chooses, asked in two orders. It fails closed: a choice counts
where both replies plainly name the same answer."""

from __future__ import annotations

from resources.verifiers.replies.last_line import read

Reply = tuple[str, str]  # the text, and its finish reason


def chosen(reply: Reply, turned: Reply, count: int) -> tuple[int | None, str]:
    """The place of the chosen one of `count` answers, from 0, and what was said for it.

    `turned` is the reply to the same answers in reverse order. None, and why, where a reply is
    not plainly a choice or both choose differently.

    >>> chosen(("The second adds up.\\nChoice: 2", "stop"), ("Choice: 1", "stop"), 2)
    (1, 'The second adds up.')
    >>> chosen(("Choice: 1", "stop"), ("Choice: 1", "stop"), 2)
    (None, 'contradicts itself: answer 1 in one order, answer 2 in the other')
    """
    places: list[int] = []
    reasons: list[str] = []
    for (text, finish_reason), order in ((reply, "first"), (turned, "turned")):
        place, why = _place(text, finish_reason, count)
        if place is None:
            return None, f"{order} order: {why}"
        places.append(place)
        reasons.append(why)
    one, other = places[0], count - 1 - places[1]
    if one != other:
        said = f"answer {one + 1} in one order, answer {other + 1} in the other"
        return None, f"contradicts itself: {said}"
    return one, reasons[0]


def _place(text: str, finish_reason: str, count: int) -> tuple[int | None, str]:
    number, why = read(text, "choice", "[0-9]{1,4}", "the reply", finish_reason)
    if number is None:
        return None, why
    place = int(number) - 1
    return (place, why) if 0 <= place < count else (None, f"there is no answer {number}: {why}")
