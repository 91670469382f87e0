"""FFN Fusion: consecutive attention-free layers become one layer with one wide FFN.

The parallel form x + Σ_k FFN_k(η_k(x)) of a run is one SwiGLU FFN with gate and up stacked and down
side by side (arXiv 2503.18908, Theorem 3.1). Here each layer keeps its own norm's scale w_k, folded
into its gate and up columns, so that the fused layer equals the parallel form exactly; the paper
uses the last layer's norm for all. Only parallel for sequential is an approximation: `dependency`
and `reversed_order` tell how good. Knows models; which runs to fuse is decided in `plan.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import numpy as np
    import torch

    from assets.puzzle.calibration import Sequences
    from resources.models.modeling import HeterogeneousDecoderForCausalLM


def fuse(
    model: HeterogeneousDecoderForCausalLM,
    runs: Sequence[Sequence[int]],
    norms: Literal["own", "last"] = "own",
) -> HeterogeneousDecoderForCausalLM:
    """A new model with each run of attention-free layers as one layer, exactly the parallel form.

    Biases of gate and up are stacked, those of down summed; FFN widths may differ; layers without
    an FFN add nothing. A run of one layer is left as it is. The given model is not changed.

    Args:
        runs: lists of consecutive layer indices, in the given model's numbering.
        norms: `own`: every FFN keeps its norm, y = x + Σ_k FFN_k(η_k(x)); `last`: all take that of
            the run's last FFN n, y = x + Σ_k FFN_k(η_n(x)), the paper's form, for comparison.

    Raises:
        ValueError: a run is not consecutive or overlaps another, or a layer of it does not exist,
            has an attention or a linear FFN.
    """
    from assets.puzzle.halves import fill
    from resources.models.config import HeterogeneousDecoderConfig

    _check(model, runs)
    starts = {run[0]: run for run in runs if len(run) > 1}
    inside = {layer for run in starts.values() for layer in run[1:]}
    given = model.config.block_configs or []
    configs, blocks = [], []
    for layer, config in enumerate(given):
        if layer in inside:
            continue
        weights = model.layers[layer].state_dict()
        if layer in starts:
            weights = _fused(model, starts[layer], norms)
            width = sum(given[each]["ffn"]["intermediate_size"] or 0 for each in starts[layer])
            ffn = {"kind": "full" if width else "noop", "intermediate_size": width or None}
            config = {"attention": config["attention"], "ffn": ffn}
        configs.append(config)
        blocks.append(weights)
    values = model.config.to_dict()
    values |= {"block_configs": configs, "num_hidden_layers": len(configs)}
    return fill(model, HeterogeneousDecoderConfig(**values), blocks)


def new_indices(layers: int, runs: Sequence[Sequence[int]]) -> list[int]:
    """For each layer of the unfused model, the layer of the fused model that holds it."""
    inside = {layer for run in runs for layer in run[1:]}
    indices, index = [], -1
    for layer in range(layers):
        index += int(layer not in inside)
        indices.append(index)
    return indices


def reversed_order(
    model: HeterogeneousDecoderForCausalLM, run: Sequence[int]
) -> HeterogeneousDecoderForCausalLM:
    """A new model with a run's layers in reverse order: the cheap pre-test of fusing them.

    Layers that do not mind each other's order do not need each other's output either, so where the
    reversed model is about as good as the given one, the fused one is too (arXiv 2503.18908).

    Raises:
        ValueError: a run that could not be fused, as in `fuse`.
    """
    from assets.puzzle.halves import fill
    from resources.models.config import HeterogeneousDecoderConfig

    _check(model, [run])
    configs = list(model.config.block_configs or [])
    order = list(range(len(configs)))
    order[run[0] : run[-1] + 1] = reversed(run)
    values = model.config.to_dict() | {"block_configs": [configs[layer] for layer in order]}
    weights = [model.layers[layer].state_dict() for layer in order]
    return fill(model, HeterogeneousDecoderConfig(**values), weights)


def dependency(
    model: HeterogeneousDecoderForCausalLM, data: Sequences, batch: int = 8
) -> np.ndarray:
    """How much layer j needs layer i: `[L, L]`, zero unless i < j (arXiv 2503.18908 §4).

    M_ij is the mean over tokens of the cosine distance between j's contribution to the residual
    stream in the model and in the model without layer i. States before i are computed once.
    """
    import numpy as np
    import torch

    layers = model.layers
    sums = np.zeros((len(layers), len(layers)))
    with torch.inference_mode():
        for part in data.batches(batch):
            hidden, context = part.context(model)
            states = [hidden]
            for layer in layers:
                states.append(layer(states[-1], context))
            for removed in range(len(layers)):
                state = states[removed]
                for index in range(removed + 1, len(layers)):
                    after = layers[index](state, context)
                    distance = _distance(states[index + 1] - states[index], after - state)
                    sums[removed, index] += float(distance.double().sum())
                    state = after
    return sums / data.tokens


def _distance(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """1 - cosine of `[B, T, H]` vectors; 0 where a layer contributes nothing either way.

    In float32 or better.
    """
    import torch

    kind = torch.promote_types(one.dtype, torch.float32)
    cosine = torch.nn.functional.cosine_similarity(one.to(kind), other.to(kind), dim=-1)
    nothing = (one.abs().amax(-1) == 0) & (other.abs().amax(-1) == 0)
    return torch.where(nothing, torch.zeros_like(cosine), 1 - cosine).clamp_min(0)


def _fused(
    model: HeterogeneousDecoderForCausalLM, run: Sequence[int], norms: str
) -> dict[str, torch.Tensor]:
    """The weights of the layer that replaces a run."""
    import torch

    layers: list[Any] = [model.layers[layer] for layer in run]
    parts = [layer for layer in layers if layer.mlp is not None]
    if not parts:
        return {}
    scales = [part.post_attention_layernorm.weight for part in parts]
    # Norms differ in their scale alone (one epsilon a model), so a scale can move into the columns.
    shared = torch.ones_like(scales[-1]) if norms == "own" else scales[-1].detach().clone()
    weights: dict[str, torch.Tensor] = {"post_attention_layernorm.weight": shared}
    for name in ("gate_proj", "up_proj"):
        projections = [getattr(part.mlp, name) for part in parts]
        columns = [
            projection.weight * scale if norms == "own" else projection.weight
            for projection, scale in zip(projections, scales, strict=True)
        ]
        weights[f"mlp.{name}.weight"] = torch.cat(columns).detach()
        if projections[0].bias is not None:
            biases = [projection.bias for projection in projections]
            weights[f"mlp.{name}.bias"] = torch.cat(biases).detach()
    down = [part.mlp.down_proj for part in parts]
    weights["mlp.down_proj.weight"] = torch.cat([each.weight for each in down], dim=1).detach()
    if down[0].bias is not None:
        weights["mlp.down_proj.bias"] = torch.stack([each.bias for each in down]).sum(0).detach()
    return weights


def _check(model: HeterogeneousDecoderForCausalLM, runs: Sequence[Sequence[int]]) -> None:
    configs = model.config.block_configs or []
    seen: set[int] = set()
    for run in runs:
        if not run or list(run) != list(range(run[0], run[0] + len(run))):
            raise ValueError(f"run {list(run)}: give consecutive, rising layer indices")
        for layer in run:
            if not 0 <= layer < len(configs):
                raise ValueError(f"run {list(run)}: the model has layers 0 to {len(configs) - 1}")
            if layer in seen:
                raise ValueError(f"run {list(run)}: layer {layer} stands in two runs")
            seen.add(layer)
            attention, ffn = configs[layer]["attention"]["kind"], configs[layer]["ffn"]["kind"]
            if attention != "noop":
                raise ValueError(
                    f"run {list(run)}: layer {layer} has {attention} attention; only layers "
                    "without attention can be fused"
                )
            if ffn == "linear":
                raise ValueError(
                    f"run {list(run)}: layer {layer} has a linear FFN, which no SwiGLU FFN holds"
                )
