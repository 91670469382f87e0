"""What models are asked with: whether each role's servers are there and have its model."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.checks.asked import Asked, Finding
from resources.recipe.sections.roles import Managed
from resources.recipe.tree import KeyPath


def started(asked: Asked) -> Iterator[Finding]:
    """A server that this machine cannot start, for want of vLLM."""
    from resources.engines.vllm import missing

    recipe = asked.recipe
    wanted: list[KeyPath] = [
        ("roles", name, "engine")
        for name, role in recipe.family.roles.items()
        if any(isinstance(each, Managed) for each in role.members)
    ]
    if recipe.execution.engine == "vllm":
        wanted.append(("execution", "engine"))
    why = missing() if wanted else None
    for keys in wanted:
        if why is not None:
            yield asked.fault(keys, why, "or take the engine embedded")


def servers(asked: Asked) -> Iterator[Finding]:
    """Servers that do not answer, do not have the model, or want a key."""
    from resources.engines.opening import addresses
    from resources.engines.server.endpoint import look
    from resources.engines.server.errors import EngineError

    for name, role in asked.recipe.family.roles.items():
        if not role.served:
            continue
        for address in addresses(role):
            if asked.offline:
                yield f"{name}: not asked, {address.base} (--offline)"
                continue
            try:
                found = look(address, str(role.model))
            except EngineError as error:
                yield asked.fault(("roles", name, "engine"), str(error))
                continue
            room = f", context {found.context}" if found.context else ""
            yield f"{name}: {address.base} serves {role.model}{room}"
        if role.version is None:
            yield (
                f"{name}: what {role.model} is, nothing tells: give the engine a version, and "
                "another one when its weights change"
            )
