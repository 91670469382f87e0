"""Repeats a small parent's attention heads, so that its search space has more key-value heads.

    python -m resources.parents.widen PARENT FOLDER --heads 8

writes a checkpoint that computes the same function with more heads. Knows weights; trains nothing.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resources.models.modeling import HeterogeneousDecoderForCausalLM


def widen(model: HeterogeneousDecoderForCausalLM, heads: int) -> HeterogeneousDecoderForCausalLM:
    """The same function with `heads` query heads and as many key-value heads.

    Every query head stands `heads` / (its number) times, beside itself, with the output columns
    divided by that; every key-value head is repeated for each query head that it serves. Exact but
    for rounding.

    Raises:
        ValueError: `heads` is no multiple of the model's, or a layer is not a full one.
    """
    import torch

    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

    config = model.config
    had = config.num_attention_heads
    kinds = {block["attention"]["kind"] for block in config.block_configs or []}
    if heads % had or kinds != {"full"}:
        raise ValueError(
            f"{had} heads of full attention in every layer can be repeated to a multiple of {had}, "
            f"not to {heads} of {', '.join(sorted(kinds))}"
        )
    times, size = heads // had, config.head_dim or config.hidden_size // had
    values = config.to_dict() | {
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": size,
        "block_configs": [{} for _ in model.layers],
    }
    wide: Any = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values))
    wide.to(model.dtype)
    weights = dict(model.state_dict())
    for name, weight in model.state_dict().items():
        part = name.split(".")[-2]
        if part in ("q_proj", "k_proj", "v_proj"):
            rows = weight.unflatten(0, (-1, size))
            weights[name] = rows.repeat_interleave(heads // len(rows), 0).flatten(0, 1)
        elif part == "o_proj" and name.endswith("weight"):
            columns = weight.unflatten(1, (had, size)).repeat_interleave(times, 1) / times
            weights[name] = columns.flatten(1)
    with torch.no_grad():
        wide.load_state_dict(weights)
    result: HeterogeneousDecoderForCausalLM = wide.eval()
    return result


def main(arguments: list[str]) -> int:
    """Write the wide parent, or point a recipe at it."""
    parser = argparse.ArgumentParser(prog="python -m resources.parents.widen", description=__doc__)
    parser.add_argument("parent", nargs="?", type=Path)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--heads", type=int, default=8)
    given = parser.parse_args(arguments)
    from resources.models.loading import load, save

    # A bundled parent has its tokenizer beside it.
    tokenizer = given.parent
    if not (tokenizer / "tokenizer.json").is_file():
        tokenizer = given.parent.parent / "tokenizer"
    save(widen(load(given.parent, dtype="float32"), given.heads), given.folder, tokenizer)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
