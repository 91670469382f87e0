"""Turns generated problems into what models read: instruct turns, worked texts, thinking traces.

Shared by the bundled models' pretraining and by the corpus artifact. Knows tasks and chats; does
not train anything.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random

from resources.chat.chat import Chat
from resources.chat.errors import ChatError
from resources.chat.pieces import Piece
from resources.chat.pieces import encode as encode_pieces
from resources.tasks.generate import stream
from resources.tasks.problem import Problem

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


def pieces(drawn: list[tuple[str, Problem]], *, rng: Random, thinks: bool) -> list[Piece]:
    """What is read of (style, problem) pairs, in order.

    `thinks` says that the reader obeys the toggle: its direct answers are then asked with thinking
    off. Otherwise direct answers follow any system prompt.
    """
    made = []
    for style, problem in drawn:
        if style == "worked":
            context, text = worked_text(problem)
            made.append(Piece(text=text, context=context))
            continue
        mode = "on" if style == "thinking" else "off"
        messages = [
            {"role": "user", "content": problem.question},
            {"role": "assistant", "content": output_text(problem, mode)},
        ]
        if style == "thinking" or thinks:
            made.append(Piece(messages, thinking=mode))
            continue
        system = rng.choice(_SYSTEM_PROMPTS)
        turn = [] if system is None else [{"role": "system", "content": system}]
        made.append(Piece([*turn, *messages]))
    return made


def encode(
    chat: Chat, drawn: list[tuple[str, Problem]], *, rng: Random, thinks: bool
) -> list[Document]:
    """`pieces` as documents of token ids. Raises ChatError where the chat cannot read one."""
    found = []
    for (style, problem), made in zip(
        drawn, encode_pieces(chat, pieces(drawn, rng=rng, thinks=thinks)), strict=True
    ):
        if isinstance(made, ChatError):
            raise made
        found += [Document(ids, mask, style, problem) for ids, mask in made]
    return found
