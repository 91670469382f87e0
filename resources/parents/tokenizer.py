"""Makes the bundled byte-level BPE tokenizer from the task texts.

    python -m resources.parents.tokenizer

Digits are single tokens, so that arithmetic is learned on digits and not on chance merges.
"""

from collections.abc import Iterator
from pathlib import Path

from resources.chat.llama3 import BEGIN_OF_TEXT, CHAT_TEMPLATE, END_OF_TURN, SPECIAL_TOKENS
from resources.chat.toggle import Toggle
from resources.parents.configuration import Parents, load
from resources.parents.documents import output_text, problems, worked_text
from resources.pretrained.source import BUNDLED

PADDING = "<|finetune_right_pad_id|>"
TAGS = ("<think>", "</think>", "<TOOLCALL>", "</TOOLCALL>")
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)| ?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def texts(parents: Parents) -> Iterator[str]:
    """What the merges are learned from: problems, their work and their answers."""
    domains = parents.models["nano"].phases[0].domains
    depths = {"worked": {k: 1.0 for k in range(1, 7)}}
    drawn = problems({"worked": 1.0}, domains, depths, seed=f"{parents.seed}/tokenizer")
    toggle = Toggle()
    words = (str(toggle.on.system), str(toggle.off.system))
    yield from (*words, "system", "user", "assistant") * parents.tokenizer_documents
    for _ in range(parents.tokenizer_documents):
        _, problem = next(drawn)
        yield "\n\n" + problem.question
        yield output_text(problem, "on")
        yield "".join(worked_text(problem))


def make(parents: Parents, directory: Path) -> None:
    """Train the tokenizer and write it as a Hugging Face folder."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    added = len(SPECIAL_TOKENS) + 1 + len(TAGS)
    trainer = trainers.BpeTrainer(
        vocab_size=parents.vocabulary - added,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(
        (part for text in texts(parents) for part in _without_tags(text)), trainer
    )
    tokenizer.add_special_tokens([*SPECIAL_TOKENS, PADDING])
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in TAGS])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BEGIN_OF_TEXT,
        eos_token=END_OF_TURN,
        pad_token=PADDING,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(directory)


def _without_tags(text: str) -> list[str]:
    for tag in TAGS:
        text = text.replace(tag, "\x00")
    return text.split("\x00")


if __name__ == "__main__":
    make(load(), BUNDLED / "tokenizer")
