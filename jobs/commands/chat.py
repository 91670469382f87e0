"""`heirloom chat`: talk to a checkpoint with its own chat template and thinking toggle.

Knows terminals; what of a conversation a model is shown is decided in `resources.engines.chat`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from jobs.errors import CommandError
from resources.store import home as homes

if TYPE_CHECKING:
    from jobs.commands.improving import Improving
    from resources.engines.protocol import Engine, Sampling
    from resources.execution import Execution
    from resources.recipe.schema import Recipe

MOST_TOKENS = 512  # of an answer
GREETING = "Ctrl-D ends the conversation, an empty line starts a new one."


def main(arguments: argparse.Namespace) -> int:
    """Read a message a line from standard input and answer each until end of file."""
    from jobs.keys import named, open_artifact
    from resources.engines.chat import conversation, stream_answer
    from resources.engines.opening import open_engine
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
    sampling = _sampling(recipe, arguments.thinking)
    improving = _improving(recipe, engine, execution) if arguments.feedback_edit else None
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
        if improving is not None:
            asked = conversation(history, engine.chat.toggle.tags[1])
            answer = _improved(improving, asked, answer, engine)
        history.append({"role": "assistant", "content": answer})


def _sampling(recipe: Recipe, thinking: str) -> Sampling:
    """As our own benchmarks decode; greedy, where the recipe has none."""
    from resources.engines.protocol import Sampling

    benchmarks = recipe.family.own_benchmarks
    if benchmarks is None:
        return Sampling(0.0, max_new_tokens=MOST_TOKENS)
    mode = benchmarks.on if thinking == "on" else benchmarks.off
    return Sampling(mode.temperature, mode.top_p, benchmarks.max_new_tokens)


def _improving(recipe: Recipe, engine: Engine, execution: Execution) -> Improving:
    from jobs.commands.improving import Improving

    return Improving(recipe, engine, execution.but(roles=dict(recipe.family.roles)))


def _improved(
    improving: Improving, asked: Sequence[tuple[str, str]], answer: str, engine: Engine
) -> str:
    """Print feedback and edit; the edit, or the answer where one of them is of no use."""
    from jobs.commands.improving import question
    from resources.verifiers.reasoning import split

    shown = split(answer, engine.chat.toggle.tags)[1]
    for role, text, why in improving.steps(question(asked), shown):
        print(f"\n[{role}]\n{text}", flush=True)
        if why is not None:
            print(f"[no use: {why}; the answer stays]", flush=True)
        elif role == "edit":
            return text
    return answer
