"""Opening an engine: from a checkpoint and the execution settings to something that generates.

The one place that knows which engines exist. Nothing here changes what is generated except in the
last bits of floating-point sums, so none of the settings is part of a request's key.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from resources.engines.cache import CachedEngine
from resources.engines.identity import Checkpoint, Names, former, identity
from resources.engines.protocol import Engine
from resources.engines.usage import Usage

if TYPE_CHECKING:
    from resources.execution import Execution, Progress

ENGINES = ("transformers", "replay")


def open_engine(
    checkpoint: Checkpoint | str | Path,
    model_version: str,
    execution: Execution,
    dtype: str | None = None,
    *,
    role: str = "",
) -> Engine:
    """The engine named by `execution.engine` for a checkpoint, computing in the recipe's `dtype`.

    `model_version` decides what is drawn; `role` is what the model is asked as. Without
    `execution.requests`, the folder of the request store, nothing is stored; completions of an
    artifact are found under its `identity`, and under the versions that stood there before; those
    in a `dtype` that is asked for stand apart. Raises ValueError for an engine that does not exist.
    """
    from resources.chat.chat import Chat

    name, requests = execution.engine, execution.requests
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is unknown: use one of {', '.join(ENGINES)}")
    folder = Path(checkpoint if isinstance(checkpoint, str | Path) else checkpoint.path())
    names = Names(model_version)
    if requests is not None and not isinstance(checkpoint, str | Path):
        names = Names(identity(checkpoint), partial(former, checkpoint, execution.home))
    if dtype is not None:
        names = Names(f"{names.now} {dtype}")
    chat = Chat.load(folder)
    asked = folder.name if isinstance(checkpoint, str | Path) else checkpoint.key
    usage = Usage(role, asked, model_version, {"engine": name})
    if name == "replay":
        if requests is None:
            raise ValueError("the replay engine needs execution.requests, a filled request store")
        from resources.engines.replay import ReplayEngine

        return ReplayEngine(requests, names, chat, usage)

    from resources.engines.causal import load_causal
    from resources.engines.transformers import TransformersEngine
    from resources.models.precision import Precision

    weights = Precision(dtype, execution.device).weights(folder)
    model = load_causal(folder, device=execution.device, dtype=weights)
    engine = TransformersEngine(
        model,
        chat,
        model_version,
        batch_size=execution.generation_batch,
        threads=execution.threads,
    )
    if requests is None:
        return engine
    return CachedEngine(engine, requests, names, _reporter(execution.progress), usage)


def _reporter(
    progress: Progress,
) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        of = f"/{total}" if total else ""
        progress(f"{done}{of} completions", done / total if total else 0.0)

    return report
