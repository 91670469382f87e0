"""Every command's name and options, and nothing of what they do."""

from __future__ import annotations

import argparse
from collections.abc import Callable

RECIPE_HELP = (
    "a recipe's name or folder (default: $HEIRLOOM_RECIPE, else tiny for `run` and the home's "
    "last run for the other commands)"
)


Command = Callable[[str, str, str], argparse.ArgumentParser]  # name, room, help


def parser() -> argparse.ArgumentParser:
    """The whole command line. argparse exits with 2 on wrong usage by itself."""
    top = argparse.ArgumentParser(
        prog="heirloom", description="Efficient reasoning models as assets with lineage."
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--home", help="where everything is kept (default: $HEIRLOOM_HOME)")
    shared.add_argument("--recipe", help=RECIPE_HELP)
    shared.add_argument(
        "--set",
        action="append",
        type=assignment,
        default=[],
        dest="overrides",
        metavar="KEY=VALUE",
        help="change one value of the recipe, such as models.super.rloo.steps=4; repeatable",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, room: str, help: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=help, description=help, parents=[shared])
        sub.set_defaults(room=room)
        return sub

    _making(command)
    _looking(command)
    _keeping(command)
    _using(command)
    _alone(command)
    _profile(command)
    _showing(command)
    return top


def _making(command: Command) -> None:
    """Recipes, and the assets that they make."""
    run = command("run", "running.driver", "materialise what is missing or stale")
    run.add_argument("--select", help="which assets, in Dagster's selection syntax")
    run.add_argument("--dry-run", action="store_true", help="print what would run, and its cost")
    run.add_argument(
        "--without-programs",
        action="store_true",
        help="do not run programs that models wrote: verdicts on code are unknown (same as "
        "--set programs=unjudged; for machines without isolation)",
    )

    check = command("check", "checks.command", "everything that could stop a recipe, all at once")
    check.add_argument("target", metavar="RECIPE", nargs="?", help="as --recipe")
    check.add_argument("--resolved", action="store_true", help="each value and where it is from")
    check.add_argument("--offline", action="store_true", help="ask no network")

    init = command("init", "commands.init", "write one commented recipe from a parent and files")
    init.add_argument("dir", metavar="DIR", nargs="?", help="DIR.yaml (default: the model's name)")
    init.add_argument("--parent", required=True, metavar="P", help="a folder, GGUF or hub id")
    init.add_argument(
        "--sft", action="append", default=[], metavar="FILE", help="conversations; repeatable"
    )
    init.add_argument("--teacher", metavar="URL", help="a server that answers questions")
    init.add_argument("--gpus", type=int, metavar="N", help="default: 1 where there is one, else 0")
    init.add_argument(
        "--from", dest="base", default="single-gpu", metavar="BASE", help="what it extends"
    )

    command("recipes", "commands.recipes", "what can be run or extended")


def _looking(command: Command) -> None:
    """What a home holds and how it came about."""
    status = command("status", "commands.status", "every asset: fresh, stale (why) or missing")
    status.add_argument("--format", choices=["table", "json"], default="table")

    logs = command("logs", "commands.logs", "the last build of an asset: its log, the cause last")
    logs.add_argument("key", metavar="KEY", help="an asset, or KEY[PARTITION]")

    sql = command("sql", "commands.query", "query the warehouse, read-only")
    sql.add_argument("query")
    sql.add_argument("--format", choices=["table", "csv", "json"], default="table")

    lineage = command("lineage", "commands.query", "what an asset or a row was made from")
    lineage.add_argument("target", metavar="KEY_OR_ROW_ID")
    lineage.add_argument("--down", action="store_true", help="what it went into instead")


def _keeping(command: Command) -> None:
    """What a person decides on versions, builds and plans."""
    accept = command(
        "accept", "commands.upkeep", "declare a code or recipe change immaterial for an asset"
    )
    which = accept.add_mutually_exclusive_group(required=True)
    which.add_argument("key", metavar="KEY", nargs="?")
    which.add_argument("--all", action="store_true", help="every asset where only those changed")
    accept.add_argument("--reason", required=True)

    resume = command(
        "resume", "commands.resume", "let a diverged training run go on from its last good step"
    )
    resume.add_argument("key", metavar="KEY")
    resume.add_argument(
        "--reinitialize-optimizer", action="store_true", required=True, help="with fresh states"
    )
    resume.add_argument("--reason", required=True)

    diff = command(
        "diff", "commands.diff", "what differs between two versions, and what came of it"
    )
    diff.add_argument("left", metavar="KEY@A", help="without a version: the current one")
    diff.add_argument("right", metavar="KEY@B")

    pin = command("pin", "commands.upkeep", "keep a version from gc, with what it was made from")
    pin.add_argument("key", metavar="KEY", help="KEY[@VERSION]")
    why = pin.add_mutually_exclusive_group(required=True)
    why.add_argument("--reason")
    why.add_argument("--remove", action="store_true", help="let it go again")

    audit = command(
        "audit", "commands.audit", "compare what the home holds with the hashes on record"
    )
    audit.add_argument("key", metavar="KEY", nargs="?", help="KEY[@VERSION] (default: all)")

    gc = command("gc", "commands.upkeep", "remove versions that nothing current or pinned needs")
    gc.add_argument("--dry-run", action="store_true")

    approve = command(
        "approve", "commands.upkeep", "let the sensor start a plan above the cost limit"
    )
    approve.add_argument("plan", metavar="PLAN", help="the plan's id, as the sensor printed it")

    watch = command("watch", "commands.watch", "switch rebuilding by sensor on or off")
    watch.add_argument("switch", choices=["on", "off"])


def _using(command: Command) -> None:
    """What is done with a checkpoint."""
    evaluate = command("evaluate", "commands.evaluate", "one benchmark on any checkpoint")
    evaluate.add_argument("model", metavar="MODEL|FOLDER", help="super, a KEY[@VERSION], a folder")
    evaluate.add_argument(
        "--benchmark", required=True, metavar="NAME", help="one of the recipe's, or a bundled one"
    )
    evaluate.add_argument("--limit", type=count, metavar="N", help="the first N problems alone")

    chat = command("chat", "commands.chat", "talk to a model")
    chat.add_argument("model", metavar="MODEL", help="super, or a checkpoint's KEY[@VERSION]")
    chat.add_argument("--thinking", choices=["on", "off"], default="on")
    chat.add_argument(
        "--feedback-edit",
        action="store_true",
        help="after each answer feedback on it and the answer edited by that, from the recipe's "
        "roles where it has them, else from the model itself",
    )

    export = command(
        "export", "commands.export", "write a checkpoint or SFT samples as a folder for others"
    )
    export.add_argument(
        "name",
        metavar="NAME",
        help="super, a checkpoint's or a data set's KEY[@VERSION], sft_data for all samples",
    )
    export.add_argument("directory", metavar="DIR", help="new, empty, or of an earlier export")
    export.add_argument(
        "--format",
        choices=["nemotron-nas", "heirloom", "padded", "parquet", "jsonl", "datasets"],
        help="a checkpoint's: for stock vLLM; for vLLM with heirloom installed; a plain model of "
        "its family, which any engine loads and which saves nothing (default: the first that holds "
        "the model). A data set's: default parquet",
    )
    export.add_argument(
        "--no-verify", dest="verify", action="store_false", help="do not compare it in vLLM"
    )

    serve = command("serve", "commands.serve", "start vLLM's OpenAI-compatible server on a model")
    serve.add_argument("model", metavar="MODEL", help="super, or a checkpoint's KEY[@VERSION]")
    serve.add_argument("--port", type=count, default=8000)
    serve.usage = "heirloom serve [-h] [--home HOME] [--recipe RECIPE] [--port PORT] MODEL [-- …]"
    serve.epilog = "What follows -- goes to vLLM: heirloom serve super -- --max-model-len 512"


def _alone(command: Command) -> None:
    """One part alone, on a file: no recipe, no home."""
    verify = command("verify", "commands.alone.verify", "judge a file of answers")
    _file(
        verify, "response (or answer, without its box), expected_answer, tests, question, metadata"
    )
    _verifier(verify)
    output = "(default: JSON lines on standard output)"
    verify.add_argument(
        "--output", metavar="FILE", help=f"the rows with verdict and evidence {output}"
    )

    decontaminate = command(
        "decontaminate", "commands.alone.decontaminate", "find what benchmarks ask in a file"
    )
    _file(decontaminate, "messages, question or text")
    decontaminate.add_argument(
        "--against",
        action="append",
        required=True,
        metavar="FILE",
        help="questions that no row may hold; repeatable",
    )
    decontaminate.add_argument(
        "--against-field", default="question", metavar="NAME", help="their column (question)"
    )
    decontaminate.add_argument(
        "--output",
        metavar="FILE",
        help=f"the rows with verdict, method, score, matched and evidence {output}",
    )

    rate = command("pass-rate", "commands.alone.pass_rate", "how often a model solves each row")
    _file(rate, "question, expected_answer, tests, metadata")
    _verifier(rate, "math")
    rate.add_argument("--engine", required=True, metavar="URL", help="an OpenAI-compatible server")
    rate.add_argument("--model", metavar="NAME", help="as the server lists it (default: its only)")
    rate.add_argument("--output", metavar="FILE", help=f"the rows with their rates {output}")
    rate.add_argument("--samples", type=count, default=8, metavar="N", help="of each row (8)")
    rate.add_argument("--temperature", type=float, default=1.0)
    rate.add_argument("--top-p", type=float, default=1.0)
    rate.add_argument("--max-new-tokens", type=count, default=2048)
    rate.add_argument("--discard-at", type=float, default=0.75, help="rates that are no use (0.75)")
    rate.add_argument("--concurrency", type=count, default=64, help="requests at once (64)")
    rate.add_argument("--api-key-env", metavar="NAME", help="the variable that holds the key")
    rate.add_argument(
        "--requests", metavar="FOLDER", help="where answers are kept (default: FILE.requests)"
    )


def _file(parser: argparse.ArgumentParser, fields: str) -> None:
    parser.add_argument("file", metavar="FILE", help="JSON lines, a JSON array or Parquet")
    parser.add_argument(
        "--field",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help=f"what their column is called: {fields}; repeatable",
    )


def _verifier(parser: argparse.ArgumentParser, default: str | None = None) -> None:
    shown = f" (default: {default})" if default else ""
    parser.add_argument(
        "--verifier",
        required=default is None,
        default=default,
        metavar="V",
        help=f"math, science, code, tools, instructions{shown}",
    )


def _profile(command: Command) -> None:
    profile = command(
        "profile", "commands.profile", "measure what a parent's blocks cost on this machine"
    )
    profile.add_argument("parent", metavar="PARENT", help="a folder with its config.json")
    profile.add_argument("--output", required=True, metavar="FILE", help="the profile, as JSON")
    profile.add_argument("--batches", nargs="+", type=count, default=[1, 8, 64], help="sequences")
    profile.add_argument("--prefill", type=count, default=1024, help="tokens of a prompt")
    profile.add_argument("--decode", type=count, default=128, help="time this token after a prompt")
    profile.add_argument(
        "--attention", nargs="+", help="variants (default: KV heads halved to 1, …)"
    )
    profile.add_argument("--ffn", nargs="+", help="variants (default: 100 to 10 %%, …)")
    profile.add_argument("--dtype", choices=["bfloat16", "float32"], default="bfloat16")
    profile.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")
    profile.add_argument("--blocks", type=count, default=4, help="N of stacks of N and 2N blocks")
    profile.add_argument("--repeats", type=count, default=5)
    profile.add_argument("--threads", type=count, help="of the CPU (default: torch's choice)")


def _showing(command: Command) -> None:
    """What is looked at in a browser."""
    command("report", "commands.report", "write the HTML report and print its path")

    ui = command("ui", "commands.ui", "Dagster's web server and daemon on this home, on loopback")
    ui.add_argument("--port", type=int, default=3000)


def assignment(text: str) -> str:
    """`KEY=VALUE`, as an option's value. Raises ArgumentTypeError where there is no `=`."""
    if "=" not in text:
        raise argparse.ArgumentTypeError(f"{text!r} must be KEY=VALUE, in one word")
    return text


def count(text: str) -> int:
    """A whole number above 0, as an option's value. Raises ValueError otherwise."""
    if int(text) < 1:
        raise ValueError(text)
    return int(text)
