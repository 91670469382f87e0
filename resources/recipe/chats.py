"""Which models of a recipe share a chat: tokenizer, template and toggle.

Token ids are made once for each distinct chat. Reads the files of parents that are at hand.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from resources.chat import folder
from resources.chat.errors import ChatError
from resources.pretrained.source import ParentSource
from resources.recipe.schema import Recipe

CORPUS_TOKENS = "problems/corpus_tokens"


def chats_of(recipe: Recipe) -> dict[str, str]:
    """The name of each model's chat: its digest.

    Where the parent's files are not at hand, or are no chat, a digest of where they come from; that
    they are no chat is said when the parent is adopted.
    """
    return {name: chat_of(recipe, name) for name in recipe.models}


def chat_of(recipe: Recipe, model: str) -> str:
    """The name of one model's chat."""
    return _name(recipe.parent_source(recipe.models[model].parent))


def tokens_of(recipe: Recipe, model: str) -> str:
    """The partition of `CORPUS_TOKENS` that a model reads."""
    return f"{CORPUS_TOKENS}[{chat_of(recipe, model)}]"


def _name(source: ParentSource) -> str:
    if source.kind == "folder":
        given = {"tokenizer": source.tokenizer, "template": source.template}
        paths = {name: Path(path) for name, path in given.items() if path is not None}
        try:
            return folder.digest(Path(source.location), **paths, given=source.chat)
        except (ChatError, OSError):
            pass
    text = json.dumps(source.record(), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
