"""Which texts are kept from training, by hash: the same text always falls on the same side.

Knows texts and shares, not where the texts come from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from resources.tasks.held_out import text_key


def text_hash(text: str) -> int:
    """64 bits of a text, the same whatever its case, spacing and width.

    >>> text_hash("The  same") == text_hash("the same ")
    True
    """
    digest = blake2b(text_key(text).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def asked(turns: Iterable[Mapping[str, Any]]) -> str:
    """What the user says in a conversation: what its side is decided by, whoever reads it.

    >>> asked([{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}])
    'Hi'
    """
    return "\n".join(turn["content"] for turn in turns if turn["role"] == "user")


def held_out(hashes: np.ndarray, share: float) -> np.ndarray:
    """Which texts, by their hashes, are kept from training.

    >>> held_out(np.array([-(2**63), 0, 2**63 - 1]), 0.5).tolist()
    [True, False, False]
    """
    return hashes.astype(np.float64) < -(2.0**63) + share * 2.0**64
