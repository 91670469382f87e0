"""`heirloom serve`: vLLM's OpenAI-compatible server on a checkpoint, on loopback."""

from __future__ import annotations

import argparse
import sys

from jobs.errors import CommandError
from resources.store import home as homes


def main(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; 0 after a clean stop, 1 when the server dies by itself."""
    from jobs.commands.export.checkpoint import checkpoint, exported
    from jobs.keys import named, open_artifact
    from resources.engines.vllm import missing
    from resources.engines.vllm_server import serving
    from resources.models.folders import stored_dtype
    from resources.recipe.loading import load
    from resources.servers import claim

    reason = missing()
    if reason is not None:
        raise CommandError(reason)
    claim(arguments.port)  # before anything is written
    home = homes.find(arguments.home).prepare()
    recipe = load(*named(home, arguments))
    artifact = checkpoint(open_artifact(home, recipe, arguments.model))
    made, _ = exported(home, recipe, artifact, verify=False)
    folder = made.path()
    log = home.logs / f"serve-{arguments.port}.log"
    print(f"starting vLLM on {folder} (log: {log})", flush=True)
    try:
        with serving(
            folder,
            arguments.model,
            arguments.port,
            log=log,
            dtype=stored_dtype(folder),
            extra=arguments.extra,
        ) as server:
            print(server.command)
            print(f"{arguments.model} on {server.url}/v1  (Ctrl-C stops it)")
            sys.stdout.flush()
            server.process.wait()
            code = server.process.returncode
    except KeyboardInterrupt:
        print("stopped", flush=True)
        return 0
    raise CommandError(f"vLLM stopped by itself (exit code {code}): see {log}")
