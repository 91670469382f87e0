"""The parts of the GPU check, in their order: the only list of them.

Names modules and imports none, so that a part needs no more than what it imports itself.
"""

from __future__ import annotations

from benchmarks.gpu.part import Part

_PARTS = (
    Part(
        "A1", "benchmarks.gpu.matrix", "rates",
        "matrix rate in bf16, TF32 and fp32",
        "recorded: the base of every MFU", 0.3,
    ),
    Part(
        "A2", "benchmarks.gpu.whole", "smoke",
        "the recipe `smoke` on the device",
        "ends, all checks pass", 2.0,
    ),
    Part(
        "A3", "benchmarks.gpu.resuming", "resume",
        "kill and resume of training, ZeRO 0 and 1 on one rank",
        "resumed weights bit-equal with deterministic kernels", 0.7,
    ),
    Part(
        "A4", "benchmarks.gpu.attention", "attention",
        "attention: flash and packed documents against eager",
        "error of bf16 <= 1e-2 of the largest output, no leak to the bit", 0.5,
    ),
    Part(
        "A5", "benchmarks.gpu.blocks", "profile",
        "block profile of an 8B layer, as the search uses it",
        "relative spread of repeats <= 5 %", 0.5,
    ),
    Part(
        "A6", "benchmarks.gpu.memory", "given_back",
        "memory of a child process that ends, and of one that is killed",
        "less than 1 GB left", 0.1,
    ),
    Part(
        "B1", "benchmarks.gpu.training", "sft",
        "SFT step of the Llama-3.1-8B shape, bf16, packed 8k",
        "MFU >= 50 % of A1's rate, peak memory within 10 % of the plan", 1.5,
    ),
    Part(
        "B2", "benchmarks.gpu.training", "distillation",
        "distillation step, 8B teacher to child, logits in chunks",
        "MFU >= 50 % of A1's rate, peak memory within 10 % of the plan", 1.5,
    ),
    Part(
        "B3", "benchmarks.gpu.blocks", "library",
        "a layer's variants trained and scored in fp32, TF32, bf16",
        "bf16 >= 4 x fp32, Kendall's tau of the scores >= 0.98", 0.7,
    ),
    Part(
        "B4", "benchmarks.gpu.blocks", "scoring",
        "a replace-1-block score against a forward pass",
        "<= 0.6 forward passes a score", 0.3,
    ),
    Part(
        "B5", "benchmarks.gpu.blocks", "fusion",
        "fused against unfused FFN pairs, decoding 1 to 64 sequences",
        "recorded beside the paper's 1.71 x", 0.4,
    ),
    Part(
        "B6", "benchmarks.gpu.reinforcement", "grpo",
        "generation and GRPO step of a small model in bf16",
        "engine and trainer differ by <= 0.05 nats a token, time split recorded", 0.7,
    ),
)  # fmt: skip
PARTS = {part.name: part for part in _PARTS}
