"""B1 and B2: what a training step of an 8B model reaches, and whether its memory is as planned."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from assets.recovery.objective import LiveTeacher, Towards
from benchmarks.gpu import matrix
from benchmarks.gpu.models import configured, layers, packed, random_model
from benchmarks.gpu.part import Outcome, Setup
from benchmarks.training_step import OPTIMIZER
from resources.costs import placement
from resources.costs.placement import Memory, Placement
from resources.execution import Execution
from resources.machine import PeakMemory
from resources.models.accounting import Shape, forward_flops, total_parameters
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.training.fit import language_model_loss
from resources.training.loop.measuring import Objective
from resources.training.loop.trainer import Trainer

WARM, STEPS = 1, 4
ROWS = 4  # micro-batches a step
ROOM = 0.8  # of the card that the plan may fill: a wrong plan shows, instead of a lack of memory
MFU, PEAK = 0.5, 0.1
CHUNK = 1024


def sft(setup: Setup) -> Outcome:
    """A step of four micro-batches, each a packed row of 8192 tokens in documents of 2048.

    As many of the 32 layers as the plan says fit. MFU = operations / seconds / A1's bf16 rate, with
    operations = 3 x a forward pass over all tokens: matrices, head and causal attention within
    documents, a multiply-add is 2 (`placement.training_flops`). Seconds are the median step's,
    optimizer included. The plan is `placement.memory`, the peak that of the allocator.
    """
    return _measured(
        setup, [("full", "full")] * layers(setup), lambda shape: 0, lambda: language_model_loss
    )


def distillation(setup: Setup) -> Outcome:
    """As `sft`, with the whole 8B model in bfloat16 as teacher and a heterogeneous child: every
    second FFN halved, every fourth attention gone.

    Loss: KL of whole distributions, logits of 1024 tokens at a time. Operations = 3 x the child's
    forward pass + the teacher's; what chunks compute again in the backward pass is not counted.
    """
    config = configured(setup)
    blocks: Any = config.block_configs

    def objective() -> Objective:
        dtype = torch.bfloat16 if setup.device == "cuda" else torch.float32
        return Towards(
            _RandomTeacher(random_model(config, setup.device, dtype)), chunk=CHUNK
        ).objective()

    pairs = [
        ("noop" if layer % 4 == 3 else "full", "ratio_50" if layer % 2 else "full")
        for layer in range(layers(setup))
    ]
    return _measured(setup, pairs, lambda shape: total_parameters(shape, blocks), objective)


class _RandomTeacher(LiveTeacher):
    """A live teacher that is made, not read: no folder holds it."""

    def __init__(self, model: HeterogeneousDecoderForCausalLM) -> None:
        self.model = model.requires_grad_(False)
        self.device = model.device
        self.temperature, self.direction = 1.0, "forward"


def _measured(
    setup: Setup,
    pairs: Sequence[tuple[str, str]],
    teacher: Callable[[Shape], int],
    objective: Callable[[], Objective],
) -> Outcome:
    """The step's figures; `teacher` gives the parameters of the one beside the model."""
    document, row = (8, 32) if setup.rehearsal else (2048, 8192)
    config, planned = _fitting(setup, pairs, teacher, row)
    shape, blocks = Shape.of(config.to_dict()), config.block_configs or []
    loss = objective()
    peak = PeakMemory(setup.device)
    model = random_model(config, setup.device, torch.float32)
    trainer = Trainer(
        model,
        OPTIMIZER,
        WARM + STEPS,
        setup.folder,
        0,
        Execution(device=setup.device, threads=1),
    )
    batches = packed(config.vocab_size, document, row, ROWS)
    times = []
    for _ in range(WARM + STEPS):
        began = time.perf_counter()
        metrics = trainer.update(batches, loss)  # ends with numbers on the host: nothing is pending
        times.append(time.perf_counter() - began)
    taken = peak.bytes()
    trainer.close()
    del trainer, model
    if setup.device == "cuda":
        torch.cuda.empty_cache()
    tokens = row * ROWS
    flops = placement.training_flops(shape, blocks, tokens, document)
    if teacher(shape):
        whole: Any = configured(setup).block_configs
        flops += forward_flops(shape, whole, document) * tokens / document
    seconds = statistics.median(times[WARM:])
    mfu = flops / seconds / matrix.rate(setup, torch.bfloat16)
    figures = {
        "layers": len(blocks),
        "of_layers": layers(setup),
        "parameters": total_parameters(shape, blocks),
        "step_seconds": seconds,
        "tokens_per_second": tokens / seconds,
        "mfu": mfu,
        "peak_bytes": taken,
        "planned_bytes": planned.total,
        "peak_to_plan": taken / planned.total,
        "loss": metrics["loss"],
    }
    near = abs(taken / planned.total - 1) <= PEAK
    return Outcome(figures, {"mfu": mfu >= MFU, "peak memory": near})


def _fitting(
    setup: Setup,
    pairs: Sequence[tuple[str, str]],
    teacher: Callable[[Shape], int],
    row: int,
) -> tuple[HeterogeneousDecoderConfig, Memory]:
    """The model with the most layers whose plan fills `ROOM` of the card at most, and the plan."""
    cuda = setup.device == "cuda"
    most = ROOM * torch.cuda.mem_get_info()[1] if cuda else float("inf")
    for count in range(len(pairs), 0, -1):
        config = configured(setup, pairs[:count])
        shape = Shape.of(config.to_dict())
        beside = teacher(shape)
        placed = Placement(
            micro_tokens=row, chunk=CHUNK if beside else None, compute_bytes=2 if cuda else 4
        )
        blocks: Sequence[Mapping[str, Any]] = config.block_configs or []
        planned = placement.memory(shape, blocks, placed, teacher_parameters=beside)
        if planned.total <= most:
            return config, planned
    raise RuntimeError(f"not one layer fits {most / 1e9:.0f} GB")
