"""Build functions of a parent that is a configuration alone, and of an architecture for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.models.accounting import Shape
from warehouse.store import Output

SHAPE = Shape(16, 4, 2, 4, 24, 64)
CHOSEN = (("full", "full"), ("noop", "ratio_50"))
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}


def parent(workdir: Path, *_: Any) -> Output:
    """The folder of a checkpoint without its weights."""
    folder = workdir / "model"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(CONFIG))
    return Output(files={"": folder})


def architecture(*_: Any) -> Output:
    """The table of a search that chose `CHOSEN`."""
    rows = [
        {"model": "super", "layer": layer, "attention": a, "ffn": f, "fused_into": None}
        for layer, (a, f) in enumerate(CHOSEN)
    ]
    schema = pa.schema(
        [
            ("model", pa.string()),
            ("layer", pa.int64()),
            ("attention", pa.string()),
            ("ffn", pa.string()),
            ("fused_into", pa.int64()),
        ]
    )
    return Output({"architectures": pa.Table.from_pylist(rows, schema=schema)})
