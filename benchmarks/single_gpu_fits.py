"""Which parent fits one GPU of 24, 48 or 80 GB with full training, from the plan of `single-gpu`.

    python -m benchmarks.single_gpu_fits

Prints a Markdown table: the sizes are those of each parent's published config.json, the child has
80 % of the parameters, the parent stands beside it while it heals. Nothing is run.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from jobs.planning.training_costs import training_costs
from resources.recipe.loading import load

# hidden size, layers, heads, key-value heads, FFN width, vocabulary, parameters of the child
PARENTS = {
    "SmolLM2-135M": (576, 30, 9, 3, 1536, 49152, 108_000_000),
    "Llama-3.2-1B": (2048, 16, 32, 8, 8192, 128256, 990_000_000),
    "SmolLM2-1.7B": (2048, 24, 32, 32, 8192, 49152, 1_370_000_000),
    "Llama-3.2-3B": (3072, 28, 24, 8, 8192, 128256, 2_570_000_000),
    "Llama-3.1-8B": (4096, 32, 32, 8, 14336, 128256, 6_420_000_000),
    "Qwen2.5-14B": (5120, 48, 40, 8, 13824, 152064, 11_800_000_000),
}
KEYS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "vocab_size",
    "parameters",
)
GIGABYTES = (24, 48, 80)


def need(parent: str, gigabytes: int, offload: bool) -> tuple[float, bool]:
    """Gigabytes that the largest training stage takes on the device, and whether all stages fit."""
    execution = {
        "offload_optimizer": offload,
        "hardware": {
            "name": f"{gigabytes} GB",
            "devices": 1,
            "memory_bytes": gigabytes * 1e9,
            "flops": 1e15,
            "mfu": 0.4,
        },
        "parents": {"mine": dict(zip(KEYS, PARENTS[parent], strict=True))},
    }
    recipe = {
        "extends": "heirloom/single-gpu",
        "models": {"mine": {"parent": "org/parent"}},
        "sources": {"text": {"kind": "text", "path": "python:source", "license": "psf-2.0"}},
        "corpus": {"mix": {"text": 1}, "tokens": "100M"},
        "execution": execution,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fits.yaml"
        path.write_text(json.dumps(recipe))
        stages = training_costs(load(path))
    return (
        max(stage.memory.total for stage in stages) / 1e9,
        all(stage.refusal is None for stage in stages),
    )


def main() -> None:
    """Print the table."""
    print("| parent | " + " | ".join(f"{size} GB" for size in GIGABYTES) + " |")
    print("|---|" + "---|" * len(GIGABYTES))
    for parent in PARENTS:
        cells = []
        for size in GIGABYTES:
            plain, offloaded = (need(parent, size, offload) for offload in (False, True))
            if plain[1]:
                cells.append(f"fits ({plain[0]:.1f} GB)")
            elif offloaded[1]:
                cells.append(f"with offload ({offloaded[0]:.1f} GB)")
            else:
                cells.append(f"no ({offloaded[0]:.1f} GB with offload)")
        print(f"| {parent} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
