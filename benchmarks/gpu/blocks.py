"""A5 and B3 to B5: what Puzzle does with the layers of an 8B model."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from assets.puzzle.calibration import Sequences
from assets.puzzle.costs.bench import Setting
from assets.puzzle.costs.measuring import measure
from assets.puzzle.fusion import fuse
from assets.puzzle.halves import ATTENTION, FFN, Library, file_name, new_half, parent_half
from assets.puzzle.library import initialise
from assets.puzzle.library.bypass import Child, LayerTraining, Lesson
from assets.puzzle.scoring.build import variant_pairs
from assets.puzzle.scoring.data import BATCH_TOKENS, Batch
from assets.puzzle.scoring.replacements import Replacement, score
from assets.puzzle.scoring.tables import PARENT
from benchmarks.gpu import matrix
from benchmarks.gpu.models import configured, layers, random_model
from benchmarks.gpu.part import Outcome, Setup, median_seconds
from benchmarks.gpu.training import OPTIMIZER
from resources.execution import Execution
from resources.models.modeling import HeterogeneousDecoderForCausalLM

TRAINED = {ATTENTION: ["kv_4", "kv_1"], FFN: ["ratio_75", "ratio_50", "ratio_25"]}
REHEARSED = {ATTENTION: ["kv_1"], FFN: ["ratio_50"]}
SPREAD, FASTER, ALIKE, FORWARDS = 0.05, 4.0, 0.98, 0.6
PAPER = 1.71  # arXiv 2503.18908: Ultra-253B-Base's latency against its unfused form


def profile(setup: Setup) -> Outcome:
    """The profile of an 8B layer three times: (largest - smallest) / median of each time.

    Prefill of 2048 tokens and the decode step after 256 more, for 1 and 16 sequences, in bfloat16.
    Times that came out as 0 within their noise are left out and counted.
    """
    lengths = (8, 4) if setup.rehearsal else (2048, 256)
    setting = Setting(
        setup.device,
        "float32" if setup.rehearsal else "bfloat16",
        *lengths,
        blocks=8 if setup.rehearsal else 4,
        repeats=1 if setup.rehearsal else 5,
    )
    variants = {ATTENTION: ["full", "kv_1"], FFN: ["full", "ratio_50"]}
    if setup.rehearsal:  # tiny blocks drown in noise and are timed again and again
        variants = {ATTENTION: ["full"], FFN: ["noop"]}
    found = [
        measure(
            configured(setup),
            variants[ATTENTION],
            variants[FFN],
            (1,) if setup.rehearsal else (1, 16),
            setting,
        )
        for _ in range(3)
    ]
    times: dict[str, list[float]] = {}
    for each in found:
        for row in each.sub_blocks:
            name = f"{row.kind} {row.variant} x {row.batch}"
            times.setdefault(f"{name} prefill", []).append(row.prefill_seconds)
            times.setdefault(f"{name} decode", []).append(row.decode_seconds)
    clear = {name: values for name, values in times.items() if min(values) > 0}
    spreads = {name: np.ptp(values) / statistics.median(values) for name, values in clear.items()}
    worst = max(spreads, key=lambda name: spreads[name], default="")
    spread = float(spreads.get(worst, 0.0))
    figures = {
        "spread": spread,
        "of": worst,
        "median_spread": float(statistics.median(spreads.values())) if spreads else 0.0,
        "seconds": {name: statistics.median(values) for name, values in clear.items()},
        "not_told_from_0": len(times) - len(clear),
    }
    return Outcome(figures, {"spread": spread <= SPREAD})


def library(setup: Setup) -> Outcome:
    """One layer's children trained together (8192 tokens a step), then untrained children scored.

    Seconds of a training step in float32, TF32 and bfloat16 (autocast, weights in float32). Scores
    are the KL of every replacement in a 4-layer model of this shape (4096 random tokens, a set of
    random weights), in each of the three; ranks are compared with those of float32 by Kendall's
    tau = (concordant - discordant) / pairs.
    """
    seconds = {name: _step_seconds(setup, name) for name in ("fp32", "tf32", "bf16")}
    config = configured(setup, [("full", "full")] * 4)
    parent = random_model(config, setup.device, torch.float32)
    variants = REHEARSED if setup.rehearsal else TRAINED
    for layer in range(config.num_hidden_layers):
        for kind, names in variants.items():
            for name in names:
                _save(_child(parent, layer, kind, name), layer, kind, name, setup.folder)
    names = {kind: ["full", *variants[kind], "noop"] for kind in variants}
    children = [
        Replacement((layer,), *pair)
        for layer in range(config.num_hidden_layers)
        for pair in variant_pairs(names[ATTENTION], names[FFN])
        if pair != PARENT
    ]
    data = _tokens(setup, config.vocab_size, 2, 2048)
    scores = {}
    for name in seconds:
        if name == "bf16":
            parent = parent.to(torch.bfloat16)
        with _computing(name, autocast=False):
            scores[name] = _scores(parent, setup.folder, children, data)
    taus = {name: kendall(scores["fp32"], scores[name]) for name in ("tf32", "bf16")}
    faster = seconds["fp32"] / seconds["bf16"]
    figures = {
        "step_seconds": seconds,
        "bf16_speed_up": faster,
        "tf32_speed_up": seconds["fp32"] / seconds["tf32"],
        "kendall": taus,
        "scored": len(children),
    }
    return Outcome(figures, {"bf16 speed": faster >= FASTER, "ranking": taus["bf16"] >= ALIKE})


def scoring(setup: Setup) -> Outcome:
    """Seconds a replacement of attention by one key-value head, in each layer of the 8B model in
    bfloat16, as a share of a plain forward pass to logits over the same 8192 tokens.

    The forward pass takes 1, 2 or 4 sequences of 2048 at a time: the quickest counts. Scores are
    computed as the asset does it, reading the block and the parent's own pass included.
    """
    config = configured(setup)
    parent = random_model(config, setup.device, torch.bfloat16)
    first = _save(_child(parent, 0, ATTENTION, "kv_1"), 0, ATTENTION, "kv_1", setup.folder)
    for layer in range(1, layers(setup)):  # the same weights in every layer: time is asked for
        other = setup.folder / file_name(layer, ATTENTION, "kv_1")
        other.parent.mkdir()
        os.link(first, other)
    children = [Replacement((layer,), "kv_1", "full") for layer in range(layers(setup))]
    data = _tokens(setup, config.vocab_size, 4, 2048)

    def forward(size: int) -> None:
        for batch in data.batches(size):
            hidden, context = batch.context(parent)
            parent.logits(parent.run(hidden, context))

    with torch.inference_mode():
        once = min(median_seconds(partial(forward, size), setup.device, 3) for size in (1, 2, 4))
    each = median_seconds(
        lambda: _scores(parent, setup.folder, children, data), setup.device, 2
    ) / len(children)
    figures = {
        "forward_seconds": once,
        "score_seconds": each,
        "forwards": each / once,
        "children": len(children),
        "tokens": data.tokens,
    }
    return Outcome(figures, {"forwards": each / once <= FORWARDS})


def fusion(setup: Setup) -> Outcome:
    """Seconds of a decode step through 8 attention-free layers of the 8B shape in bfloat16, and
    through the 4 layers that their pairs are fused into: unfused / fused, for 1 to 64 sequences.

    One card has nothing to synchronise between layers, where most of the paper's gain (an 8-way
    tensor-parallel model) comes from.
    """
    model = random_model(configured(setup, [("noop", "full")] * 8), setup.device, torch.bfloat16)
    fused = fuse(model, [[layer, layer + 1] for layer in range(0, 8, 2)])
    batches = (1, 4) if setup.rehearsal else (1, 2, 4, 8, 16, 32, 64)
    ratios = {}
    with torch.inference_mode():
        for batch in batches:
            ids = torch.zeros(batch, 1, dtype=torch.long, device=setup.device)
            hidden, context = model.embed(ids), model.context(ids)
            seconds = [
                median_seconds(partial(each.run, hidden, context), setup.device)
                for each in (model, fused)
            ]
            ratios[str(batch)] = seconds[0] / seconds[1]
    return Outcome({"ratio": ratios, "paper": PAPER}, {})


def kendall(one: np.ndarray, other: np.ndarray) -> float:
    """Kendall's tau of two lists of numbers; ties count for neither side.

    >>> kendall(np.array([1, 2, 3]), np.array([1, 3, 2]))
    0.3333333333333333
    """
    first, second = np.triu_indices(len(one), 1)
    signs = np.sign(one[first] - one[second]) * np.sign(other[first] - other[second])
    return float(signs.mean())


def _step_seconds(setup: Setup, computed: str) -> float:
    """Seconds of a training step of the children of one layer, all at once."""
    config = configured(setup, [("full", "full")])
    parent = random_model(config, setup.device, torch.float32)
    variants = REHEARSED if setup.rehearsal else TRAINED
    children = [
        Child(0, kind, name, _child(parent, 0, kind, name), "the parent's weights")
        for kind, names in variants.items()
        for name in names
    ]
    training = LayerTraining(children, OPTIMIZER, 1000)
    data = _tokens(setup, config.vocab_size, 4, 2048)
    hidden, context = data.context(parent)

    def step() -> None:
        with _computing(computed, device=setup.device):
            lesson = Lesson.of(config, parent.layer(0), hidden.detach(), context)
            training.learn(lesson)

    return median_seconds(step, setup.device, 3)


@contextmanager
def _computing(name: str, *, autocast: bool = True, device: str = "cpu") -> Iterator[None]:
    """In float32, TF32 or bfloat16 (`autocast`: of float32 weights) for a while."""
    lowered = torch.autocast(device, torch.bfloat16) if name == "bf16" and autocast else None
    with lowered or nullcontext(), matrix.tf32() if name == "tf32" else nullcontext():
        yield


def _child(
    parent: HeterogeneousDecoderForCausalLM, layer: int, kind: str, variant: str
) -> nn.Module:
    half, source = new_half(parent, layer, kind, variant), parent_half(parent, layer, kind)
    if kind == ATTENTION:
        initialise.pool_attention(half, source)
    else:
        initialise.initialise_ffn(half, source, np.arange(parent.config.intermediate_size))
    return half


def _save(half: nn.Module, layer: int, kind: str, variant: str, folder: Path) -> Path:
    file = folder / file_name(layer, kind, variant)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(half.state_dict(), file)
    return file


def _tokens(setup: Setup, vocabulary: int, count: int, length: int) -> Sequences:
    """Random sequences, a document each."""
    count, length = (2, 16) if setup.rehearsal else (count, length)
    ids = np.random.default_rng(0).integers(0, vocabulary, (count, length))
    places = np.broadcast_to(np.arange(length), ids.shape)
    return Sequences(ids, places.copy(), np.zeros_like(ids))


def _scores(
    parent: HeterogeneousDecoderForCausalLM,
    folder: Path,
    children: Sequence[Replacement],
    data: Sequences,
) -> np.ndarray:
    """The mean KL of each replacement, as the asset computes it on a device of this kind."""
    length = data.input_ids.shape[1]
    batches = [Batch(part) for part in data.batches(max(1, BATCH_TOKENS // length))]
    together = Execution().micro_batch * length
    values = score(Library(parent, folder), children, batches, ["kl"], together=together)
    return values[:, 0].mean(-1)
