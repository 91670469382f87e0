"""`heirloom chat`: talk to a checkpoint with its own chat template and thinking toggle."""

from __future__ import annotations

import argparse
import sys

from jobs.errors import CommandError
from resources.store import home as homes

GREETING = "Ctrl-D ends the conversation, an empty line starts a new one."


def main(arguments: argparse.Namespace) -> int:
    """Read a message a line from standard input and answer each until end of file."""
    from jobs.keys import open_artifact
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Request, Sampling
    from resources.models.template import SYSTEM
    from resources.recipe.loading import load

    home = homes.find(arguments.home).prepare()
    recipe = load(homes.recipe_name(home, arguments.recipe))
    artifact = open_artifact(home, recipe, arguments.model)
    if "config.json" not in artifact.manifest["files"]:
        raise CommandError(
            f"{artifact.key} is not a checkpoint; name one that `heirloom status` lists"
        )
    execution = {"home": str(home.path), **recipe.execution.model_dump(mode="json")}
    engine = open_engine(artifact.path(), artifact.data_version, execution)
    benchmarks = recipe.family.benchmarks
    mode = benchmarks.on if arguments.thinking == "on" else benchmarks.off
    sampling = Sampling(mode.temperature, mode.top_p, benchmarks.max_new_tokens)
    system = ("system", SYSTEM[arguments.thinking])
    interactive = sys.stdin.isatty()
    if interactive:
        print(
            f"{artifact.key}@{artifact.data_version[:12]}, "
            f"thinking {arguments.thinking}. {GREETING}"
        )
    messages = [system]
    while True:
        try:
            line = input("> " if interactive else "").strip()
        except EOFError:
            return 0
        if not line:
            messages = [system]
            continue
        messages.append(("user", line))
        [completion] = engine.generate([Request(tuple(messages))], sampling)
        print(completion.text, flush=True)
        messages.append(("assistant", completion.text))
