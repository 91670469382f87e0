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

from resources.chat.encoder import Encoder, Sample, Span
from resources.chat.errors import ChatError
from resources.chat.probing import Habits
from resources.chat.sandbox import Rendered, Template

Message = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    """An assistant turn as at inference: `text` up to where `span` ends is prompt and answer."""

    index: int
    prompt: str
    text: str
    span: Span
    end: str
    marks: tuple[Span, ...]
    learned: bool


class Conversation:
    """Messages bound to a template and its arguments.

    Raises ChatError for a message without a role. A message's `train: False` says that its turn
    carries no loss.
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
        return Sample(text, (), self.escaped)

    def samples(self) -> list[Sample]:
        """One sample of all assistant turns, or one of each where that is not how they read."""
        answers = [self._answer(i) for i, m in enumerate(self.messages) if m["role"] == "assistant"]
        if not answers:
            raise ChatError("the conversation has no assistant turn to learn from")
        last = answers[-1]
        if all(last.text.startswith(one.text[: one.span[1]]) for one in answers):
            spans = [s for a in answers if a.learned for s in self._marked(a, a.span, last.marks)]
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
        plain = self.rendered(generation_prompt=False)
        self._complete(plain.text, len(self.messages))
        text, marks, spans = plain.text, plain.marks, []
        for index, message in enumerate(self.messages):
            if message["role"] != "assistant":
                continue
            answer = self._answer(index)
            if index == len(self.messages) - 1:
                text, marks, span = answer.text, answer.marks, answer.span
            else:
                span = self._within(plain.text, answer)
            if answer.learned:
                spans += self._marked(answer, span, marks)
        return Sample(text, tuple(spans), self.escaped)

    def _answer(self, index: int) -> Answer:
        prompt = self.rendered(index, generation_prompt=True).text if index else ""
        if not index:
            raise ChatError("message 0: a conversation cannot begin with the assistant's turn")
        here = self.rendered(index + 1, generation_prompt=False)
        self._complete(here.text, index)
        if here.text.startswith(prompt) and self._survives(index, prompt, here.text):
            behind = here.text[len(prompt) :]
            ends = self.encoder.written(behind)
            if not ends or behind[ends[-1].end() :].strip():
                raise ChatError(f"message {index}: the template ends it with no turn-end token")
            span = (len(prompt), len(prompt) + ends[-1].end())
            return Answer(
                index, prompt, here.text, span, ends[-1].group(), here.marks, self.learned[index]
            )
        text = prompt + self._response(index, prompt) + self.habits.end
        span = (len(prompt), len(text))
        whole = ((0, len(text)),)
        return Answer(index, prompt, text, span, self.habits.end, whole, self.learned[index])

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

    def _survives(self, index: int, prompt: str, text: str) -> bool:
        """Whether the template writes the whole content behind the prompt."""
        content = self.messages[index].get("content")
        if not isinstance(content, str):
            return True
        opening = prompt[max(len(prompt) - len(self.tags[0]) - 8, 0) :]
        return _squashed(content) in _squashed(opening + text[len(prompt) :])

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
            if json.dumps(content, ensure_ascii=False)[1:-1] not in text:
                raise ChatError(
                    f"message {index}: the chat template drops this {message['role']} turn: "
                    "give a template that writes it, or leave the turn out"
                )


def _squashed(text: str) -> str:
    return "".join(text.split())
