"""A real vLLM server and its client, both killed midway: nothing is lost and nothing paid twice.

    python -m benchmarks.served_survives FOLDER [--requests 500] [--tokens 32] [--pool]

FOLDER is a checkpoint that vLLM serves, in float32 at temperature 0. The requests are answered
once undisturbed and once with the server killed and started again at a third and the client killed
at two thirds. Printed: whether both runs hold the same request keys, how many texts differ, whether
what was stored at a kill is unchanged to the byte at the end, and how many requests were under way
at each kill. With `--pool`, two servers share the work, each on a core of its own, and one is
killed at a third for good.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from resources.chat.chat import Chat
from resources.engines.cache import CachedEngine
from resources.engines.protocol import Counted, Request, Sampling, request_key
from resources.engines.server.endpoint import Address
from resources.engines.server.engine import ServerEngine
from resources.engines.store.rows import Row, line
from resources.engines.store.store import RequestStore
from resources.engines.vllm_server import Server, serving
from resources.scratch import scratch
from resources.servers import unused

MODEL = "served"
CONCURRENCY = 16


def requests(count: int) -> list[Request]:
    """Short questions, all different."""
    return [
        Request((("user", f"What is {n % 97} plus {n // 97 + 3}? Answer with one number."),))
        for n in range(count)
    ]


def client(chosen: argparse.Namespace) -> None:
    """Ask for all; a line after every batch says what was sent and what came."""
    chat = Chat.load(chosen.folder)
    addresses = [Address(url, None, CONCURRENCY, 600.0) for url in chosen.url]
    engine = ServerEngine(lambda _: addresses, MODEL, chat, MODEL)
    cached = CachedEngine(engine, chosen.store)
    asked, done = requests(chosen.requests), 0
    for batch in cached.batches(Counted(asked, len(asked)), Sampling(0.0, 1.0, chosen.tokens)):
        done += len(batch)
        said = engine.said()
        state = {"done": done, "asked": cached.usage.asked, "cached": cached.usage.cached}
        state |= {name: said[name] for name in ("sent", "again", "lost")}
        print(json.dumps(state), flush=True)


def begun(chosen: argparse.Namespace, store: Path, urls: Sequence[str]) -> subprocess.Popen[str]:
    """A client in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.served_survives", str(chosen.folder), "--client"]
    command += ["--requests", str(chosen.requests), "--tokens", str(chosen.tokens)]
    command += ["--store", str(store), *(f"--url={url}" for url in urls)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> dict[str, int]:
    """The last state that a client told, once it has ended."""
    out, _ = process.communicate()
    lines = [each for each in out.splitlines() if each.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else {}


def rows(store: Path, chosen: argparse.Namespace) -> dict[bytes, bytes]:
    """What a store holds of the requests, each completion as bytes."""
    chat, sampling = Chat.load(chosen.folder), Sampling(0.0, 1.0, chosen.tokens)
    keys = [request_key(each, MODEL, sampling, chat) for each in requests(chosen.requests)]
    found = RequestStore(store).get(keys)
    return {key: line(Row(key, "", each, 0.0)) for key, each in found.items()}


def wait(until: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    """Wait; stop where one of the clients has ended without it."""
    while not until():
        if any(each.poll() is not None for each in processes):
            return
        time.sleep(0.2)


def kill(server: Server) -> None:
    """End a server and all that it started, at once."""
    os.killpg(server.process.pid, signal.SIGKILL)
    server.process.wait()


def started(
    stack: ExitStack, chosen: argparse.Namespace, port: int, log: Path, core: str
) -> Server:
    """A server on a port; `core` is where its threads are bound, "" where nowhere."""
    extra = ["--max-model-len", "512", "--generation-config", "vllm"]
    return stack.enter_context(
        serving(
            Path(chosen.folder),
            MODEL,
            port,
            log=log,
            dtype="float32",
            extra=extra,
            devices={"VLLM_CPU_OMP_THREADS_BIND": core} if core else {},
        )
    )


def survive(chosen: argparse.Namespace, place: Path, stack: ExitStack) -> None:
    """Both runs on one server, and what differs."""
    port, count = unused(), chosen.requests
    server = started(stack, chosen, port, place / "one.log", "")
    began = time.monotonic()
    first = ended(begun(chosen, place / "undisturbed", [server.url]))
    print(f"undisturbed: {first} in {time.monotonic() - began:.0f} s", flush=True)

    store = place / "disturbed"
    asking = begun(chosen, store, [server.url])
    wait(lambda: (store / "lock").exists() and len(RequestStore(store)) >= count // 3, asking)
    kill(server)
    at_server = rows(store, chosen)
    print(f"server killed with {len(at_server)} stored; started again", flush=True)
    server = started(stack, chosen, port, place / "two.log", "")
    wait(lambda: len(RequestStore(store)) >= 2 * count // 3, asking)
    asking.kill()
    killed = ended(asking)
    at_client = rows(store, chosen)
    print(f"client killed with {len(at_client)} stored; it had said {killed}", flush=True)
    last = ended(begun(chosen, store, [server.url]))
    compare(rows(place / "undisturbed", chosen), rows(store, chosen))
    whole = rows(store, chosen)
    for name, before in (("server's", at_server), ("client's", at_client)):
        changed = sum(whole[key] != each for key, each in before.items())
        print(f"stored at the {name} kill: {len(before)}, changed since: {changed}")
    print(f"after the client's kill: {last}; {count - len(at_client)} were missing")


def compare(one: dict[bytes, bytes], other: dict[bytes, bytes]) -> None:
    """Print whether two stores hold the same, apart from times."""
    print(f"keys: {len(one)} and {len(other)}, the same: {set(one) == set(other)}")

    def text(row: bytes) -> str:
        return str(json.loads(row.partition(b" ")[2])[2])

    differing = [key for key in one if key in other and text(one[key]) != text(other[key])]
    print(f"texts that differ: {len(differing)} ({len(differing) / max(1, len(one)):.1%})")
    for key in differing[:10]:
        print(f"  {key.hex()[:12]}: {text(one[key])!r} / {text(other[key])!r}")


def pool(chosen: argparse.Namespace, place: Path, stack: ExitStack) -> None:
    """Two servers, of which one dies."""
    servers = [started(stack, chosen, unused(), place / f"{n}.log", str(n)) for n in range(2)]
    store = place / "pool"
    asking = begun(chosen, store, [each.url for each in servers])
    wait(
        lambda: (store / "lock").exists() and len(RequestStore(store)) >= chosen.requests // 3,
        asking,
    )
    kill(servers[0])
    print(f"one of two servers killed with {len(rows(store, chosen))} stored", flush=True)
    print(f"the other went on: {ended(asking)}; {len(rows(store, chosen))} stored")


def main() -> None:
    """Run one of the experiments, or a client of one."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--pool", action="store_true")
    parser.add_argument("--client", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--store", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", action="append", default=[], help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.client:
        client(chosen)
        return
    with scratch("heirloom-served") as folder, ExitStack() as stack:
        (pool if chosen.pool else survive)(chosen, folder, stack)


if __name__ == "__main__":
    main()
