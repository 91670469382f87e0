"""A model's chat: prompts to answer, and conversations to learn from, as token ids.

    chat = Chat.load(checkpoint_folder)
    chat.prompts([[{"role": "user", "content": "2+2?"}]], ["on"])      # token ids, ready to answer
    samples = chat.samples(messages, "off")                            # what training shows
    ids, mask = chat.encode(samples)[0]                                # mask: true carries loss

One rule joins what wants to stand in the system turn: the toggle's text, a blank line, and the
conversation's own system text or, where it has none, the template's default one (which a text of
flags alone, SmolLM3's `/no_think`, leaves to the template).
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.chat import folder as files
from resources.chat import llama3
from resources.chat.conversation import Conversation, Message, unflagged
from resources.chat.encoder import Encoded, Encoder, Sample
from resources.chat.errors import ChatError
from resources.chat.probing import probe
from resources.chat.sandbox import Template
from resources.chat.toggle import Toggle

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

Tools = Sequence[Mapping[str, Any]]


class Chat:
    """Tokenizer, template, toggle and stop tokens of one model.

    `stop_ids` end an answer; the first is the turn-end token, with which every answer that the
    model learns ends. `digest` names all that decides ids: examples made with one digest are for
    models of that digest.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        settings: files.Settings,
        digest: str,
        stops: Sequence[int] = (),
    ) -> None:
        self.tokenizer, self.settings, self.digest = tokenizer, settings, digest
        self.toggle = settings.toggle
        self.encoder = Encoder(tokenizer, plain=self.toggle.tags)
        special = tokenizer.special_tokens_map
        self._plain = self._with_tools = Template(settings.template, special, settings.date)
        if settings.tool_template != settings.template:
            self._with_tools = Template(settings.tool_template, special, settings.date)
        self.habits = probe(self._plain, self.encoder, self.toggle.on.arguments)
        ends = [self._id(self.habits.end), *stops, tokenizer.eos_token_id]
        self.stop_ids = tuple(dict.fromkeys(one for one in ends if one is not None))

    @classmethod
    def load(cls, checkpoint: str | Path) -> Chat:
        """The chat of a checkpoint or tokenizer folder.

        Raises ChatError where it has no tokenizer or no template, or one that cannot be used: that
        loops, writes what is not given, or drops turns.
        """
        folder = Path(checkpoint)
        digest = files.digest(folder)
        try:
            return cls(
                load_tokenizer(folder), files.settings(folder), digest, files.stop_tokens(folder)
            )
        except ChatError as error:
            raise ChatError(f"{folder}: {error}") from error

    @classmethod
    def of(
        cls,
        tokenizer: PreTrainedTokenizerFast,
        toggle: Mapping[str, Any] | Toggle | None = None,
        date: datetime.date | None = None,
    ) -> Chat:
        """The chat of a tokenizer in memory, with its own template."""
        found = tokenizer.chat_template
        templates = found if isinstance(found, Mapping) else {"default": found}
        default = templates.get("default")
        if not default:
            raise ChatError(
                "the tokenizer has no chat template: set its chat_template, or load a folder with "
                f"{files.TEMPLATE}"
            )
        tools = templates.get("tool_use") or default
        settings = files.Settings(default, tools, Toggle.of(toggle), date)
        content = files.content_hash(json.loads(Encoder(tokenizer).backend.to_str()))
        special = {k: str(v) for k, v in tokenizer.special_tokens_map.items()}
        return cls(tokenizer, settings, files.identity(content, special, settings))

    @property
    def identity(self) -> str:
        """The chat's part of a request's identity.

        Chats of the layout that was once the only one keep what stood there then.
        """
        old = self.settings.template == llama3.CHAT_TEMPLATE and self.toggle == Toggle()
        return llama3.TEMPLATE_VERSION if old else self.digest

    @property
    def stop_id(self) -> int:
        """The turn-end token."""
        return self.stop_ids[0]

    def conversation(
        self, messages: Sequence[Message], thinking: str | None = None, tools: Tools | None = None
    ) -> Conversation:
        """Messages as this model reads them, with thinking "on", "off" or as it comes (None)."""
        told, arguments = self.told(messages, thinking)
        called = tools is not None or any(message.get("tool_calls") for message in messages)
        return Conversation(
            told,
            tools,
            arguments,
            self._with_tools if called else self._plain,
            self.habits,
            self.encoder,
            self.toggle.tags,
        )

    def told(
        self, messages: Sequence[Message], thinking: str | None
    ) -> tuple[Sequence[Message], Mapping[str, Any]]:
        """The messages and arguments that the template is given, the toggle put in its place."""
        switch = self.toggle.switch(thinking)
        return self._with_system(messages, switch.system), switch.arguments

    def prompts(
        self,
        conversations: Sequence[Sequence[Message]],
        thinking: Sequence[str | None] | None = None,
    ) -> list[list[int]]:
        """Token ids of conversations that the model is to answer, generation prompt included.

        `thinking` is for each. Raises ChatError where the template refuses a conversation or drops
        a turn of it.
        """
        modes = thinking if thinking is not None else [None] * len(conversations)
        pairs = zip(conversations, modes, strict=True)
        return self.encoder.ids([self.conversation(m, mode).prompt() for m, mode in pairs])

    def samples(
        self, messages: Sequence[Message], thinking: str | None = None, tools: Tools | None = None
    ) -> list[Sample]:
        """What training shows of a conversation, with the spans that carry loss.

        One sample with every assistant turn, where each stands in it as it was written behind its
        prompt. Where an earlier turn reads otherwise once others follow, a sample for each turn, as
        at inference. Turns behind the last assistant's are left out. Raises ChatError where it
        cannot be told what the model must write, or where there is no assistant turn.
        """
        return self.conversation(messages, thinking, tools).samples()

    def encode(self, samples: Sequence[Sample]) -> list[Encoded]:
        """Token ids and loss mask of each sample, all in one batch."""
        return self.encoder.masked(samples)

    def beginnings(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of plain texts to go on with: as `texts`, behind the tokenizer's begin token
        where it writes one."""
        begin = self.tokenizer.bos_token_id
        written = self.tokenizer("").input_ids[:1] if texts else []
        head = [begin] if begin is not None and written == [begin] else []
        return [head + ids for ids in self.texts(texts)]

    def texts(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of plain texts, in which nothing is a special token."""
        return self.encoder.plain(texts)

    def document(self, text: str, context: str = "") -> Sample:
        """A whole document, its begin and end token around it; it carries loss, its context not.

        The begin token is that of the template, where it has one; the end token the tokenizer's.
        """
        (before, inside), escaped = self.encoder.escape((context, text))
        head = (self.habits.begin or "") + before
        whole = head + inside + (self.tokenizer.eos_token or self.habits.end)
        skip = None if context else int(self.habits.begin is not None)
        return Sample(whole, ((len(head), len(whole)),), escaped, skip)

    def decode(self, ids: Sequence[int]) -> str:
        """Text of token ids, special tokens written out."""
        return str(
            self.tokenizer.decode(
                list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
            )
        )

    def _with_system(self, messages: Sequence[Message], text: str | None) -> Sequence[Message]:
        """The messages with the toggle's text in the system turn, by the one rule."""
        if not text:
            return messages
        if not self.habits.system:
            raise ChatError(
                "the chat template writes no system turn, so the toggle's text has no place: name "
                "template arguments in `thinking`, or give a template with a system turn"
            )
        own = messages[0] if messages and messages[0].get("role") == "system" else None
        # Behind a flag alone the template writes the default that goes with it.
        default = self.habits.default_system if unflagged(text) else None
        told = default if own is None else own.get("content")
        joined = f"{text}\n\n{told}" if isinstance(told, str) and told.strip() else text
        rest = messages if own is None else messages[1:]
        return [{**(own or {}), "role": "system", "content": joined}, *rest]

    def _id(self, token: str) -> int | None:
        found = self.encoder.backend.token_to_id(token)
        return None if found is None else int(found)


def load_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """The tokenizer of a folder, exactly as its tokenizer.json has it.

    Raises ChatError where there is none or it cannot be read.
    """
    from transformers import PreTrainedTokenizerFast

    if not (folder / files.TOKENIZER).is_file():
        raise ChatError(f"{folder}: no {files.TOKENIZER}")
    try:
        return PreTrainedTokenizerFast.from_pretrained(
            folder, local_files_only=True, clean_up_tokenization_spaces=False
        )
    except Exception as error:  # the libraries' own kinds, Rust's among them
        raise ChatError(f"{folder / files.TOKENIZER}: it cannot be read ({error})") from error
