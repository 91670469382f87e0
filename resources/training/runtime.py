"""Brings up DeepSpeed in this process: device, process group, threads, quiet logs.

Alone in the process (world size 1) the group lives in memory: no launcher, no port. Under a
launcher (`torchrun`, which sets RANK and WORLD_SIZE) DeepSpeed joins the launcher's group. It knows
nothing of models and losses.
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
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import deepspeed
        import deepspeed.ops
        from deepspeed.accelerator import get_accelerator

    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
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
    if not torch.distributed.is_initialized() and "RANK" not in os.environ:
        os.environ.setdefault("LOCAL_RANK", "0")
        torch.distributed.init_process_group(
            "nccl" if kind == "cuda" else "gloo",
            store=torch.distributed.HashStore(),
            rank=0,
            world_size=1,
        )
    return deepspeed


def engine_config(stage: int, dtype: str, gradient_clipping: float) -> dict[str, Any]:
    """DeepSpeed's configuration: ZeRO `stage`, compute `dtype`, and clipping stated explicitly.

    Weights and optimizer states are float32 throughout; `bfloat16` computes under autocast.
    At stage 0 the loop clips, because DeepSpeed there throws the gradient norm away.
    """
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        # update() decides where a step ends, so steps may hold any number of micro-batches.
        "managed_gradient_accumulation": False,
        "gradient_clipping": gradient_clipping if stage else 0.0,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "steps_per_print": None,
    }
    if dtype == "bfloat16":
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16"}
    elif dtype != "float32":
        raise ValueError(f"training dtype is {dtype!r}; it must be float32 or bfloat16")
    return config
