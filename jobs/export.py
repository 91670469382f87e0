"""`heirloom export`: a checkpoint as a folder for an engine, compared with the original in vLLM."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.errors import CommandError
from resources.store import home as homes

if TYPE_CHECKING:
    from warehouse.store import Artifact

PROMPTS, TOKENS = 16, 32


def main(arguments: argparse.Namespace) -> int:
    """Write the folder and compare; 1 where vLLM disagrees or something is in the way."""
    from jobs.keys import named, open_artifact
    from resources.engines.vllm_verify import verify
    from resources.recipe.loading import load

    target = Path(arguments.directory).expanduser().absolute()
    refuse_foreign(target)
    home = homes.find(arguments.home).prepare()
    recipe = load(*named(home, arguments))
    artifact = checkpoint(open_artifact(home, recipe, arguments.model))
    form, remarks = write(artifact, target, arguments.format)
    size = sum(file.stat().st_size for file in target.iterdir())
    print(f"{artifact.key}@{artifact.data_version[:12]} as {form}, {size / 1e6:,.1f} MB: {target}")
    for remark in remarks:
        print(remark)
    if not arguments.verify:
        print("not verified in vLLM: --no-verify")
        return 0
    from assets.serving.export import prompts

    source = artifact.path()
    asked = prompts(source, PROMPTS, recipe.family.seed)
    found = verify(target, source, asked, TOKENS)
    print(found.describe(), flush=True)
    if found.verified and not found.equal:
        raise CommandError(f"vLLM does not compute what {artifact.key} does: do not use {target}")
    return 0


def checkpoint(artifact: Artifact) -> Artifact:
    """The artifact itself, where it is one; CommandError where it holds no checkpoint."""
    if "config.json" not in artifact.manifest["files"]:
        raise CommandError(
            f"{artifact.key} is not a checkpoint; name one that `heirloom status` lists"
        )
    return artifact


def refuse_foreign(target: Path) -> None:
    """CommandError where `target` is a file, or a folder with content that no export wrote."""
    from resources.models.folders import NOTE

    if target.exists() and not target.is_dir():
        raise CommandError(f"{target} is a file; name a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / NOTE).is_file():
        raise CommandError(
            f"{target} holds files that no export wrote; name an empty or a new folder"
        )


def write(artifact: Artifact, folder: Path, form: str | None) -> tuple[str, list[str]]:
    """Write a checkpoint in a form (None: the first that holds it) over an earlier export.

    The form, and remarks for the reader.
    """
    from resources.models.export.targets import suited, target
    from resources.models.loading import load

    source = artifact.path()
    model = load(source)
    against: dict[str, list[str]] = {}
    if form is None:
        chosen, against = suited(model.config, str(model.dtype).removeprefix("torch."))
    else:
        chosen = target(form)
    note = {
        "asset_key": artifact.key,
        "data_version": artifact.data_version,
        "format": chosen.name,
    }
    remarks = [f"not as {name}: {'; '.join(why)}" for name, why in against.items()]
    return chosen.name, [*remarks, *chosen.write(model, folder, source, note)]
