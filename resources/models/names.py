"""Names of a decoder's tensors in a checkpoint: one set, since every supported family has Llama's.

Knows names; nothing of what the tensors hold.
"""

from __future__ import annotations

EMBEDDING, NORM, HEAD = "model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"


def layer_prefix(layer: int) -> str:
    """What the tensor names of a layer begin with; after it come the names of the block.

    >>> layer_prefix(3)
    'model.layers.3.'
    """
    return f"model.layers.{layer}."
