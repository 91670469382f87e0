"""Prints how real tokenizers read one conversation: ids, spans and toggle, a table each.

HEIRLOOM_SMOLLM2=… HEIRLOOM_TOKENIZERS=… python -m tests.resources.chat.tables
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random

import pytest

from resources.chat.chat import Chat
from resources.chat.encoder import Sample
from tests.resources.chat import odd, tokenizers

QUESTION = {"role": "user", "content": "What is <|im_end|> for?"}
ANSWER = {"role": "assistant", "content": "<think>\nhm\n</think>\n\nIt ends a turn."}
COUNT = 400


def main() -> None:
    """One section for each tokenizer that is there."""
    with tempfile.TemporaryDirectory() as aside:
        for name in tokenizers.NAMES:
            try:
                folder = tokenizers.folder(name, Path(aside))
            except pytest.skip.Exception as reason:
                print(f"{name}: {reason}")
                continue
            show(name, Chat.load(folder))


def show(name: str, chat: Chat) -> None:
    """Digest and habits, ids equal to transformers', loss in brackets, both modes."""
    habits = chat.habits
    print(f"\n{name}: digest {chat.digest}, turn end {habits.end} ({chat.stop_id})")
    print(f"  begin {habits.begin}, default system {habits.default_system!r}")
    rng, equal, tried = Random(name), 0, 0
    while tried < COUNT:
        one = odd.conversation(rng)
        if any(token in turn["content"] for token in chat.encoder.special for turn in one):
            continue
        text = chat.conversation(one).rendered(generation_prompt=False).text
        theirs = chat.tokenizer.apply_chat_template(one, tokenize=True, return_dict=False)
        equal, tried = equal + (chat.encoder.ids([Sample(text)])[0] == theirs), tried + 1
    print(f"  ids equal to apply_chat_template: {equal} of {tried} odd conversations")
    for mode in ("on", "off", None):
        for sample in chat.samples([QUESTION, ANSWER], mode):
            (start, end), text = sample.spans[0], str(sample)
            ids, mask = chat.encode([sample])[0]
            learned = chat.decode([i for i, inside in zip(ids, mask, strict=True) if inside])
            shift = len(sample.text) - len(text)
            head = text[: max(start - shift, 0)]
            print(f"  thinking {mode}: {len(ids)} ids, {sum(mask)} with loss: {learned!r}")
            print(f"    after {head[-70:]!r} (span of {end - start} characters)")


if __name__ == "__main__":
    main()
