"""How much memory distillation takes with a vocabulary of 128k: whole logits against chunked ones.

    python benchmarks/distillation_memory.py [--chunk 256] [--top-k 64]

A student's and a teacher's output heads on random states of 256 numbers: the logits are what
counts. Each case computes the loss and its gradient once, in a process of its own, and prints that
one's peak resident memory above what its weights and states take, as a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time

import torch

from resources.machine import PeakMemory, resident_bytes
from resources.training.distilling import (
    in_chunks,
    top_k,
    top_k_distillation,
)
from resources.training.objectives import Loss, distillation

VOCABULARY, HIDDEN = 128256, 256
# Name, tokens of a micro-batch, and how the loss is computed.
CASES = (
    ("whole logits", 2048, "whole"),
    ("chunked", 2048, "chunked"),
    ("chunked", 8192, "chunked"),
    ("chunked, cached teacher", 8192, "cached"),
)


def measure(tokens: int, how: str, chunk: int, k: int) -> dict[str, float]:
    """Peak bytes above weights and states, seconds, and the loss, of one case in this process."""
    draw = torch.Generator().manual_seed(0)
    heads = [torch.nn.Linear(HIDDEN, VOCABULARY, bias=False) for _ in range(2)]
    for head in heads:
        torch.nn.init.normal_(head.weight, std=0.05, generator=draw)
    student, teacher = (torch.randn(1, tokens, HIDDEN, generator=draw) for _ in range(2))
    student.requires_grad_(True)
    weights, total = torch.ones(1, tokens), float(tokens)
    cached: list[torch.Tensor] = []
    if how == "cached":
        with torch.no_grad():
            parts = [top_k(heads[1](part), k) for part in teacher.split(chunk, dim=1)]
        cached = [torch.cat(each, dim=1) for each in zip(*parts, strict=True)]

    def of_states(state: torch.Tensor, target: torch.Tensor, weight: torch.Tensor) -> Loss:
        with torch.no_grad():
            logits = heads[1](target)
        return distillation(heads[0](state), logits, weight, total)

    def of_cached(state: torch.Tensor, *told: torch.Tensor) -> Loss:
        ids, logs, weight = told
        return top_k_distillation(heads[0](state), ids, logs, weight, total)

    heads[0].weight.grad = torch.zeros_like(heads[0].weight)
    peak = PeakMemory("cpu")
    before, began = resident_bytes(), time.monotonic()
    if how == "whole":
        with torch.no_grad():
            target = heads[1](teacher)
        loss = distillation(heads[0](student), target, weights, total)
    elif how == "chunked":
        loss = in_chunks(of_states, weights, chunk, student, teacher)
    else:
        loss = in_chunks(of_cached, weights, chunk, student, *cached)
    loss.loss.backward()
    return {
        "bytes": peak.bytes() - before,
        "seconds": time.monotonic() - began,
        "loss": loss.loss.item(),
    }


def main() -> None:
    """Run every case and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--chunk", type=int, default=256, help="tokens whose logits are held")
    parser.add_argument("--top-k", type=int, default=64, help="of the cached teacher")
    parser.add_argument("--case", type=int, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.case is not None:
        _, tokens, how = CASES[chosen.case]
        print(json.dumps(measure(tokens, how, chosen.chunk, chosen.top_k)))
        return
    one = VOCABULARY * 4
    print(
        f"Vocabulary {VOCABULARY:,}, hidden size {HIDDEN}, float32; chunks of {chosen.chunk} "
        f"tokens, {chosen.top_k} cached logits a token. One token's logits are {one / 1e6:.2f} MB. "
        f"{platform.processor() or platform.machine()}, {platform.system()}, torch "
        f"{torch.__version__}.\n"
    )
    print("| loss | tokens | peak memory (MiB) | in logits of all tokens | seconds | nats |")
    print("|---|---|---|---|---|---|", flush=True)
    for number, (name, tokens, _) in enumerate(CASES):
        options = [
            "--case",
            str(number),
            "--chunk",
            str(chosen.chunk),
            "--top-k",
            str(chosen.top_k),
        ]
        run = subprocess.run(
            [sys.executable, __file__, *options], stdout=subprocess.PIPE, check=True, text=True
        )
        found = json.loads(run.stdout.splitlines()[-1])
        print(
            f"| {name} | {tokens:,} | {found['bytes'] / 2**20:,.0f} | "
            f"{found['bytes'] / (one * tokens):.2f} | {found['seconds']:.0f} | "
            f"{found['loss']:.6f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
