"""The chat template: Llama-3's layout with the reasoning toggle as the system turn.

Turns messages into text and token ids, and a finished example into ids with a loss mask. It does
not know tasks or verifiers. Text inside a message is always encoded as text: a literal
`<|eot_id|>` in a question cannot end its turn.

Source: Llama 3 model card (layout, contents trimmed); arXiv 2505.00949 §3 (toggle).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from resources.chat.chat import Chat
from resources.chat.toggle import Toggle

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

BEGIN_OF_TEXT = "<|begin_of_text|>"
START_HEADER = "<|start_header_id|>"
END_HEADER = "<|end_header_id|>"
END_OF_TURN = "<|eot_id|>"
SPECIAL_TOKENS = (BEGIN_OF_TEXT, START_HEADER, END_HEADER, END_OF_TURN)
ROLES = ("system", "user", "assistant", "tool")

SYSTEM = {"on": "detailed thinking on", "off": "detailed thinking off"}

# The same layout for servers that read the tokenizer's own template.
CHAT_TEMPLATE = (
    "{{ '<|begin_of_text|>' }}"
    "{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'] | trim + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}"
    "{% endif %}"
)

Message = dict[str, str]


def prompt_messages(question: str, reasoning: str | None) -> list[Message]:
    """The messages that ask a question with thinking "on" or "off"; None adds no system turn."""
    user = {"role": "user", "content": question}
    if reasoning is None:
        return [user]
    if reasoning not in SYSTEM:
        raise ValueError(f"reasoning must be 'on', 'off' or None, not {reasoning!r}")
    return [{"role": "system", "content": SYSTEM[reasoning]}, user]


def render(messages: Sequence[Message], add_generation_prompt: bool = True) -> str:
    """The exact text of a conversation, special tokens written out.

    Raises ValueError for an unknown role or a message without content.
    """
    pieces = []
    for special, text in _segments(messages, add_generation_prompt):
        pieces.append(special)
        pieces.append(text)
    return "".join(pieces)


def encode_prompt(tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message]) -> list[int]:
    """Token ids of `render(messages)`, generation prompt included."""
    return encode_prompts(tokenizer, [messages])[0]


def encode_prompts(
    tokenizer: PreTrainedTokenizerFast, conversations: Sequence[Sequence[Message]]
) -> list[list[int]]:
    """`encode_prompt` of many conversations; equal stretches of text are encoded once."""
    segmented = [_segments(messages, True) for messages in conversations]
    texts = list(dict.fromkeys(text for segments in segmented for _, text in segments if text))
    ids = dict(zip(texts, encode_texts(tokenizer, texts), strict=True))
    special = {token: special_id(tokenizer, token) for token in SPECIAL_TOKENS}
    prompts = []
    for segments in segmented:
        prompt: list[int] = []
        for token, text in segments:
            prompt.append(special[token])
            if text:
                prompt.extend(ids[text])
        prompts.append(prompt)
    return prompts


def encode_example(
    tokenizer: PreTrainedTokenizerFast, messages: Sequence[Message], output: str
) -> tuple[list[int], list[bool]]:
    """Token ids of a prompt and its output, and the mask of the tokens that carry loss.

    The mask is true on the output's tokens and the final `<|eot_id|>`, false on the prompt.
    """
    return encode_examples(tokenizer, [messages], [output])[0]


def encode_examples(
    tokenizer: PreTrainedTokenizerFast,
    conversations: Sequence[Sequence[Message]],
    outputs: Sequence[str],
) -> list[tuple[list[int], list[bool]]]:
    """`encode_example` of many examples at once."""
    end = special_id(tokenizer, END_OF_TURN)
    prompts = encode_prompts(tokenizer, conversations)
    answers = encode_texts(tokenizer, outputs)
    return [
        (prompt + answer + [end], [False] * len(prompt) + [True] * (len(answer) + 1))
        for prompt, answer in zip(prompts, answers, strict=True)
    ]


def encode_texts(tokenizer: PreTrainedTokenizerFast, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of plain texts, in which nothing is a special token."""
    backend = tokenizer.backend_tokenizer
    before = backend.encode_special_tokens
    backend.encode_special_tokens = True
    try:
        encodings = backend.encode_batch_fast(list(texts), add_special_tokens=False)
    finally:
        backend.encode_special_tokens = before
    return [encoding.ids for encoding in encodings]


def stop_token(tokenizer: PreTrainedTokenizerFast) -> int:
    """The id of `<|eot_id|>`, with which every answer ends."""
    return special_id(tokenizer, END_OF_TURN)


def _segments(messages: Sequence[Message], add_generation_prompt: bool) -> list[tuple[str, str]]:
    """The conversation as (special token, text that follows it) pairs."""
    segments = [(BEGIN_OF_TEXT, "")]
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            raise ValueError(f"message {index}: role {role!r} is unknown: use {', '.join(ROLES)}")
        if not isinstance(content, str):
            raise ValueError(f"message {index} ({role}): content must be text, not {content!r}")
        segments += [
            (START_HEADER, role),
            (END_HEADER, "\n\n" + content.strip()),
            (END_OF_TURN, ""),
        ]
    if add_generation_prompt:
        segments += [(START_HEADER, "assistant"), (END_HEADER, "\n\n")]
    return segments


def special_id(tokenizer: PreTrainedTokenizerFast, token: str) -> int:
    """The id of one of `SPECIAL_TOKENS`; ValueError where the tokenizer lacks it."""
    index = tokenizer.backend_tokenizer.token_to_id(token)
    if index is None:
        raise ValueError(
            f"the tokenizer has no {token!r}: a Llama-3 style tokenizer with "
            f"{', '.join(SPECIAL_TOKENS)} is needed"
        )
    return int(index)


TEMPLATE_VERSION = hashlib.sha256(
    "\x00".join(
        [
            CHAT_TEMPLATE,
            render(prompt_messages(" question ", "on")),
            render(prompt_messages("question", "off")),
            render([*prompt_messages("question", None), {"role": "assistant", "content": "a"}]),
        ]
    ).encode()
).hexdigest()[:16]


def encode(
    tokenizer: PreTrainedTokenizerFast,
    messages: Sequence[Mapping[str, Any]],
    thinking: str | None = None,
    *,
    tools: Sequence[Mapping[str, Any]] | None = None,
    toggle: Mapping[str, Any] | None = None,
) -> tuple[list[int], list[int]]:
    """Token ids of a conversation as the tokenizer's own template renders it, and its loss mask.

    The mask is 1 on what the model must write in every assistant turn, turn-end token included, and
    0 on all that stands before it, the generation prompt included. `toggle` is a recipe's
    `thinking` section (None: Nemotron's texts). Special tokens' text in contents stays text.

    Raises ValueError where the template refuses or drops a turn, and where it cannot be told what
    the model must write. Training takes `Chat.samples`, which cuts a conversation whose earlier
    turns read otherwise once others follow.
    """
    chat = _chat(tokenizer, json.dumps(Toggle.of(toggle).as_json()), str(tokenizer.chat_template))
    ids, mask = chat.encode([chat.conversation(messages, thinking, tools).whole()])[0]
    return ids, [int(inside) for inside in mask]


@lru_cache(maxsize=8)
def _chat(tokenizer: PreTrainedTokenizerFast, toggle: str, template: str) -> Chat:
    return Chat.of(tokenizer, json.loads(toggle))
