"""The reasoning toggle: split a response into thinking and answer, and say if it obeyed.

With `detailed thinking on` a response is `<think>\\n...\\n</think>\\n\\n<answer>`; with
`detailed thinking off` it has no think tag at all (arXiv 2505.00949, sections 3 and 5.1).
"""

OPEN = "<think>"
CLOSE = "</think>"
MODES = ("on", "off")


def split(response: str) -> tuple[str, str]:
    """The thinking and the answer of a response, both stripped of outer white space.

    Everything up to the last closing tag is thinking. A thinking that never closes (a truncated
    response) leaves an empty answer; a response without tags is all answer.

    >>> split("<think>\\n2+2=4\\n</think>\\n\\n4")
    ('2+2=4', '4')
    >>> split("4")
    ('', '4')
    >>> split("<think>\\n2+2")
    ('2+2', '')
    """
    thinking, closed, answer = response.rpartition(CLOSE)
    if not closed:
        before, opened, thinking = response.partition(OPEN)
        return (thinking.strip(), before.strip()) if opened else ("", response.strip())
    return thinking.strip().removeprefix(OPEN).strip(), answer.strip()


def follows_toggle(response: str, reasoning: str) -> bool:
    """Whether a response obeys the toggle `reasoning` ("on" or "off").

    On: exactly one thinking with something in it, at the start; its opening tag may be missing, as
    the prompt of some templates writes it. Off: no think tag. Raises ValueError for another mode.

    >>> follows_toggle("<think>\\na\\n</think>\\n\\nb", "on")
    True
    >>> follows_toggle("<think>\\n\\n</think>\\n\\nb", "on")
    False
    >>> follows_toggle("a\\n</think>\\n\\nb", "on")
    True
    >>> follows_toggle("b", "off")
    True
    """
    if reasoning not in MODES:
        raise ValueError(f"reasoning is {reasoning!r}; it must be 'on' or 'off'")
    opened, closed = response.count(OPEN), response.count(CLOSE)
    if reasoning == "off":
        return opened == 0 and closed == 0
    thinking = response.partition(CLOSE)[0].strip()
    if closed != 1 or opened > 1 or (opened and not thinking.startswith(OPEN)):
        return False
    return bool(thinking.removeprefix(OPEN).strip())
