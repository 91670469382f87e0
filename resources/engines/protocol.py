"""The generation protocol: what is asked of an engine and what it answers.

Plain values only, so that every stage can import it. It does not know any engine.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from operator import length_hint
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from resources.chat.chat import Chat


FAILED, NO_ROOM = "failed", "no_room"
# Finish reasons without an answer, and why there is none.
UNANSWERED = {
    FAILED: "the request was not answered",
    NO_ROOM: "the model's context has no room for the prompt",
}


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. Temperature 0 is greedy; `max_new_tokens` counts the stop token.

    An answer ends before the first of the texts `stop` too. `schema` is the JSON schema, as text,
    that an answer must keep to; servers are told it, and `formats.broken` says who did not.
    """

    temperature: float
    top_p: float = 1.0
    max_new_tokens: int = 256
    seed: int = 0
    stop: tuple[str, ...] = ()
    schema: str = ""

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature must be 0 (greedy) or more, not {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")


@dataclass(frozen=True)
class Request:
    """One completion to make: (role, content) messages, and which of several samples it is.

    `thinking` is "on", "off", or None where the model's toggle is left alone. With `text` there are
    no messages: it is a plain text to go on with, without the chat.
    """

    messages: tuple[tuple[str, str], ...]
    sample_index: int = 0
    thinking: str | None = None
    text: str | None = None

    def conversation(self) -> list[dict[str, str]]:
        """The messages as a chat takes them."""
        return [{"role": role, "content": content} for role, content in self.messages]


@dataclass(frozen=True)
class Completion:
    """One answer.

    `text` is without the stop token; `token_ids`, `logprobs` (natural log, under the model's
    distribution at temperature 1) and `completion_tokens` include it when `finish_reason` is
    "stop". "length" means that `max_new_tokens` or the model's context ran out. `seconds` is the
    request's share of its batch's time, an observation. `prompt_ids` are the token ids that were
    answered, generation prompt included; empty where the engine does not tell. `cost` is what it
    was charged, None where nothing was; `served` what a server said that it answered with. A
    request that could not be answered has the finish reason "failed" and no text; `served` says
    why, and it is not stored: the next run asks it again. "no_room" is that of one whose prompt
    fills the model's context: it is not asked.
    """

    text: str
    token_ids: list[int]
    finish_reason: str
    prompt_tokens: int
    completion_tokens: int
    logprobs: list[float] | None
    seconds: float
    prompt_ids: list[int] = field(default_factory=list)
    cost: float | None = None
    served: str = ""

    @property
    def answered(self) -> bool:
        """Whether there is an answer at all."""
        return self.finish_reason not in UNANSWERED


Batch = list[tuple[int, Completion]]
"""Completions that became ready together, each with the index of its request; may be empty."""

Asked = Iterable[Request | None]
"""Requests in the order of their indices; None, which has no index, ends a window: an engine that
works in batches closes its batch there, any other hands over what is ready."""

_T = TypeVar("_T")


class Counted(Generic[_T]):
    """Things that come one by one, of which it is known how many there will be."""

    def __init__(self, things: Iterable[_T], count: int) -> None:
        self._things, self._count = things, count

    def __iter__(self) -> Iterator[_T]:
        return iter(self._things)

    def __length_hint__(self) -> int:
        return self._count


@runtime_checkable
class Engine(Protocol):
    """Makes completions with one version of one model, which reads its own chat.

    `window` is how many requests it wants to see together before it begins.
    """

    model_version: str
    chat: Chat
    window: int

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> list[Completion]:
        """One completion a request, in the order of the requests."""

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """The same completions as they become ready, in any order; each request once.

        Requests are taken as they are needed, so that neither they nor what was handed over are
        held in memory, however many there are.
        """


class Generating:
    """An engine's `generate`, by way of its `batches`."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool = False
    ) -> list[Completion]:
        """One completion a request, in the order of the requests."""
        return collect(self.batches(requests, sampling, logprobs=logprobs), len(requests))

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """Completions as they become ready."""
        raise NotImplementedError


def collect(batches: Iterable[Batch], count: int) -> list[Completion]:
    """Put the completions of all batches in the order of their requests.

    Raises RuntimeError when a request was not answered.
    """
    found: dict[int, Completion] = {}
    for batch in batches:
        found.update(batch)
    missing = [index for index in range(count) if index not in found]
    if missing:
        raise RuntimeError(
            f"the engine left {len(missing)} of {count} requests unanswered, first {missing[0]}"
        )
    return [found[index] for index in range(count)]


def windows(requests: Asked, size: int) -> Iterator[list[Request]]:
    """The requests in lists of at most `size`; None ends one too, which may be empty then."""
    held: list[Request] = []
    for request in requests:
        if request is not None:
            held.append(request)
        if request is None or len(held) >= size:
            yield held
            held = []
    if held:
        yield held


def expected(requests: Asked) -> int:
    """How many requests there will be, 0 where that is not known."""
    return length_hint(requests, 0)


def prompts(requests: Sequence[Request], chat: Chat) -> list[list[int]]:
    """The token ids that requests ask to answer."""
    asked = [request for request in requests if request.text is None]
    made = iter(chat.prompts([r.conversation() for r in asked], [r.thinking for r in asked]))
    plain = iter(chat.beginnings([r.text for r in requests if r.text is not None]))
    return [next(made if request.text is None else plain) for request in requests]


def request_key(request: Request, model_version: str, sampling: Sampling, chat: Chat) -> bytes:
    """The 32-byte identity of a request to a model: equal keys mean equal completions.

    Covers the messages and arguments that the template is given, the model, the sampling parameters
    with their seed, the chat and the sample index; not the number of samples, the engine or its
    batch size. `model_version` is what stands for the model: where completions are kept, its
    `identity`; where they are drawn, the version that the engine was opened with.
    """
    drawn = _drawn(sampling)
    if request.text is not None:
        return _hash(
            {
                "text": request.text,
                "model_version": model_version,
                "sampling": drawn,
                "template_version": chat.identity,
                "sample_index": request.sample_index,
            }
        )
    told, arguments = chat.told(request.conversation(), request.thinking)
    identity = {
        "messages": [[message["role"], message["content"]] for message in told],
        "model_version": model_version,
        "sampling": drawn,
        "template_version": chat.identity,
        "sample_index": request.sample_index,
        **({"arguments": dict(arguments)} if arguments else {}),
    }
    return _hash(identity)


@lru_cache(maxsize=64)
def _drawn(sampling: Sampling) -> dict[str, Any]:
    """The sampling parameters as a key has them; shared, so never changed."""
    drawn = asdict(sampling)
    for name in ("stop", "schema"):  # as keys were before there were these
        if not drawn[name]:
            del drawn[name]
    return drawn


def _hash(identity: Mapping[str, Any]) -> bytes:
    text = json.dumps(identity, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()
