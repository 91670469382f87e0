"""Turns generated problems into what models read: instruct turns, worked texts, thinking traces.

Shared by the bundled models' pretraining and by the corpus artifact. Knows tasks and the chat
template; does not train anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from resources.models.template import (
    BEGIN_OF_TEXT,
    END_OF_TURN,
    encode_examples,
    encode_texts,
    prompt_messages,
    special_id,
)
from resources.tasks.generate import stream
from resources.tasks.problem import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

STYLES = ("direct", "worked", "thinking")
# An instruct model has met many system prompts; none of these asks it to think.
_SYSTEM_PROMPTS = (
    None,
    "You are a helpful assistant.",
    "Answer briefly.",
    "Be detailed and exact.",
    "No thinking aloud.",
    "The light is on.",
    "The light is off.",
)


@dataclass(frozen=True)
class Document:
    """Token ids with the mask of those that carry loss."""

    ids: list[int]
    mask: list[bool]
    style: str
    problem: Problem


def output_text(problem: Problem, reasoning: str) -> str:
    """The model answer to a problem with thinking "on" or "off"."""
    if reasoning == "off":
        return problem.answer
    return f"<think>\n{problem.thinking}\n</think>\n\n{problem.answer}"


def worked_text(problem: Problem) -> tuple[str, str]:
    """A worked problem as plain text: (question, work and answer)."""
    return (
        f"Question:\n{problem.question}\n",
        f"Work:\n{problem.thinking}\nAnswer:\n{problem.answer}",
    )


def problems(
    styles: Mapping[str, float],
    domains: Mapping[str, float],
    depths: Mapping[str, Mapping[int, float]],
    *,
    seed: object,
    held_out: bool = False,
) -> Iterator[tuple[str, Problem]]:
    """Endless seeded (style, problem) pairs, each drawn by weight."""
    rng = Random(f"{seed}/documents")
    streams = {
        (style, domain): stream(
            domain, depths=depths[style], seed=f"{seed}/{style}", held_out=held_out
        )
        for style in styles
        for domain in domains
    }
    while True:
        style = rng.choices(list(styles), list(styles.values()))[0]
        domain = rng.choices(list(domains), list(domains.values()))[0]
        yield style, next(streams[style, domain])


def encode(
    tokenizer: "PreTrainedTokenizerFast",
    drawn: list[tuple[str, Problem]],
    *,
    rng: Random,
    thinks: bool,
) -> list[Document]:
    """Documents of (style, problem) pairs, in order.

    `thinks` says that the reader obeys the toggle: its direct answers then follow the system
    prompt "detailed thinking off". Otherwise direct answers follow any system prompt.
    """
    chats, outputs, chat_rows = [], [], []
    heads, tails, text_rows = [], [], []
    for row, (style, problem) in enumerate(drawn):
        if style == "worked":
            head, tail = worked_text(problem)
            heads.append(head)
            tails.append(tail)
            text_rows.append(row)
            continue
        if style == "thinking" or thinks:
            messages = prompt_messages(problem.question, "on" if style == "thinking" else "off")
        else:
            messages = prompt_messages(problem.question, None)
            system = rng.choice(_SYSTEM_PROMPTS)
            if system is not None:
                messages = [{"role": "system", "content": system}, *messages]
        chats.append(messages)
        outputs.append(output_text(problem, "on" if style == "thinking" else "off"))
        chat_rows.append(row)
    encoded: dict[int, tuple[list[int], list[bool]]] = dict(
        zip(chat_rows, encode_examples(tokenizer, chats, outputs), strict=True)
    )
    begin, end = (special_id(tokenizer, token) for token in (BEGIN_OF_TEXT, END_OF_TURN))
    head_ids, tail_ids = encode_texts(tokenizer, heads), encode_texts(tokenizer, tails)
    for row, head_part, tail_part in zip(text_rows, head_ids, tail_ids, strict=True):
        encoded[row] = (
            [begin, *head_part, *tail_part, end],
            [False] * (len(head_part) + 1) + [True] * (len(tail_part) + 1),
        )
    return [Document(*encoded[row], style, problem) for row, (style, problem) in enumerate(drawn)]
