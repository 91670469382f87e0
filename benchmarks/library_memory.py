"""How much memory the block library of a 1 B parameter parent takes, in layers of the parent.

Writes a random Llama-shaped parent layer by layer, then ranks its channels and builds the library
of one layer group, each in a process of its own, and prints each one's peak resident memory above
what its imports take, as a Markdown table. Run it as

    python benchmarks/library_memory.py [--tokens 512] [--folder FOLDER]
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from resources.execution import Execution
from resources.machine import PeakMemory, resident_bytes
from resources.recipe.sections.execution import Activations

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 128256,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "tie_word_embeddings": True,
    "max_position_embeddings": 8192,
    "rms_norm_eps": 1e-5,
}
LENGTH = 128
VARIANTS = {"attention": ["full", "kv_4", "noop"], "ffn": ["full", "ratio_50", "noop"]}
TRAINING: dict[str, Any] = {
    "coupling": "decoupled",
    "epochs": None,
    "batch_tokens": 2 * LENGTH,
    "sequence_length": LENGTH,
    "learning_rate": 1e-4,
    "data_seed": 0,
    "seed": 0,
    "asset_key": "large/block_library",
    "model": "large",
}
GROUPS = {"first layer": 0, "last layer": CONFIG["num_hidden_layers"] - 1}


class Given:
    """What the builds read of an artifact."""

    label, manifest = "given", {"observations": {}}

    def __init__(self, folder: Path | None = None, **tables: pa.Table) -> None:
        self.folder, self.tables = folder, tables

    def path(self) -> Path | None:
        """The artifact's folder."""
        return self.folder

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """One of its tables."""
        return self.tables[name].select(columns or self.tables[name].column_names)


def layer_shapes() -> dict[str, tuple[int, ...]]:
    """The tensors of one layer by their names in it."""
    hidden, wide = CONFIG["hidden_size"], CONFIG["intermediate_size"]
    keys = CONFIG["num_key_value_heads"] * CONFIG["head_dim"]
    return {
        "input_layernorm.weight": (hidden,),
        "self_attn.q_proj.weight": (hidden, hidden),
        "self_attn.k_proj.weight": (keys, hidden),
        "self_attn.v_proj.weight": (keys, hidden),
        "self_attn.o_proj.weight": (hidden, hidden),
        "post_attention_layernorm.weight": (hidden,),
        "mlp.gate_proj.weight": (wide, hidden),
        "mlp.up_proj.weight": (wide, hidden),
        "mlp.down_proj.weight": (hidden, wide),
    }


def write_parent(folder: Path) -> int:
    """Writes the parent, one bfloat16 shard a layer; returns its number of parameters."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    places: dict[str, str] = {}
    hidden, total = CONFIG["hidden_size"], 0
    shards: list[dict[str, tuple[int, ...]]] = [
        {f"model.layers.{layer}.{name}": shape for name, shape in layer_shapes().items()}
        for layer in range(CONFIG["num_hidden_layers"])
    ]
    ends: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (CONFIG["vocab_size"], hidden),
        "model.norm.weight": (hidden,),
    }
    for number, shard in enumerate([*shards, ends]):
        name = f"model-{number:05d}.safetensors"
        draw = torch.Generator().manual_seed(number)
        tensors = {
            key: torch.ones(shape, dtype=torch.bfloat16)
            if len(shape) == 1
            else torch.empty(shape, dtype=torch.bfloat16).normal_(0, 0.02, generator=draw)
            for key, shape in shard.items()
        }
        save_file(tensors, folder / name)
        places |= dict.fromkeys(shard, name)
        total += sum(tensor.numel() for tensor in tensors.values())
    index = {"metadata": {"total_size": 2 * total}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return total


def measure(case: str, folder: Path, tokens: int) -> None:
    """Runs one case in this process and prints its peak memory above its imports, and seconds."""
    import transformers.models.llama.modeling_llama  # noqa: F401

    from assets.puzzle.library import build as library
    from assets.puzzle.library import importance
    from resources.models import layers, loading  # noqa: F401

    draw, count = np.random.default_rng(0), tokens // 32
    texts = draw.integers(0, CONFIG["vocab_size"], (count, 4 * LENGTH)).tolist()
    inputs: dict[str, Any] = {
        "parent": Given(folder / "parent"),
        "corpus": Given(corpus=pa.table({"text_ids": pa.array(texts, pa.list_(pa.int32()))})),
    }
    work = folder / case.replace(" ", "_")
    work.mkdir()
    peak = PeakMemory("cpu")
    before, began = resident_bytes(), time.monotonic()
    recipe: dict[str, Any]
    if case == "importance":
        recipe = {"tokens": tokens, "sequence_length": LENGTH, "seed": 0}
        importance.channel_importance(work, inputs, recipe, Execution(micro_batch=2))
    else:
        source, where = case.split(", ")
        layer = GROUPS[where]
        scores = {
            name: pa.table({"layer": [layer] * size, column: range(size), "rank": range(size)})
            for name, column, size in (
                ("channel_importance", "channel", CONFIG["intermediate_size"]),
                ("kv_head_importance", "head", CONFIG["num_key_value_heads"]),
            )
        }
        inputs["channel_importance"] = Given(**scores)
        recipe = TRAINING | VARIANTS | {"tokens": tokens, "layers": [layer, layer]}
        execution = Execution(activations=Activations(source=source, bytes=10**9))
        library.build_library(work, inputs, recipe, execution)
    figures = {"bytes": peak.bytes() - before, "seconds": time.monotonic() - began}
    print(json.dumps(figures))


def main() -> None:
    """Writes the parent, runs every case and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=512, help="tokens to rank and train on")
    parser.add_argument("--folder", type=Path, help="where 2.5 GB may be written for the time")
    parser.add_argument("--case", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case:
        measure(chosen.case, chosen.folder, chosen.tokens)
        return
    layer = 4 * sum(int(np.prod(shape)) for shape in layer_shapes().values())
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        total = write_parent(Path(folder) / "parent")
        print(
            f"Parent of {total / 1e9:.2f} B parameters, {CONFIG['num_hidden_layers']} layers; one "
            f"layer in float32 is {layer / 2**20:.0f} MiB, the whole {4 * total / layer:.1f} of "
            f"them. {chosen.tokens} tokens, steps of {TRAINING['batch_tokens']}; variants "
            f"{', '.join(VARIANTS['attention'])} x {', '.join(VARIANTS['ffn'])}. "
            f"{platform.processor() or platform.machine()}, {platform.system()}.\n"
        )
        print("| work | peak memory (MiB) | in layers | seconds |\n|---|---|---|---|", flush=True)
        cases = [f"{source}, {where}" for source in ("sweep", "resident") for where in GROUPS]
        for case in ("importance", *cases):
            command = [sys.executable, __file__, "--case", case, "--folder", folder]
            run = subprocess.run(
                [*command, "--tokens", str(chosen.tokens)],
                stdout=subprocess.PIPE,
                check=True,
                text=True,
            )
            found = json.loads(run.stdout.splitlines()[-1])
            print(
                f"| {case} | {found['bytes'] / 2**20:.0f} | {found['bytes'] / layer:.1f} | "
                f"{found['seconds']:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
