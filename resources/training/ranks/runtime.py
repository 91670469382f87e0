"""Brings up DeepSpeed in this process: device, process group, threads, quiet logs.

Alone in the process (world size 1) the group lives in memory: no launcher, no port. Under a
launcher (`torchrun`, which sets RANK and WORLD_SIZE) it is the launcher's group. It knows nothing
of models and losses.
"""

from __future__ import annotations

import logging
import os
import warnings
from types import ModuleType
from typing import Any

import torch

SHARED_MEMORY_OP = "deepspeed_shm_comm"


def bring_up(device: str = "cpu", threads: int | None = None) -> ModuleType:
    """Import DeepSpeed, join or create the process group, return the `deepspeed` module.

    Raises RuntimeError when `device` is not the accelerator this process already runs on.
    """
    if threads:
        torch.set_num_threads(threads)
    kind = torch.device(device).type
    # DeepSpeed picks its accelerator once per process, and guesses unless told.
    os.environ.setdefault("DS_ACCELERATOR", kind)
    # As DeepSpeed's own launcher does; else it runs `numactl` at each step of ZeRO 3 on CPUs, and
    # fails where PATH names a folder that this user may not read.
    os.environ.setdefault("LOCAL_SIZE", os.environ.get("LOCAL_WORLD_SIZE", "1"))
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed
        import deepspeed.ops
        from deepspeed.accelerator import get_accelerator

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # DeepSpeed's business, said once for every kind of call.
    warnings.filterwarnings("ignore", "`torch.distributed", FutureWarning)
    accelerator = get_accelerator().device_name()
    if accelerator != kind:
        raise RuntimeError(
            f"training was asked to run on {kind!r}, but DeepSpeed in this process uses "
            f"{accelerator!r}: set DS_ACCELERATOR={kind}, or start a new process"
        )
    if kind == "cpu":
        # This op only speeds up inference all-reduce between processes of one machine; building it
        # takes a C++ compiler and about a minute, and training never calls it. DeepSpeed builds
        # what this table (probed with the compiler at its first reading) calls compatible.
        vars(deepspeed.ops).setdefault("__compatible_ops__", {})[SHARED_MEMORY_OP] = False
    # Before DeepSpeed does: it would bind the group to a device, which hangs weight transfers.
    if not torch.distributed.is_initialized():
        backend = "nccl" if kind == "cuda" else "gloo"
        if "RANK" in os.environ:
            if kind == "cuda":
                torch.cuda.set_device(own_device(device))
            torch.distributed.init_process_group(backend)
        else:
            os.environ.setdefault("LOCAL_RANK", "0")
            torch.distributed.init_process_group(
                backend, store=torch.distributed.HashStore(), rank=0, world_size=1
            )
    return deepspeed


def own_device(device: str) -> torch.device:
    """This rank's device: `cuda` is one GPU a rank, in the order of the ranks on this machine."""
    found = torch.device(device)
    if found.type == "cuda" and found.index is None and "RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return found


def texts(own: str, device: torch.device) -> list[str]:
    """What every rank says, in their order. All ranks take part."""
    world = torch.distributed.get_world_size()
    if world == 1:
        return [own]
    data = torch.tensor(list(own.encode()), dtype=torch.uint8, device=device)
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world)]
    torch.distributed.all_gather(sizes, torch.tensor([len(data)], device=device))
    width = max(int(size) for size in sizes)
    rows = [data.new_zeros(width) for _ in range(world)]
    torch.distributed.all_gather(rows, torch.nn.functional.pad(data, (0, width - len(data))))
    said = zip(rows, sizes, strict=True)
    return [bytes(row[: int(size)].tolist()).decode() for row, size in said]


def first_decides(choice: bool, device: torch.device) -> bool:
    """Rank 0's choice, on every rank: for what hangs on a clock. All ranks take part."""
    if torch.distributed.get_world_size() == 1:
        return choice
    said = torch.tensor([int(choice)], device=device)
    torch.distributed.broadcast(said, 0)
    return bool(said)


def most(count: int, device: torch.device) -> int:
    """The largest of the ranks' counts; the count itself where there are no ranks.

    For loops over modules: at stage 3 all ranks must call a module equally often, since each call
    gathers its weights from all of them.
    """
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return count
    found = torch.tensor([count], device=device)
    torch.distributed.all_reduce(found, torch.distributed.ReduceOp.MAX)
    return int(found)


def engine(
    model: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    config: dict[str, Any],
) -> Any:
    """DeepSpeed's engine around a model, which it moves to `device`.

    At stage 3 a parameter is moved and spread over the ranks before the next one is, so that no
    device ever holds the model.
    """
    import deepspeed

    if config["zero_optimization"]["stage"] == 3:
        for buffer in model.buffers():
            buffer.data = buffer.data.to(device)
        deepspeed.zero.Init(module=model, dtype=torch.float32, config_dict_or_path=config)
    else:
        model.to(device)
    made, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config)
    return made


def engine_config(
    stage: int, dtype: str, gradient_clipping: float, offload: bool = False
) -> dict[str, Any]:
    """DeepSpeed's configuration: ZeRO `stage`, compute `dtype`, and clipping stated explicitly.

    Weights and optimizer states are float32 throughout; `bfloat16` computes under autocast.
    At stage 0 the loop clips, because DeepSpeed there throws the gradient norm away. `offload`
    keeps the optimizer's states in host memory, and its arithmetic: torch's AdamW all the same.
    """
    if offload and not stage:
        raise ValueError("offload_optimizer needs zero_stage 1, 2 or 3")
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        # update() decides where a step ends, so steps may hold any number of micro-batches.
        "managed_gradient_accumulation": False,
        "gradient_clipping": gradient_clipping if stage else 0.0,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
    }
    if offload:
        config["zero_optimization"]["offload_optimizer"] = {"device": "cpu"}
        # DeepSpeed's own CPU Adam is faster, but a resumed run would not be equal to the bit.
        config["zero_force_ds_cpu_optimizer"] = False
    if dtype == "bfloat16":
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    elif dtype != "float32":
        raise ValueError(f"training dtype is {dtype!r}; it must be float32 or bfloat16")
    return config
