"""Opening an engine: from a checkpoint and the execution settings to something that generates.

The one place that knows which engines exist. Nothing here changes what is generated except in the
last bits of floating-point sums, so none of the settings is part of a request's key.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from resources.engines.cache import CachedEngine
from resources.engines.protocol import Engine

if TYPE_CHECKING:
    from resources.execution import Execution, Progress

ENGINES = ("transformers", "replay")


class Checkpoint(Protocol):
    """An artifact that holds a checkpoint folder."""

    def path(self, name: str = "") -> Path:
        """The verified local folder."""


def open_engine(
    checkpoint: Checkpoint | str | Path, model_version: str, execution: Execution
) -> Engine:
    """The engine named by `execution.engine` for a checkpoint.

    Without `execution.requests`, the folder of the request cache, nothing is cached. Raises
    ValueError for an engine that does not exist.
    """
    from resources.chat.chat import Chat

    name, requests = execution.engine, execution.requests
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is unknown: use one of {', '.join(ENGINES)}")
    folder = Path(checkpoint if isinstance(checkpoint, str | Path) else checkpoint.path())
    chat = Chat.load(folder)
    if name == "replay":
        if requests is None:
            raise ValueError("the replay engine needs execution.requests, a recorded cache")
        from resources.engines.replay import ReplayEngine

        return ReplayEngine(requests, model_version, chat)

    from resources.engines.causal import load_causal
    from resources.engines.transformers import TransformersEngine

    model = load_causal(folder, device=execution.device, dtype="float32")
    engine = TransformersEngine(
        model,
        chat,
        model_version,
        batch_size=execution.generation_batch,
        threads=execution.threads,
    )
    if requests is None:
        return engine
    return CachedEngine(engine, requests, _reporter(execution.progress))


def _reporter(
    progress: Progress,
) -> Callable[[int, int], None]:
    return lambda done, total: progress(f"{done}/{total} completions", done / total)
