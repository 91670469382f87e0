"""What adopting a given model takes: seconds and peak memory, from a folder, a GGUF file, and a
synthetic sharded checkpoint larger than the memory that it takes.

    python benchmarks/adoption.py [--folder FOLDER] [--gguf FILE] [--gigabytes N]

Each adoption is a process of its own; memory is its peak beyond what the same process held before,
libraries imported. With both `--folder` and `--gguf` of one model, logits and ids are compared.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

TEXTS = (
    "What is the capital of France? Answer in one word.",
    "Tom has 3 apples and buys 14 more. How many has he now?",
    "def f(x):\n    return x ** 2  # größer, naïve, 東京",
    "One.\n\n 12 white spaces before digits",
)


def peak() -> float:
    """Megabytes that this program held at most; `getrusage` would count who started it."""
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in x]
    return int(line.split()[1]) / 1e3


def adopt_measured(source: str, home: str, answer: Any) -> None:
    """Adopt into a new home; answers with megabytes before and after, seconds and the folder."""
    import torch  # noqa: F401 (held before, like everything that the functions import)
    import transformers.models.llama  # noqa: F401

    import resources.models.loading  # noqa: F401
    from assets.parents.adopt import adopt
    from resources.execution import Execution
    from resources.pretrained.source import parse
    from warehouse.store import Request, Store

    before = peak()
    began = time.monotonic()
    given = Execution(source=parse(source, Path.cwd()))
    request = Request("x/parent", None, adopt, {}, {}, 0, code_version="1")
    made = Store(home).build(request, execution=given)
    answer.send(
        {
            "seconds": time.monotonic() - began,
            "before": before,
            "more": peak() - before,
            "bytes": sum(entry["bytes"] for entry in made.manifest["files"].values()),
            "folder": str(made.path()),
        }
    )


def measured(source: str, home: Path) -> dict[str, Any]:
    """`adopt_measured` in a process of its own."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=adopt_measured, args=(source, str(home), there))
    process.start()
    there.close()
    found: dict[str, Any] = here.recv()
    process.join()
    return found


def synthetic(folder: Path, tokenizer: Path, gigabytes: float) -> Path:
    """A Llama of random bf16 weights in shards of 500 MB, with the tokenizer of another folder."""
    import torch

    from resources.models.folders import write_json, write_weights

    hidden, width = 2048, 5632
    layer = 4 * hidden * hidden + 3 * hidden * width + 2 * hidden
    layers = max(1, round(gigabytes * 1e9 / 2 / layer))
    folder.mkdir(parents=True)
    vocabulary = json.loads((tokenizer / "config.json").read_text())["vocab_size"]
    write_json(
        folder / "config.json",
        {
            **{"model_type": "llama", "hidden_size": hidden, "intermediate_size": width},
            **{"num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16},
            **{"vocab_size": vocabulary, "tie_word_embeddings": True, "dtype": "bfloat16"},
        },
    )
    block = torch.randn(width, hidden).bfloat16()

    def tensors() -> Any:
        yield "model.embed_tokens.weight", block.repeat(vocabulary // width + 1, 1)[:vocabulary]
        yield "model.norm.weight", torch.ones(hidden, dtype=torch.bfloat16)
        for index in range(layers):
            for part in "qkvo":
                yield f"model.layers.{index}.self_attn.{part}_proj.weight", block[:hidden].clone()
            for part in ("gate", "up"):
                yield f"model.layers.{index}.mlp.{part}_proj.weight", block.clone()
            yield f"model.layers.{index}.mlp.down_proj.weight", block.T.contiguous()
            for part in ("input_layernorm", "post_attention_layernorm"):
                name = f"model.layers.{index}.{part}.weight"
                yield name, torch.ones(hidden, dtype=torch.bfloat16)

    write_weights(folder, tensors(), shard_bytes=500_000_000)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(tokenizer / name, folder / name)
    return folder


def compare(one: str, other: str) -> str:
    """Whether two folders give equal logits, and equal ids for each of the texts."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    models = [
        AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, trust_remote_code=False)
        for path in (one, other)
    ]
    tokenizers = [
        AutoTokenizer.from_pretrained(path, trust_remote_code=False) for path in (one, other)
    ]
    differ = 0.0
    for text in TEXTS:
        ids = tokenizers[0](text, return_tensors="pt").input_ids
        with torch.inference_mode():
            first, second = (model(ids).logits for model in models)
        differ = max(differ, float((first - second).abs().max()))
    same = [tokenizers[0](text).input_ids == tokenizers[1](text).input_ids for text in TEXTS]
    return f"largest difference of a logit {differ}; ids equal on {sum(same)} of {len(TEXTS)} texts"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--gigabytes", type=float, default=2.0)
    arguments = parser.parse_args()
    from resources.pretrained.source import BUNDLED

    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        here = Path(scratch)
        for name, given in (("folder", arguments.folder), ("gguf", arguments.gguf)):
            if given is not None:
                rows[name] = measured(str(given.absolute()), here / name)
        tokenizer = arguments.folder or BUNDLED / "nano"
        made = synthetic(here / "synthetic", tokenizer, arguments.gigabytes)
        rows["synthetic, sharded"] = measured(str(made), here / "home")
        print(f"{'source':>20} {'MB adopted':>11} {'seconds':>8} {'MB held':>8} {'MB more':>8}")
        for name, row in rows.items():
            print(
                f"{name:>20} {row['bytes'] / 1e6:11,.0f} {row['seconds']:8.1f} "
                f"{row['before']:8,.0f} {row['more']:8,.0f}"
            )
        if {"folder", "gguf"} <= set(rows):
            print(compare(rows["folder"]["folder"], rows["gguf"]["folder"]))


if __name__ == "__main__":
    main()
