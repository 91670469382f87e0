"""Export of a checkpoint for vLLM, and the prompts with which the export is compared.

Writes the folder; what vLLM makes of it is asked in `checks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

DEPTHS = {1: 1.0, 2: 1.0, 3: 1.0}


def build_exported(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: Execution
) -> Output:
    """The checkpoint `inputs["model"]` in the form that the recipe names, else in the first that
    holds it: for stock vLLM, for vLLM with our plugin, or padded for both (which saves nothing).

    The dtype is what it is stored in. Raises ExportError, with the reasons, for a model that the
    form, or none, holds.
    """
    from resources.models.export.targets import NEMOTRON_NAS, sound, suited, target
    from resources.models.loading import load

    source, folder = inputs["model"].path(), workdir / "exported"
    model = load(source)
    against: dict[str, list[str]] = {}
    if recipe.get("form"):
        form = target(recipe["form"])
    else:
        form, against = suited(model.config.to_dict(), str(model.dtype).removeprefix("torch."))
    remarks = [f"not as {name}: {'; '.join(why)}" for name, why in against.items()]
    if form.name != NEMOTRON_NAS:
        remarks.append(f"written as {form.name}, for {form.for_whom}")
    remarks += form.write(model, folder, source)
    found = sound(folder)
    return Output(
        files={"": folder},
        metrics={name: float(value) for name, value in found.items()},
        observations={"form": form.name, "remarks": remarks},
    )


def questions(count: int, seed: object) -> list[list[dict[str, str]]]:
    """Seeded questions of all domains in turn."""
    from resources.tasks.generate import DOMAINS, stream

    streams = [stream(domain, depths=DEPTHS, seed=seed) for domain in DOMAINS]
    return [
        [{"role": "user", "content": next(streams[index % len(streams)]).question}]
        for index in range(count)
    ]


def prompts(folder: Path, count: int, seed: object) -> list[list[int]]:
    """The questions as token ids of a checkpoint's chat, thinking on and off in turn."""
    from resources.chat.chat import Chat

    modes = [("on", "off")[index % 2] for index in range(count)]
    return Chat.load(folder).prompts(questions(count, seed), modes)
