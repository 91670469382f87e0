"""vLLM servers of our own: started on a checkpoint, and ended with the engine that asks them.

Knows the settings of a recipe's role; the process is `vllm_server.py`'s matter.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from resources.engines.server.endpoint import Address
from resources.engines.vllm import KV_CACHE_BYTES, on_cpu
from resources.engines.vllm_server import serving
from resources.recipe.sections.roles import Managed
from resources.scratch import scratch
from resources.servers import unused

CONTEXTS = 4  # whole contexts that a CPU server's cache has room for
LONGEST = 4096  # tokens of a context on a CPU, where nothing else is asked for


def start(
    stack: ExitStack,
    folder: Path,
    name: str,
    dtype: str,
    servers: Sequence[Managed],
    logs: Path | None,
) -> list[Address]:
    """Start a server each; they end with the stack. Returns where they are asked.

    Logs go to the folder `logs`; without one they are gone with the stack. Raises ServerError where
    one does not start.
    """
    place = logs or stack.enter_context(scratch("heirloom-engine"))
    addresses = []
    for number, each in enumerate(servers):
        chosen = each.vllm
        port = unused()
        begun = time.strftime("%Y%m%d-%H%M%S")
        log = place / f"engine-{begun}-{os.getpid()}-{number}.log"
        shown = ",".join(map(str, chosen.devices))
        server = stack.enter_context(
            serving(
                folder,
                name,
                port,
                log=log,
                dtype=dtype,
                extra=_arguments(folder, each),
                devices={"CUDA_VISIBLE_DEVICES": shown} if shown else {},
            )
        )
        addresses.append(Address(server.url, None, each.concurrency, each.timeout))
    return addresses


def _arguments(folder: Path, server: Managed) -> list[str]:
    """What `vllm serve` is given beside address, name and type."""
    chosen = server.vllm
    said: dict[str, str | int | float | bool] = {
        "generation-config": "vllm",  # nothing is drawn otherwise than asked
        "tensor-parallel-size": chosen.tensor_parallel,
        "data-parallel-size": chosen.data_parallel,
    }
    if on_cpu():
        said |= _room(folder, chosen.arguments.get("max-model-len"))
    said |= chosen.arguments
    given = []
    for name, value in said.items():
        if value is not False:
            given += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    return given


def _room(folder: Path, asked: str | int | float | bool | None) -> dict[str, int]:
    """Context and cache of a server on a CPU, so that some whole contexts fit."""
    from resources.models.loading import read_config

    config = read_config(folder)
    longest = int(asked or min(int(config.max_position_embeddings), LONGEST))
    heads = [block["attention"]["num_key_value_heads"] or 0 for block in config.block_configs or []]
    size = config.head_dim or config.hidden_size // config.num_attention_heads
    token = 2 * 4 * size * sum(heads)
    return {
        "max-model-len": longest,
        "kv-cache-memory-bytes": max(KV_CACHE_BYTES, CONTEXTS * longest * token),
    }
