"""The reasoning toggle: split a response into thinking and answer, and say if it obeyed.

Asked to think, a response is the thinking between two tags, a blank line and the answer; asked not
to, it has no tag at all (arXiv 2505.00949, sections 3 and 5.1). The tags are the model's own
(`Chat.toggle`); text that models share has `<think>` and `</think>`.
"""

from resources.chat.toggle import MODES, TAGS

Tags = tuple[str, str]


def split(response: str, tags: Tags = TAGS) -> tuple[str, str]:
    """The thinking and the answer of a response, both stripped of outer white space.

    Everything up to the last closing tag is thinking. A thinking that never closes (a truncated
    response) leaves an empty answer; a response without tags is all answer.

    >>> split("<think>\\n2+2=4\\n</think>\\n\\n4")
    ('2+2=4', '4')
    >>> split("4")
    ('', '4')
    >>> split("<think>\\n2+2")
    ('2+2', '')
    >>> split("[THINK]2+2=4[/THINK]4", ("[THINK]", "[/THINK]"))
    ('2+2=4', '4')
    """
    opening, closing = tags
    thinking, closed, answer = response.rpartition(closing)
    if not closed:
        before, opened, thinking = response.partition(opening)
        return (thinking.strip(), before.strip()) if opened else ("", response.strip())
    return thinking.strip().removeprefix(opening).strip(), answer.strip()


def follows_toggle(response: str, reasoning: str, tags: Tags = TAGS) -> bool:
    """Whether a response obeys the toggle `reasoning` ("on" or "off").

    On: exactly one thinking with something in it, at the start; its opening tag may be missing, as
    the prompt of some templates writes it. Off: no tag. Raises ValueError for another mode.

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
    opening, closing = tags
    opened, closed = response.count(opening), response.count(closing)
    if reasoning == "off":
        return opened == 0 and closed == 0
    thinking = response.partition(closing)[0].strip()
    if closed != 1 or opened > 1 or (opened and not thinking.startswith(opening)):
        return False
    return bool(thinking.removeprefix(opening).strip())


def retagged(response: str, tags: Tags, then: Tags) -> str:
    """The response with the tags `then` in the place of `tags`.

    >>> retagged("[THINK]a[/THINK]b", ("[THINK]", "[/THINK]"), ("<think>", "</think>"))
    '<think>a</think>b'
    """
    if tags == then:
        return response
    return response.replace(tags[0], then[0]).replace(tags[1], then[1])
