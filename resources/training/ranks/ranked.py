"""A whole build on several ranks: each calls the build function, the first one's output counts.

The function runs as it would in one process; its trainers find each other. Inputs travel as
manifests, the output as files in the work folder. Knows artifacts and outputs; builds nothing.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.precision import arithmetic
from resources.training.ranks import launch
from resources.verifiers import code
from resources.verifiers.programs import sandbox
from warehouse.artifact import Artifact, Output
from warehouse.manifest import jsonable
from warehouse.versions import Versions

if TYPE_CHECKING:
    from resources.execution import Execution

FOLDER = "ranks"  # in the work folder: the other ranks' work folders, and the output


def build(
    target: str,
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """What the build function `target` ("module:function") returns on rank 0 of several.

    For the start of that very function: `if launch.several(execution): return build(...)`. A rank
    other than the first works in a folder of its own below `workdir`, and may end early
    (`launch.first_goes_on`). Raises RankError when a rank fails.
    """
    arguments = {
        "target": target,
        "workdir": str(workdir),
        "manifests": {name: artifact.manifest for name, artifact in inputs.items()},
        "recipe": dict(recipe),
        "running": code.running(),
    }
    folder = workdir / FOLDER
    found = launch.run("resources.training.ranks.ranked:rank", arguments, execution, folder)
    return _read(folder / "output", found)


def rank(
    target: str,
    workdir: str,
    manifests: Mapping[str, Mapping[str, Any]],
    recipe: dict[str, Any],
    running: dict[str, Any],
    execution: Execution,
) -> dict[str, Any]:
    """One rank's part of `build`."""
    number = int(os.environ["RANK"])
    work = Path(workdir)
    own = work / FOLDER / str(number) if number else work
    own.mkdir(parents=True, exist_ok=True)
    versions = Versions(str(execution.home))
    inputs = {name: versions.artifact(dict(each)) for name, each in manifests.items()}
    computing = arithmetic(recipe.get("dtype"), execution.device)
    with computing, code.judging(**running), sandbox.noted() as tiers:
        output = launch.load(target)(own, inputs, recipe, execution)
    if tiers:
        output.observations["isolation"] = sorted(tiers)
    launch.first_goes_on()
    return _write(work / FOLDER / "output", output)


def _write(folder: Path, output: Output) -> dict[str, Any]:
    import pyarrow as pa

    folder.mkdir(parents=True, exist_ok=True)
    for name, data in output.tables.items():
        table = data if isinstance(data, pa.Table) else pa.Table.from_batches(data)
        with pa.ipc.new_stream(str(folder / f"{name}.arrow"), table.schema) as writer:
            writer.write_table(table)
    for name, data in output.images.items():
        (folder / f"{name}.png").write_bytes(data)
    found: dict[str, Any] = jsonable(
        {
            "tables": list(output.tables),
            "files": output.files,
            "metrics": output.metrics,
            "observations": output.observations,
            "images": list(output.images),
        }
    )
    return found


def _read(folder: Path, found: Mapping[str, Any]) -> Output:
    import pyarrow as pa

    tables = {
        name: pa.ipc.open_stream(pa.memory_map(str(folder / f"{name}.arrow"))).read_all()
        for name in found["tables"]
    }
    return Output(
        tables=tables,
        files={name: Path(path) for name, path in found["files"].items()},
        metrics=found["metrics"],
        observations=found["observations"],
        images={name: (folder / f"{name}.png").read_bytes() for name in found["images"]},
    )
