"""A run's weights, moments and random states by name, wherever ranks keep their pieces of them.

At ZeRO stage 0 every rank holds all weights and moments; at stages 1 to 3 each rank holds a piece,
and a tensor is put together when it is asked for, one at a time, by all ranks together. Their names
and values do not depend on the stage or on the number of ranks. Knows DeepSpeed's optimizers, no
files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from resources.models import precision
from resources.training.checkpoint import Saved, unique_tensors

MOMENTS = ("exp_avg", "exp_avg_sq")
COUNT = "step"  # how many updates the moments have seen


def weights(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and persistent buffers; a tied tensor appears once. All ranks take part."""
    for name, tensor in unique_tensors(model).items():
        yield name, full(tensor)


def full(tensor: Tensor) -> Tensor:
    """The whole tensor: itself, or a new one where stage 3 has spread it over the ranks."""
    if not hasattr(tensor, "ds_id"):
        return tensor.detach()
    from deepspeed import zero

    with zero.GatheredParameters([tensor]):
        return tensor.detach().clone()


def settle(model: nn.Module, dtype: str) -> None:
    """`precision.settle` for weights that stage 3 may have spread. All ranks take part."""
    if not any(hasattr(parameter, "ds_id") for parameter in model.parameters()):
        precision.settle(model, dtype)
        return
    from deepspeed import zero

    for parameter in model.parameters():
        with zero.GatheredParameters([parameter], modifier_rank=0):
            if torch.distributed.get_rank() == 0:
                parameter.data.copy_(parameter.data.to(precision.torch_dtype(dtype)))


def moments(model: nn.Module, engine: Any, stage: int) -> Iterator[tuple[str, Tensor]]:
    """`<parameter>.exp_avg`, `.exp_avg_sq` and `.step` (a scalar) of every trained parameter.

    Nothing before the first update. All ranks take part.
    """
    from deepspeed.utils import safe_get_full_optimizer_state

    states = _adamw(engine, stage).state
    counts = [float(state[COUNT]) for state in states.values() if COUNT in state]
    if stage in (1, 2) and counts:
        _link(engine)
    for name, parameter in _trained(model) if counts else ():
        if stage == 0:
            for kind, value in states.get(parameter, {}).items():
                yield f"{name}.{kind}", value
            continue
        for kind in MOMENTS:
            yield f"{name}.{kind}", safe_get_full_optimizer_state(parameter, kind)
        yield f"{name}.{COUNT}", torch.tensor(max(counts))


def restore_moments(model: nn.Module, engine: Any, stage: int, saved: Saved) -> None:
    """Give AdamW the saved moments, after `forget_moments` or before its first update."""
    names = set(saved.names("optimizer"))
    if not names:
        return
    if stage == 0:
        state = engine.optimizer.state
        for name, parameter in _trained(model):
            found = {
                kind: saved.tensor("optimizer", f"{name}.{kind}").to(parameter.device)
                for kind in (*MOMENTS, COUNT)
                if f"{name}.{kind}" in names
            }
            if found:
                state[parameter] = found
        return
    # A rank's pieces of many parameters lie in one tensor, with one count for all of them.
    count = max(float(saved.tensor("optimizer", n)) for n in names if n.endswith(f".{COUNT}"))
    _make_moments(engine, stage, count)
    for name, parameter in _trained(model):
        for kind in MOMENTS:
            if f"{name}.{kind}" in names:
                _set(parameter, stage, kind, saved.tensor("optimizer", f"{name}.{kind}"))


def forget_moments(engine: Any, stage: int) -> None:
    """Fresh optimizer states, as before the first update."""
    _adamw(engine, stage).state.clear()
    if stage in (1, 2):
        engine.optimizer._hp_optimizer_states_linked = False


def assemble(model: nn.Module) -> dict[Tensor, nn.Parameter]:
    """Whole parameters, in host memory, for those that stage 3 has spread; then `release`.

    Nothing where there are none. All ranks take part.
    """
    return {
        parameter: nn.Parameter(full(parameter).cpu(), parameter.requires_grad)
        for parameter in model.parameters()
        if hasattr(parameter, "ds_id")
    }


