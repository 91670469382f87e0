"""Tokens that a folder's other files add to what its tokenizer.json says, or say otherwise.

A tokenizer is loaded with them, so they decide ids too. Reads values only; it does not know files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_HOW = ("special", "lstrip", "rstrip", "normalized", "single_word")
# More special tokens, under the names that versions of transformers gave them.
_MORE = ("additional_special_tokens", "extra_special_tokens")


def stated(tokenizer: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The added tokens that a tokenizer.json states, by their text."""
    tokens = tokenizer.get("added_tokens")
    listed = tokens if isinstance(tokens, list) else []
    return {str(one["content"]): _told(one) for one in listed if "content" in one}


def additions(
    known: Mapping[str, Mapping[str, Any]],
    configs: list[Mapping[str, Any]],
    added: Mapping[str, Any],
) -> list[list[Any]]:
    """What stands beyond the `known` added tokens, in an order of its own; mostly nothing.

    `configs` are tokenizer_config.json and special_tokens_map.json, `added` is added_tokens.json.
    """
    found: list[list[Any]] = []
    for config in configs:
        decoder = config.get("added_tokens_decoder")
        for index, one in (decoder if isinstance(decoder, Mapping) else {}).items():
            if isinstance(one, Mapping) and known.get(str(one.get("content"))) != _told(one):
                found.append([str(index), one.get("content"), _told(one)])
        for text in _more(config):
            if not known.get(text, {}).get("special"):
                found.append(["special", text])
    found += [[str(index), text] for text, index in added.items() if text not in known]
    return sorted(found, key=repr)


def _told(token: Mapping[str, Any]) -> dict[str, Any]:
    return {name: bool(token.get(name)) for name in _HOW}


def _more(config: Mapping[str, Any]) -> Iterator[str]:
    for name in _MORE:
        value = config.get(name) or ()
        for one in value.values() if isinstance(value, Mapping) else value:
            text = one.get("content") if isinstance(one, Mapping) else one
            if isinstance(text, str):
                yield text
