"""What a template does with conversations, learned by showing it three short ones.

Says what ends an assistant's turn, what stands in the system turn by itself, and what begins every
text; refuses a template that drops turns. It knows no message but its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from resources.chat.encoder import Encoder
from resources.chat.errors import ChatError
from resources.chat.sandbox import Template

_FIRST, _ANSWER, _SECOND, _SYSTEM = "Alpha asks", "Beta answers", "Gamma asks", "Delta rules"


@dataclass(frozen=True)
class Habits:
    """What a template does with whatever it is given.

    `end` is the special token that ends an assistant's turn, `begin` the one that begins every text
    and nothing else (None where there is none). `system` says whether system turns are written, and
    `default_system` what stands in the system turn where a conversation has none. `closing` is what
    ends an answer that stands last, where the template leaves that out; `unasked` what stands
    behind it there all the same: the generation prompt, which some templates always write.
    """

    end: str
    closing: str
    unasked: str
    begin: str | None
    system: bool
    default_system: str


def probe(template: Template, encoder: Encoder, arguments: Mapping[str, Any]) -> Habits:
    """The habits of a template.

    Raises ChatError where it refuses a question, an answer and another question, shows less than
    all of them in their order, or ends the answer with no special token.
    """
    first = {"role": "user", "content": _FIRST}
    answer = {"role": "assistant", "content": _ANSWER}
    second = {"role": "user", "content": _SECOND}

    def shown(*turns: Mapping[str, str]) -> str:
        return template.render(list(turns), arguments, generation_prompt=False).text

    whole, asked, answered = shown(first, answer, second), shown(first), shown(first, answer)
    places = [whole.find(words) for words in (_FIRST, _ANSWER, _SECOND)]
    if min(places) < 0 or sorted(places) != places:
        lost = [w for w, place in zip((_FIRST, _ANSWER, _SECOND), places, strict=True) if place < 0]
        raise ChatError(
            "the chat template is refused: of a question, an answer and another question it "
            f"{'drops turn ' + repr(lost[0]) if lost else 'changes the order'}; it must write all"
        )
    end, closing = _end(encoder, answered, whole)
    return Habits(
        end=end,
        closing=closing,
        unasked=_unasked(answered, asked, end),
        begin=_begin(encoder, whole),
        **_system_turn(template, arguments, first, asked),
    )


def _end(encoder: Encoder, answered: str, whole: str) -> tuple[str, str]:
    """The first special token behind the answer, as the last turn or else as an earlier one; and
    what the last turn lacks of that."""
    last = answered[answered.index(_ANSWER) + len(_ANSWER) :]
    if found := encoder.written(last):
        return found[0].group(), ""
    earlier = whole[whole.index(_ANSWER) + len(_ANSWER) : whole.index(_SECOND)]
    if found := encoder.written(earlier):
        ended = earlier[: found[0].end()]
        return found[0].group(), ended[len(last) :] if ended.startswith(last) else ""
    raise ChatError(
        "the chat template is refused: it ends an assistant's turn with no special token, so a "
        "model could not learn to stop: give one that does, as in {path: …, template: ./chat.jinja}"
    )


def _unasked(answered: str, asked: str, end: str) -> str:
    """What follows the end of an answer and the question alike, though nothing is asked for."""
    behind = answered[answered.rindex(_ANSWER) + len(_ANSWER) :].partition(end)[2]
    return behind if behind.strip() and asked.endswith(behind) else ""


def _begin(encoder: Encoder, whole: str) -> str | None:
    """The special token at the start, unless it comes again: then it begins turns, not texts."""
    found = encoder.written(whole)
    if not found or found[0].start() != 0:
        return None
    begin = found[0].group()
    return None if any(one.group() == begin for one in found[1:]) else begin


def _system_turn(
    template: Template, arguments: Mapping[str, Any], first: Mapping[str, str], asked: str
) -> dict[str, Any]:
    system = {"role": "system", "content": _SYSTEM}
    try:
        text = template.render([system, first], arguments, generation_prompt=False).text
    except ChatError:
        text = ""
    if _SYSTEM not in text:
        return {"system": False, "default_system": ""}
    before, _, behind = text.partition(_SYSTEM)
    default = ""
    if (
        asked.startswith(before)
        and asked.endswith(behind)
        and len(asked) > len(before) + len(behind)
    ):
        default = asked[len(before) : len(asked) - len(behind)]
    return {"system": True, "default_system": default}