def release(model: nn.Module, whole: dict[Tensor, nn.Parameter]) -> None:
    """Make a plain model of what an engine that is gone left behind."""
    for module in model.modules() if whole else ():
        # DeepSpeed put a dictionary of its own here, which gathers what is looked up in it.
        module._parameters = {
            name: whole.get(parameter, parameter) if parameter is not None else None
            for name, parameter in module._parameters.items()
        }
        for left in ("_original_parameters", "_external_params", "ds_inflight_param_registry"):
            module.__dict__.pop(left, None)
    for parameter in model.parameters():
        # Stages 1 and 2 leave views of one buffer, which would be saved whole with each.
        if parameter.untyped_storage().nbytes() > parameter.nbytes:
            parameter.data = parameter.data.clone()
        parameter.grad = None


def random_states(device: torch.device) -> Iterator[tuple[str, Tensor]]:
    """The random states of every rank, as `cpu.<rank>` and `cuda.<rank>`. All ranks take part."""
    own = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        own["cuda"] = torch.cuda.get_rng_state(device)
    for kind, state in own.items():
        world = torch.distributed.get_world_size()
        states = [torch.empty_like(state, device=device) for _ in range(world)]
        torch.distributed.all_gather(states, state.to(device))
        yield from ((f"{kind}.{rank}", each.cpu()) for rank, each in enumerate(states))


def restore_random_states(device: torch.device, saved: Saved) -> None:
    """This rank's own state; a rank that was not there before keeps its seed."""
    rank, names = torch.distributed.get_rank(), saved.names("random")
    if f"cpu.{rank}" in names:
        torch.set_rng_state(saved.tensor("random", f"cpu.{rank}"))
    if f"cuda.{rank}" in names and device.type == "cuda":
        torch.cuda.set_rng_state(saved.tensor("random", f"cuda.{rank}"), device)


def _trained(model: nn.Module) -> list[tuple[str, nn.Parameter]]:
    return [(name, p) for name, p in model.named_parameters() if p.requires_grad]


def _adamw(engine: Any, stage: int) -> torch.optim.Optimizer:
    """torch's optimizer, which DeepSpeed wraps from stage 1 on."""
    optimizer: torch.optim.Optimizer = engine.optimizer.optimizer if stage else engine.optimizer
    return optimizer


def _make_moments(engine: Any, stage: int, count: float) -> None:
    """States of zeros, shaped like this rank's pieces, where AdamW would make them in a step."""
    optimizer = engine.optimizer
    pieces = (
        optimizer.fp32_partitioned_groups_flat
        if stage == 3
        else optimizer.single_partition_of_fp32_groups
    )
    for piece in pieces:
        optimizer.optimizer.state[piece] = {
            COUNT: torch.tensor(count, dtype=torch.float32, device=piece.device),
            **{kind: torch.zeros_like(piece) for kind in MOMENTS},
        }
    if stage < 3:
        _link(engine)


def _link(engine: Any) -> None:
    """Tell parameters where their moments are.

    DeepSpeed does it once, in the first update of the first group: the other groups have none yet.
    """
    engine.optimizer._hp_optimizer_states_linked = False
    engine.optimizer._lazy_init_hp_params_optimizer_state()


def _set(parameter: Any, stage: int, kind: str, value: Tensor) -> None:
    """This rank's piece of a moment."""
    from deepspeed.utils import safe_set_full_optimizer_state, safe_set_local_optimizer_state

    if stage < 3:
        safe_set_full_optimizer_state(parameter, value, kind)
        return
    size = parameter.ds_tensor.numel()
    start = size * torch.distributed.get_rank()
    piece = value.new_zeros(size)  # the last one is padded
    mine = value.flatten()[start : start + size]
    piece[: len(mine)] = mine
    safe_set_local_optimizer_state(parameter, piece, kind)
