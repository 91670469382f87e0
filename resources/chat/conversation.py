"""One conversation and one template: its prompts, its assistant turns, and what of them is learned.

An assistant's span runs from the end of the generation prompt for the turns before it to its
turn-end token. Works on text with contents escaped; knows no token ids.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.chat import calls
from resources.chat.calls import TOOL
from resources.chat.encoder import Encoder, Sample, Span
from resources.chat.errors import ChatError, ToolsLost
from resources.chat.probing import Habits
from resources.chat.sandbox import Rendered, Template

Message = Mapping[str, Any]
# Words of a system turn that templates obey and take out (SmolLM3's).
FLAGS = ("/system_override", "/no_think", "/think")


@dataclass(frozen=True)
class Answer:
    """An assistant turn as at inference: `text` up to where `span` ends is prompt and answer.

    `index` is its message's, `end` its turn-end token, `marks` what of `text` lies in
    `{% generation %}` marks, `learned` whether it carries loss.
    """

    index: int
    prompt: str
    text: str
    span: Span
    end: str
    marks: tuple[Span, ...]
    learned: bool


class Conversation:
    """Messages bound to a template and its arguments, and the tools that are offered in it.

    Raises ChatError for a message without a role. A message's `train: False` says that its turn
    carries no loss. What is made of it raises ToolsLost where the template leaves out a tool, a
    call's name or argument, or a result.
    """

    def __init__(
        self,
        messages: Sequence[Message],
        tools: Sequence[Mapping[str, Any]] | None,
        arguments: Mapping[str, Any],
        template: Template,
        habits: Habits,
        encoder: Encoder,
        tags: tuple[str, str],
    ) -> None:
        for index, message in enumerate(messages):
            if not isinstance(message.get("role"), str):
                raise ChatError(f"message {index}: it has no role ({sorted(message)})")
        if not messages:
            raise ChatError("a conversation needs at least one message")
        self.learned = [message.get("train", True) is not False for message in messages]
        shown = [{k: v for k, v in message.items() if k != "train"} for message in messages]
        (self.messages, self.tools), self.escaped = encoder.escape((shown, tools))
        self.arguments, self.template, self.habits = arguments, template, habits
        self.encoder, self.tags = encoder, tags

    def rendered(self, turns: int | None = None, *, generation_prompt: bool) -> Rendered:
        """The first `turns` messages as the template writes them."""
        messages = self.messages[: len(self.messages) if turns is None else turns]
        return self.template.render(
            messages, self.arguments, self.tools, generation_prompt=generation_prompt
        )

    def prompt(self) -> Sample:
        """All messages and the generation prompt."""
        text = self.rendered(generation_prompt=True).text
        self._complete(text, len(self.messages))
        self._offered(text, len(self.messages))
        return Sample(text, (), self.escaped)

    def samples(self) -> list[Sample]:
        """One sample of all assistant turns, or one of each where that is not how they read."""
        answers = [self._answer(i) for i, m in enumerate(self.messages) if m["role"] == "assistant"]
        if not answers:
            raise ChatError("the conversation has no assistant turn to learn from")
        last = answers[-1]
        self._offered(last.prompt, last.index)
        if all(last.text.startswith(one.text[: one.span[1]]) for one in answers):
            spans = [s for a in answers if a.learned for s in self._marked(a, a.span, a.marks)]
            return [Sample(last.text, tuple(spans), self.escaped)]
        return [
            Sample(one.text, tuple(self._marked(one, one.span, one.marks)), self.escaped)
            for one in answers
            if one.learned
        ]

    def whole(self) -> Sample:
        """The conversation as one text, with the span of every assistant turn in it.

        A turn that reads otherwise once others follow counts where it stands: from the end of its
        generation prompt, or of that but for the thinking it opens. Raises ChatError where a turn
        does not follow its generation prompt at all.
        """
        last = len(self.messages) - 1
        final = self._answer(last) if self.messages[last]["role"] == "assistant" else None
        if final is not None:
            text, marks = final.text, final.marks
        else:
            plain = self.rendered(generation_prompt=False)
            text, marks = plain.text, plain.marks
        self._complete(text, len(self.messages))
        self._offered(text, len(self.messages), generation_prompt=False)
        spans = []
        for index, message in enumerate(self.messages):
            if message["role"] != "assistant":
                continue
            answer = final if final is not None and index == last else self._answer(index)
            span = answer.span if answer is final else self._within(text, answer)
            if answer.learned:
                spans += self._marked(answer, span, marks)
        return Sample(text, tuple(spans), self.escaped)

    def _answer(self, index: int) -> Answer:
        if not index:
            raise ChatError("message 0: a conversation cannot begin with the assistant's turn")
        prompt = self.rendered(index, generation_prompt=True).text
        self._complete(prompt, index)
        here = self.rendered(index + 1, generation_prompt=False)
        behind = self._behind(index, prompt, here.text)
        if behind is None:
            text = prompt + self._response(index, prompt) + self.habits.end
            span, whole = (len(prompt), len(text)), ((0, len(text)),)
            return Answer(index, prompt, text, span, self.habits.end, whole, self.learned[index])
        marks = here.marks
        if not here.text.startswith(prompt):
            moved, first = len(prompt) + len(behind) - len(here.text), len(here.text) - len(behind)
            own = ((start + moved, end + moved) for start, end in marks if start >= first)
            marks = ((0, len(prompt)), *own)
        behind = behind.removesuffix(self.habits.unasked)
        if not self.encoder.written(behind):
            behind += self.habits.closing
        end = self._end(index, behind)
        span = (len(prompt), len(prompt) + end.end())
        text = prompt + behind
        return Answer(index, prompt, text, span, end.group(), marks, self.learned[index])

    def _behind(self, index: int, prompt: str, text: str) -> str | None:
        """What the template writes behind the generation prompt once the answer is there.

        Mistral's templates write the system turn into the last question alone, so that an answered
        one reads otherwise: the answer is what follows that question and what opens the answer.
        None where the answer does not stand there whole.
        """
        if text.startswith(prompt):
            behind = text[len(prompt) :]
            if missing := self._uncalled(index, behind):
                raise ToolsLost(
                    f"message {index}: the chat template drops {missing} of its calls: write "
                    "calls as text, or give a template that writes them"
                )
            return behind if self._survives(index, prompt, behind) else None
        asked = self.messages[index - 1].get("content")
        place = prompt.rfind(asked.strip()) if isinstance(asked, str) and asked.strip() else -1
        start = text.find(prompt[place:]) if place >= 0 else -1
        while start >= 0:
            behind = text[start + len(prompt) - place :]
            answer = _squashed(str(self.messages[index].get("content")))
            if _squashed(behind).startswith(answer) and not self._uncalled(index, behind):
                return behind
            start = text.find(prompt[place:], start + 1)
        return None

    def _end(self, index: int, behind: str) -> re.Match[str]:
        """The turn-end token of an answer: nothing but further special tokens may follow it."""
        found = self.encoder.written(behind)
        ends = [one for one in found if one.group() == self.habits.end] or found
        rest = behind[ends[-1].end() :] if ends else behind
        for one in found:
            rest = rest.replace(one.group(), "")
        if not ends or rest.strip():
            raise ChatError(f"message {index}: the template ends it with no turn-end token")
        return ends[-1]

    def _response(self, index: int, prompt: str) -> str:
        """What the model writes behind the prompt, where the template shows it otherwise."""
        message, (opened, closed) = self.messages[index], self.tags
        content = message.get("content")
        if not isinstance(content, str) or message.get("tool_calls"):
            raise ChatError(
                f"message {index}: the template does not write it behind its generation prompt, "
                "and it is not plain text, so what the model must write cannot be told"
            )
        content = content.strip()
        written = prompt.rstrip()
        if written.endswith(opened):
            if content.startswith(opened):
                return content.removeprefix(opened).removeprefix(prompt[len(written) :])
            if closed in content:
                return content
            raise ChatError(
                f"message {index}: the generation prompt opens {opened}, but the turn has no "
                f"thinking to close: write {opened}…{closed} before the answer"
            )
        if written.endswith(closed) and (opened in content or closed in content):
            raise ChatError(
                f"message {index}: it thinks, but its generation prompt has closed the thinking: "
                "train it with thinking on"
            )
        return content

    def _survives(self, index: int, prompt: str, behind: str) -> bool:
        """Whether the template writes the whole content behind the prompt."""
        content = self.messages[index].get("content")
        if not isinstance(content, str):
            return True
        opening = prompt[max(len(prompt) - len(self.tags[0]) - 8, 0) :]
        return _squashed(content) in _squashed(opening + behind)

    def _uncalled(self, index: int, behind: str) -> str:
        """The first name or value of the message's calls that is not in the text; "" where all
        are."""
        for name, arguments in calls.of(self.messages[index]):
            for value in (name, *calls.values(arguments)):
                if not any(each in behind for each in calls.spellings(value)):
                    return json.dumps(value, ensure_ascii=False)
        return ""

    def _within(self, text: str, answer: Answer) -> Span:
        """Where an earlier turn stands in the text of all of them."""
        opened, closed = map(re.escape, self.tags)
        bare = re.sub(rf"{opened}\s*({closed}\s*)?$", "", answer.prompt)
        start = next((len(p) for p in (answer.prompt, bare) if text.startswith(p)), None)
        end = -1 if start is None else text.find(answer.end, start)
        if start is None or end < 0:
            raise ChatError(
                f"message {answer.index}: once others follow, the template does not write it "
                "behind its generation prompt, so what the model must write cannot be told; give "
                "the conversation up to this turn alone"
            )
        return start, end + len(answer.end)

    def _marked(self, answer: Answer, span: Span, marks: Sequence[Span]) -> list[Span]:
        """The parts of a span that lie in `{% generation %}` marks, where the template has any.

        The turn-end token right behind a mark belongs to it.
        """
        if not self.template.marked:
            return [span]
        start, end = span
        kept = []
        for first, last in marks:
            upto = end if last == end - len(answer.end) else min(last, end)
            if max(first, start) < upto:
                kept.append((max(first, start), upto))
        return kept

    def _complete(self, text: str, turns: int) -> None:
        """Raise ChatError where a turn that is not the assistant's is not in the text."""
        for index, message in enumerate(self.messages[:turns]):
            content = message.get("content")
            if message["role"] == "assistant" or not isinstance(content, str):
                continue
            if content.strip() in text or _squashed(content) in _squashed(text):
                continue
            if message["role"] == "system" and _squashed(unflagged(content)) in _squashed(text):
                continue
            if json.dumps(content, ensure_ascii=False)[1:-1] not in text:
                kind = ToolsLost if message["role"] == TOOL else ChatError
                raise kind(
                    f"message {index}: the chat template drops this {message['role']} turn: "
                    "give a template that writes it, or leave the turn out"
                )

    def _offered(self, text: str, turns: int, *, generation_prompt: bool = True) -> None:
        """Raise ToolsLost where a tool is named in the text no more often than without the list."""
        if not self.tools:
            return
        bare = self.template.render(
            self.messages[:turns], self.arguments, generation_prompt=generation_prompt
        ).text
        for name in calls.names(self.tools):
            if text.count(name) <= bare.count(name):
                raise ToolsLost(
                    f"the chat template drops the tools that are offered, such as {name!r}: write "
                    "them as text, or give a template that writes them"
                )


def unflagged(text: str) -> str:
    """A system turn without the words that a template may take out of it."""
    for flag in FLAGS:
        text = text.replace(flag, "")
    return text.strip()


def _squashed(text: str) -> str:
    return "".join(text.split())
