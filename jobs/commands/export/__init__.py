"""`heirloom export`: a checkpoint as a folder that an engine serves, or SFT samples as a data set.

Decides which of the two NAME is; each is written by a module of its own, whole or not at all.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from jobs.errors import CommandError
from resources.store import home as homes

CHECKPOINTS = ("nemotron-nas", "heirloom", "padded")
DATA = ("parquet", "jsonl", "datasets")
ALL_SAMPLES = "sft_data"


def main(arguments: argparse.Namespace) -> int:
    """Write DIR; CommandError where it is in the way or the format is of the other kind."""
    from jobs.commands.export import checkpoint, data
    from jobs.keys import named, open_artifact
    from resources.recipe.loading import load

    folder = Path(arguments.directory).expanduser().absolute()
    refuse_foreign(folder)
    home = homes.find(arguments.home).prepare()
    recipe = load(*named(home, arguments))
    if arguments.name == ALL_SAMPLES:
        artifacts = data.all_samples(home, recipe)
    else:
        artifacts = [open_artifact(home, recipe, arguments.name)]
    of_data = all(data.SAMPLES in each.manifest["tables"] for each in artifacts)
    formats = DATA if of_data else CHECKPOINTS
    if arguments.format not in (None, *formats):
        kind = "SFT samples" if of_data else "no SFT samples"
        raise CommandError(
            f"{arguments.name} is {kind}: --format {' or '.join(formats)}, not {arguments.format}"
        )
    if of_data:
        if not arguments.verify:
            raise CommandError("--no-verify is for checkpoints: samples are not compared in vLLM")
        return data.export(home, artifacts, arguments.format or DATA[0], folder)
    return checkpoint.export(home, recipe, artifacts[0], arguments, folder)


def refuse_foreign(folder: Path) -> None:
    """CommandError where `folder` is a file, or a folder with content that no export wrote."""
    from resources.models.folders import NOTE

    if folder.exists() and not folder.is_dir():
        raise CommandError(f"{folder} is a file; name a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / NOTE).is_file():
        raise CommandError(
            f"{folder} holds files that no export wrote; name an empty or a new folder"
        )
