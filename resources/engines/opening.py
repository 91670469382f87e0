"""Opening an engine: from a model and the execution settings to something that generates.

The one place that knows which engines exist. Nothing here changes what is generated except in the
last bits of floating-point sums, so none of the settings is part of a request's key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.engines.cache import CachedEngine
from resources.engines.identity import Checkpoint, Names, former, identity
from resources.engines.protocol import Engine
from resources.engines.usage import Usage

if TYPE_CHECKING:
    from resources.chat.chat import Chat
    from resources.engines.server.endpoint import Address
    from resources.engines.server.engine import ServerEngine
    from resources.execution import Execution, Progress
    from resources.recipe.sections.roles import Managed, Role

ENGINES = ("transformers", "vllm", "replay")
UNVERSIONED = "unversioned"  # a served model whose weights nothing tells


def open_engine(
    checkpoint: Checkpoint | str | Path,
    model_version: str,
    execution: Execution,
    dtype: str | None = None,
    *,
    role: str = "",
) -> Engine:
    """The engine of a role, else that of the execution settings, for a checkpoint.

    It computes in the recipe's `dtype`. `model_version` decides what is drawn; `role` is what the
    model is asked as. Without `execution.requests`, the folder of the request store, nothing is
    stored; completions of an artifact are found under its `identity`, and under the versions that
    stood there before; those in a `dtype` that is asked for stand apart. Raises ValueError for an
    engine that does not exist.
    """
    from resources.chat.chat import Chat

    name, requests = _name(execution, role), execution.requests
    if name not in ENGINES:
        raise ValueError(f"engine {name!r} is unknown: use one of {', '.join(ENGINES)}")
    folder = Path(checkpoint if isinstance(checkpoint, str | Path) else checkpoint.path())
    names = Names(model_version)
    if requests is not None and not isinstance(checkpoint, str | Path):
        names = Names(identity(checkpoint), partial(former, checkpoint, execution.home))
    if dtype is not None:
        names = Names(f"{names.now} {dtype}")
    chat = Chat.load(folder)
    shown = folder.name if isinstance(checkpoint, str | Path) else checkpoint.key
    usage = Usage(role, shown, model_version, lambda: {"engine": name})
    if name == "replay":
        return _replay(execution, names, chat, usage)
    if name == "vllm":
        served = _managed(folder, shown, chat, model_version, execution, dtype, role)
        usage.engine = lambda: {"engine": name, **served.said()}
        return _stored(served, execution, names, usage)
    embedded = _embedded(folder, chat, model_version, execution, dtype)
    return _stored(embedded, execution, names, usage)


def open_served(asked: Mapping[str, Any], execution: Execution, role: str) -> Engine:
    """The engine of a role whose model only servers have, or in which rules answer.

    `asked`: `model` as the servers call it, and where they are declared its `version` and its
    `thinking`. Without a version the key of a request says so, and nothing tells when the weights
    behind the name change. Raises ValueError where the role has no server.
    """
    from resources.engines.server.chat import ServedChat

    version = asked.get("version")
    chat = ServedChat(asked.get("thinking"))
    names = Names(f"served {asked['model']}@{version or UNVERSIONED}")
    usage = Usage(role, str(asked["model"]), version or UNVERSIONED)
    found = execution.roles.get(role)
    if found is not None and found.scripted:
        from resources.engines.scripted import ScriptedEngine

        usage.engine = lambda: {"engine": "scripted"}
        return ScriptedEngine(role, usage)
    if execution.engine == "replay" or (found is not None and found.engine == "replay"):
        usage.engine = lambda: {"engine": "replay"}
        return _replay(execution, names, chat, usage)
    if found is None or not found.served:
        raise ValueError(f"the role {role} has no server: give roles.{role}.engine an address")
    engine = _servers(found, str(asked["model"]), chat, version or UNVERSIONED)
    usage.engine = lambda: {
        "engine": "openai",
        "content_addressed": version is not None,
        **engine.said(),
    }
    return _stored(engine, execution, names, usage)


def _name(execution: Execution, role: str) -> str:
    """Which engine a role's checkpoint is asked with."""
    found = execution.roles.get(role)
    if found is None:
        return execution.engine
    if isinstance(found.engine, str):
        return {"embedded": "transformers"}.get(found.engine, found.engine)
    return "vllm"


def _stored(engine: Engine, execution: Execution, names: Names, usage: Usage) -> Engine:
    if execution.requests is None:
        return engine
    progress = _reporter(execution.progress)
    return CachedEngine(engine, execution.requests, names, progress, usage)


def _replay(execution: Execution, names: Names, chat: Any, usage: Usage) -> Engine:
    from resources.engines.replay import ReplayEngine

    if execution.requests is None:
        raise ValueError("the replay engine needs execution.requests, a filled request store")
    return ReplayEngine(execution.requests, names, chat, usage)


def _embedded(
    folder: Path, chat: Chat, model_version: str, execution: Execution, dtype: str | None
) -> Engine:
    from resources.engines.causal import load_causal
    from resources.engines.transformers import TransformersEngine
    from resources.models.precision import Precision

    weights = Precision(dtype, execution.device).weights(folder)
    return TransformersEngine(
        load_causal(folder, device=execution.device, dtype=weights),
        chat,
        model_version,
        batch_size=execution.generation_batch,
        threads=execution.threads,
    )


def _managed(
    folder: Path,
    name: str,
    chat: Chat,
    model_version: str,
    execution: Execution,
    dtype: str | None,
    role: str,
) -> ServerEngine:
    from resources.engines.server import managed
    from resources.engines.server.engine import ServerEngine
    from resources.models.precision import Precision

    weights = Precision(dtype, execution.device).weights(folder)
    servers = _ours(execution, role)
    logs = None if execution.home is None else Path(execution.home) / "logs"
    return ServerEngine(
        lambda stack: managed.start(stack, folder, name, weights, servers, logs),
        name,
        chat,
        model_version,
    )


def _ours(execution: Execution, role: str) -> list[Managed]:
    """The servers to start: those of the role, else one as the execution settings have it."""
    from resources.recipe.sections.roles import Managed, VllmSettings

    found: Role | None = execution.roles.get(role)
    members = [] if found is None else found.members
    ours = [each for each in members if isinstance(each, Managed)]
    settings = VllmSettings(tensor_parallel=execution.tensor_parallel)
    return ours or [Managed(vllm=settings)]


def _servers(role: Role, model: str, chat: Any, version: str) -> ServerEngine:
    from resources.engines.server.engine import ServerEngine

    found = addresses(role)
    return ServerEngine(lambda _: found, model, chat, version)


def addresses(role: Role) -> list[Address]:
    """Where the servers of a served role are asked, and how."""
    from resources.engines.server.endpoint import Address
    from resources.engines.server.wire import Price
    from resources.recipe.sections.roles import Asking, Openai

    shared = role.engine if isinstance(role.engine, Asking) else None
    found = []
    for each in role.members:
        how = each if isinstance(each, Openai) else shared
        assert how is not None
        price = Price(how.price.prompt, how.price.completion) if how.price else None
        url = each.openai if isinstance(each, Openai) else str(each)
        found.append(Address(url, how.api_key_env, how.concurrency, how.timeout, price))
    return found


def _reporter(
    progress: Progress,
) -> Callable[[int, int], None]:
    def report(done: int, total: int) -> None:
        of = f"/{total}" if total else ""
        progress(f"{done}{of} completions", done / total if total else 0.0)

    return report
