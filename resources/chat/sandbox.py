"""Renders a chat template in transformers' own immutable sandbox, within limits.

Its tags, filters and globals are those of `apply_chat_template`. What differs: the date stands
still, loops are counted, texts cannot be blown up (`growth.py`), nothing is drawn at random, and a
name that nobody gave is refused where it is written. It knows no tokens.
"""

from __future__ import annotations

import datetime
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.utils import missing

from resources.chat import growth
from resources.chat.errors import ChatError

STEPS = 200_000  # turns of loops and macro calls in one rendering …
SECONDS = 20.0  # … and the time they may take
GROWTH = 16  # rendered characters for each character given …
ROOM = 1_000_000  # … and these beside
DATE = datetime.date(2024, 7, 26)  # what Llama 3's own templates write where none is given
_TICK, _JOIN = "heirloom_tick", "heirloom_join"


class NotGiven(jinja2.Undefined):
    """A variable that is not there: it may be tested, as templates do, but not written."""

    def __str__(self) -> str:
        if self._undefined_obj is missing and self._undefined_name is not None:
            raise ChatError(
                f"it writes the variable {self._undefined_name!r}, which is not given: add it to "
                "the arguments of `thinking`, or give another template"
            )
        return super().__str__()


@dataclass(frozen=True)
class Rendered:
    """A text, and the stretches of it (start, end) inside `{% generation %}` marks."""

    text: str
    marks: tuple[tuple[int, int], ...] = ()


class Template:
    """A compiled template with its constant variables (the special tokens) and its date.

    Raises ChatError where the source is no Jinja template.
    """

    def __init__(
        self, source: str, variables: Mapping[str, Any], date: datetime.date | None = None
    ) -> None:
        self.source, self.variables, self.date = source, dict(variables), date
        self.marked = re.search(r"\{%-?\s*generation\s*-?%\}", source) is not None
        self._left, self._deadline = 0, 0.0
        env = _environment()
        env.globals[_TICK] = self._tick
        env.globals["strftime_now"] = (date or DATE).strftime
        try:
            self._compiled = env.from_string(_counted(env.parse(source)))
        except jinja2.TemplateError as error:
            raise ChatError(f"the chat template is no valid Jinja: {error}") from error
        self._environment = env

    def render(
        self,
        messages: Sequence[Mapping[str, Any]],
        arguments: Mapping[str, Any],
        tools: Sequence[Mapping[str, Any]] | None = None,
        *,
        generation_prompt: bool,
    ) -> Rendered:
        """The text of a conversation, as `apply_chat_template(tokenize=False)` gives it.

        Raises ChatError with the template's own words where it refuses the conversation, and where
        it loops, blows up or writes what is not given.
        """
        given = {**self.variables, **arguments}
        if self.date is not None:
            given.setdefault("date_string", self.date.strftime("%d %b %Y"))
        limit = ROOM + GROWTH * (growth.size(messages) + growth.size(tools))
        blocks: list[str] = []
        marks: list[tuple[int, int]] = []
        self._left, self._deadline, size = STEPS, time.monotonic() + SECONDS, 0
        try:
            with self._environment.activate_tracker(blocks, marks):
                for block in self._compiled.generate(
                    messages=messages,
                    tools=tools,
                    documents=None,
                    add_generation_prompt=generation_prompt,
                    **given,
                ):
                    size += len(block)
                    if size > limit:
                        raise ChatError(f"it writes more than {limit:,} characters")
                    blocks.append(block)
        except ChatError as error:
            raise ChatError(f"the chat template is refused: {error}") from None
        except (RecursionError, MemoryError) as error:
            raise ChatError(f"the chat template is refused: {type(error).__name__}") from None
        except Exception as error:  # whatever a template does to a conversation it was not made for
            raise ChatError(f"the chat template refuses the conversation: {error}") from error
        return Rendered("".join(blocks), tuple(marks))

    def _tick(self) -> str:
        self._left -= 1
        if self._left < 0:
            raise ChatError(f"it loops: more than {STEPS:,} turns of loops for one conversation")
        if time.monotonic() > self._deadline:
            raise ChatError(f"it takes more than {SECONDS:.0f} s for one conversation")
        return ""


def _environment() -> Any:
    """A sandbox of transformers' own making, of nobody else's use."""
    from transformers.utils.chat_template_utils import _compile_jinja_template

    env: Any = _compile_jinja_template("{# an environment of its own #}").environment.overlay(
        undefined=NotGiven
    )
    # The overlay has its own copy of the extension that tracks marks; it must be the one switched.
    for extension in env.extensions.values():
        if hasattr(extension, "activate_tracker"):
            env.activate_tracker = extension.activate_tracker
    env.globals = {**env.globals, "lipsum": growth.at_random, _JOIN: growth.join}
    env.filters = {name: growth.step(name, each) for name, each in env.filters.items()}
    env.filters["random"] = growth.at_random
    operations = {
        "+": growth.plus,
        "*": growth.times,
        "**": growth.power,
        "%": growth.rest,
    }
    env.intercepted_binops = frozenset(operations)
    env.binop_table = {**env.binop_table, **operations}
    env.concat, env.finalize = growth.concat, growth.written
    allowed = env.call

    def call(context: Any, called: Any, /, *args: Any, **kwargs: Any) -> Any:
        growth.method(called, args, kwargs)
        return allowed(context, called, *args, **kwargs)

    env.call = call
    return env


def _counted(template: nodes.Template) -> nodes.Template:
    """The template with a tick at the head of every loop's and macro's body."""
    for node in template.find_all((nodes.For, nodes.Macro, nodes.CallBlock)):
        call = nodes.Call(nodes.Name(_TICK, "load"), [], [], None, None)
        tick: Any = nodes.ExprStmt(call, lineno=node.lineno)
        tick.set_environment(template.environment)
        node.body = [tick, *node.body]  # type: ignore[attr-defined]
    for concat in template.find_all(nodes.Concat):
        whole: Any = nodes.Call(nodes.Name(_JOIN, "load"), concat.nodes, [], None, None)
        whole.set_environment(template.environment)
        concat.nodes = [whole]
    return template
