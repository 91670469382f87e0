"""What is sent to an OpenAI-compatible server and what comes back, as plain values.

A request becomes a body, a body becomes a completion; thinking comes in one form, however a server
gives it. Knows no connection.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from resources.engines.protocol import Completion, Request, Sampling
from resources.engines.server.errors import Again, EngineError, NoRoom, Refused
from resources.engines.stopping import cut

CHAT, TEXT = "chat/completions", "completions"
_REASONING = ("reasoning_content", "reasoning")
_FINISHED = {"length": "length", "max_tokens": "length"}


@dataclass(frozen=True)
class Price:
    """What a million tokens of prompts and of completions cost, in any currency."""

    prompt: float
    completion: float

    def of(self, prompt_tokens: int, completion_tokens: int) -> float:
        """The cost of an answer."""
        return (self.prompt * prompt_tokens + self.completion * completion_tokens) / 1e6


@dataclass(frozen=True)
class Served:
    """What a server says of the model that is asked: `vllm` whether it is vLLM, which takes token
    ids and gives them back; `context` in tokens, None where it does not say."""

    model: str
    vllm: bool = False
    context: int | None = None


def body(
    request: Request,
    chat: Any,
    served: Served,
    sampling: Sampling,
    seed: int,
    *,
    logprobs: bool,
    ids: Sequence[int] = (),
) -> tuple[str, dict[str, Any]]:
    """The path below /v1 and the JSON body of a request; of token ids, where there are any.

    Raises NoRoom where these fill the context.
    """
    said: dict[str, Any] = {
        "model": served.model,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "max_tokens": sampling.max_new_tokens,
    }
    if sampling.temperature > 0:
        said["seed"] = seed
    if sampling.stop:
        said["stop"] = list(sampling.stop)
    if sampling.schema:
        shape = {"name": "answer", "schema": json.loads(sampling.schema), "strict": True}
        said["response_format"] = {"type": "json_schema", "json_schema": shape}
    if served.vllm:  # what a model's own generation_config.json would add is not what was asked
        said |= {"top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "return_token_ids": True}
    if ids:
        said |= {"prompt": list(ids), "skip_special_tokens": False}
        said |= {"stop_token_ids": list(chat.stop_ids), "add_special_tokens": False}
        if served.context is not None:
            if len(ids) >= served.context:
                raise NoRoom
            said["max_tokens"] = min(sampling.max_new_tokens, served.context - len(ids))
    elif request.text is not None:
        said["prompt"] = request.text
    if ids or request.text is not None:
        return TEXT, said | ({"logprobs": 0 if served.vllm else 1} if logprobs else {})
    told, arguments = chat.told(request.conversation(), request.thinking)
    said["messages"] = [{"role": each["role"], "content": each["content"]} for each in told]
    if arguments:
        said["chat_template_kwargs"] = dict(arguments)
    return CHAT, said | ({"logprobs": True} if logprobs else {})


def completion(
    answer: Any,
    chat: Any,
    sampling: Sampling,
    seconds: float,
    price: Price | None,
    *,
    logprobs: bool,
    ids: Sequence[int] = (),
) -> Completion:
    """The completion in a server's answer.

    Raises Again for what is no answer, Refused for one that the server held back, EngineError
    where log-probabilities are asked for and not given.
    """
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        raise Again("an answer without choices")
    choice = choices[0]
    usage = answer.get("usage") if isinstance(answer.get("usage"), dict) else {}
    tokens = _ints(choice.get("token_ids"))
    asked = list(ids) or _ints(choice.get("prompt_token_ids") or answer.get("prompt_token_ids"))
    reason = choice.get("finish_reason")
    if reason == "content_filter":
        raise Refused("the server's filter held the answer back")
    text = _text(choice, chat, ids=tokens if ids else (), stopped=reason not in _FINISHED)
    text, _ = cut(text, sampling.stop)
    scores = _scores(choice) if logprobs else None
    if logprobs and (scores is None or (tokens and len(scores) != len(tokens))):
        raise EngineError(
            "the server gives no log-probabilities, which this stage needs: ask one that does"
        )
    prompt_tokens = _count(usage.get("prompt_tokens"), len(asked))
    made = _count(usage.get("completion_tokens"), len(tokens))
    cost = price.of(prompt_tokens, made) if price else usage.get("cost")
    return Completion(
        text=text,
        token_ids=tokens,
        finish_reason=_FINISHED.get(str(reason), "stop"),
        prompt_tokens=prompt_tokens,
        completion_tokens=made,
        logprobs=scores,
        seconds=seconds,
        prompt_ids=asked,
        cost=float(cost) if isinstance(cost, int | float) else None,
        served=_plain(answer.get("model")),
    )


def one_form(reasoning: str, content: str, tags: tuple[str, str]) -> str:
    """An answer with its thinking between the tags, at the start.

    The server may have taken it apart, or its template may have written the opening tag.

    >>> one_form("2+2=4", "4", ("<think>", "</think>"))
    '<think>\\n2+2=4\\n</think>\\n\\n4'
    >>> one_form("", "2+2=4\\n</think>\\n\\n4", ("<think>", "</think>"))
    '<think>\\n2+2=4\\n</think>\\n\\n4'
    >>> one_form("", "4", ("<think>", "</think>"))
    '4'
    """
    opening, closing = tags
    if reasoning.strip():
        answered = f"\n{closing}\n\n{content.strip()}" if content.strip() else ""
        return f"{opening}\n{reasoning.strip()}{answered}"
    before, closed, _ = content.partition(closing)
    if closed and opening not in before:
        return f"{opening}\n{content.lstrip()}"
    return content


def _text(choice: Mapping[str, Any], chat: Any, *, ids: Sequence[int], stopped: bool) -> str:
    if ids:  # as a model in this process would be read
        ended = stopped and ids[-1] in chat.stop_ids
        return one_form("", chat.decode(list(ids[:-1] if ended else ids)), chat.toggle.tags)
    message = choice.get("message")
    if message is None and isinstance(choice.get("text"), str):
        return _plain(choice["text"])
    if not isinstance(message, dict):
        raise Again("an answer without a message")
    content = message.get("content")
    reasoning = next((message[n] for n in _REASONING if isinstance(message.get(n), str)), "")
    calls = message.get("tool_calls")
    if isinstance(content, list):  # parts, of which text is what is said
        content = "".join(str(p.get("text", "")) for p in content if isinstance(p, dict))
    if content is None and not reasoning and not calls:
        raise Again("an answer without text")
    said = one_form(_plain(reasoning), _plain(content or ""), chat.toggle.tags)
    if calls:
        said += json.dumps({"tool_calls": calls}, ensure_ascii=False)
    return said


def _scores(choice: Mapping[str, Any]) -> list[float] | None:
    """The log-probability of each token of the answer."""
    found = choice.get("logprobs")
    if not isinstance(found, dict):
        return None
    if isinstance(found.get("content"), list):
        return [float(each["logprob"]) for each in found["content"]]
    values = found.get("token_logprobs")
    return [float(each) for each in values] if isinstance(values, list) else None


def _ints(value: Any) -> list[int]:
    good = isinstance(value, list) and all(isinstance(each, int) for each in value)
    return list(value) if good else []


def _count(value: Any, otherwise: int) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else otherwise


def _plain(value: Any) -> str:
    """Text that every file can hold: half a surrogate pair becomes a replacement character."""
    text = value if isinstance(value, str) else ""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
