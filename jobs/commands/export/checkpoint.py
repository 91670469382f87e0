"""A checkpoint's export, an artifact like any other, copied into a folder.

Builds or restores the artifact; how a form is written and compared is the serving stage's matter.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import CommandError

if TYPE_CHECKING:
    from resources.recipe.schema import Recipe
    from resources.store.home import Home
    from warehouse.store import Artifact


def export(
    home: Home, recipe: Recipe, artifact: Artifact, arguments: argparse.Namespace, folder: Path
) -> int:
    """Export and copy; CommandError where vLLM disagrees or `artifact` is no checkpoint."""
    source = checkpoint(artifact)
    made, form = exported(home, recipe, source, arguments.format, verify=arguments.verify)
    copy(made, source, form, folder)
    size = sum(file.stat().st_size for file in folder.iterdir())
    print(f"{source.key}@{source.data_version[:12]} as {form}, {size / 1e6:,.1f} MB: {folder}")
    print(f"the artifact is {made.key}@{made.data_version[:12]}")
    for remark in made.observations.get("remarks", ()):
        print(remark)
    if not arguments.verify:
        print("not verified in vLLM: --no-verify")
    return 0


def checkpoint(artifact: Artifact) -> Artifact:
    """The artifact itself, where it is one; CommandError where it holds no checkpoint."""
    if "config.json" not in artifact.manifest["files"]:
        raise CommandError(
            f"{artifact.key} is not a checkpoint; name one that `heirloom status` lists"
        )
    return artifact


def exported(
    home: Home, recipe: Recipe, source: Artifact, form: str | None = None, *, verify: bool
) -> tuple[Artifact, str]:
    """The artifact that exports a version of a checkpoint, built or restored, and its form.

    With `verify` it is compared in vLLM, where that was not done when it was built; prints what
    came of it. CommandError where vLLM computes something else: then there is no export.
    """
    from assets.serving.assets import EQUAL, export_spec
    from resources.execution import Execution
    from resources.models.export.targets import NEMOTRON_NAS
    from resources.store.building import bind, check_name, checked, code_of, materialise
    from warehouse.catalog import write_catalog
    from warehouse.store import CheckFailed, Store

    store, inputs = Store(home.path), {"model": source}
    current = store.parts(source.key).values()
    old = None if source.memo_key in {one.memo_key for one in current} else source.data_version[:12]
    spec = export_spec(recipe, source.key, form, old)
    if not verify:
        spec = dataclasses.replace(spec, checks=tuple(c for c in spec.checks if c != EQUAL))
    execution = Execution.of(recipe.execution, home=str(home.path), requests=home.requests)
    try:
        made = materialise(store, spec, code_of(spec), execution, inputs=inputs)
        results = {result.name: result for result in checked(store, spec, made)}
    except CheckFailed as error:
        raise CommandError(f"{error}: do not use an export of {source.key}") from error
    write_catalog(home.path)
    if verify:
        result = results[check_name(EQUAL)]
        if not result.passed:  # where it was built there was no vLLM to ask
            result = bind(EQUAL, inputs)(made)
        print(result.description, flush=True)
        if result.blocking and not result.passed:
            raise CommandError(f"vLLM does not compute {source.key}: do not use {made.key}")
    # What was built before there were several forms is of the first.
    return made, str(made.observations.get("form", NEMOTRON_NAS))


def copy(made: Artifact, source: Artifact, form: str, folder: Path) -> None:
    """Copy an export's files, with a note of what it was made from; the folder is replaced whole.

    Copies, not links: what is done to the folder must not reach the store.
    """
    from resources.models.folders import NOTE, write_json
    from warehouse.errors import explained
    from warehouse.files.filesystem import replacing_folder

    note = {"asset_key": source.key, "data_version": source.data_version, "format": form}
    with explained(f"write {folder}"), replacing_folder(folder) as aside:
        for file in made.path().iterdir():
            shutil.copyfile(file, aside / file.name)
        write_json(aside / NOTE, note)
