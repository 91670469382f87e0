"""`heirloom chat`: talk to a checkpoint with its own chat template and thinking toggle.

Knows terminals; what of a conversation a model is shown is decided in `resources.engines.chat`.
"""

from __future__ import annotations

import argparse
import sys

from jobs.errors import CommandError
from resources.store import home as homes

MOST_TOKENS = 512  # of an answer
GREETING = "Ctrl-D ends the conversation, an empty line starts a new one."


def main(arguments: argparse.Namespace) -> int:
    """Read a message a line from standard input and answer each until end of file."""
    from jobs.keys import named, open_artifact
    from resources.engines.chat import stream_answer
    from resources.engines.opening import open_engine
    from resources.engines.protocol import Sampling
    from resources.engines.transformers import TransformersEngine
    from resources.execution import Execution
    from resources.recipe.loading import load

    home = homes.find(arguments.home).prepare()
    recipe = load(*named(home, arguments))
    artifact = open_artifact(home, recipe, arguments.model)
    if "config.json" not in artifact.manifest["files"]:
        raise CommandError(
            f"{artifact.key} is not a checkpoint; name one that `heirloom status` lists"
        )
    execution = Execution.of(recipe.execution, home=str(home.path))
    engine = open_engine(artifact.path(), artifact.data_version, execution)
    if not isinstance(engine, TransformersEngine):
        raise CommandError(
            f"heirloom chat answers token by token, which engine {execution.engine!r} cannot: "
            "set execution.engine to transformers"
        )
    benchmarks = recipe.family.own_benchmarks
    sampling = Sampling(0.0, max_new_tokens=MOST_TOKENS)  # greedy, where the recipe does not say
    if benchmarks is not None:
        mode = benchmarks.on if arguments.thinking == "on" else benchmarks.off
        sampling = Sampling(mode.temperature, mode.top_p, benchmarks.max_new_tokens)
    interactive = sys.stdin.isatty()
    if interactive:
        print(
            f"{artifact.key}@{artifact.data_version[:12]}, "
            f"thinking {arguments.thinking}. {GREETING}"
        )
    history: list[dict[str, str]] = []
    while True:
        try:
            line = input("> " if interactive else "").strip()
        except EOFError:
            return 0
        if not line:
            history = []
            continue
        history.append({"role": "user", "content": line})
        answer = ""
        for piece in stream_answer(engine, history, arguments.thinking, sampling):
            print(piece, end="", flush=True)
            answer += piece
        print(flush=True)
        history.append({"role": "assistant", "content": answer})
