"""Gathers wheels of what a machine with torch and transformers alone lacks, into an ignored folder.

    python -m benchmarks.gpu.pack [--without-graph] [FOLDER]

For a machine that reaches no package index: Linux on x86-64 with Python 3.12. Versions are those
installed here. On that machine, in the repository's root:

    python3 -m pip install --no-index --no-deps --target SITE FOLDER/*.whl
    PYTHONPATH=SITE python3 -m benchmarks.gpu_check --out OUT
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import zipfile
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "wheels"  # ignored by git
PYTHON, PLATFORMS = "3.12", ("2014", "_2_17", "_2_24", "_2_26", "_2_27", "_2_28")
MOST = 64 * 2**20  # bytes that wheels and tree may have together
# Without wheels on the index; made here, of Python alone.
SOURCES = ("deepspeed", "langdetect")
# What every part but A1 and A4 imports, and what judging a math answer does.
TRAINING = (
    "annotated-types", "hjson", "mpmath", "pydantic", "pydantic-core", "sympy",
    "typing-extensions", "typing-inspection",
)  # fmt: skip
# What the graph needs besides: A2 alone. `datasets` and `gguf` serve sources that `smoke` has not.
GRAPH = (
    "alembic", "coloredlogs", "dagster", "dagster-pipes", "dagster-shared", "docstring-parser",
    "duckdb", "grpcio-health-checking", "highspy", "humanfriendly", "mako", "pathlib-abc",
    "platformdirs", "pulp", "python-dotenv", "pytz", "sqlalchemy", "structlog", "tomli", "tomlkit",
    "toposort", "tzdata", "universal-pathlib", "watchdog",
)  # fmt: skip


def main() -> int:
    """Fill the folder and print what is in it; 1 where it is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=FOLDER, metavar="FOLDER")
    parser.add_argument(
        "--without-graph", action="store_true", help="leave out what A2 alone needs"
    )
    options = parser.parse_args()
    folder: Path = options.folder
    folder.mkdir(parents=True, exist_ok=True)
    for wheel in folder.glob("*.whl"):
        wheel.unlink()
    names = TRAINING if options.without_graph else (*TRAINING, *GRAPH)
    pip = [sys.executable, "-m", "pip", "--quiet"]
    target = [f"--python-version={PYTHON}", "--implementation=cp"]
    target += [f"--platform=manylinux{each}_x86_64" for each in PLATFORMS]
    download = [*pip, "download", "--no-deps", "--only-binary=:all:", *target, f"--dest={folder}"]
    subprocess.run([*download, *map(pinned, names)], check=True)
    make = [*pip, "wheel", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}"]
    environment = os.environ | {"DS_BUILD_OPS": "0"}
    subprocess.run([*make, *map(pinned, SOURCES)], check=True, env=environment)
    for wheel in folder.glob("pulp-*.whl"):
        leave_out(wheel, "pulp/solverdir/")
    sizes = {wheel.name: wheel.stat().st_size for wheel in sorted(folder.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size / 2**20:6.1f} MiB  {name}")
    tree = tree_bytes()
    total = sum(sizes.values()) + tree
    print(f"{total / 2**20:6.1f} MiB with the tree ({tree / 2**20:.1f}); {MOST / 2**20:.0f} may be")
    return int(total > MOST)


def leave_out(wheel: Path, prefix: str) -> None:
    """Write the wheel again without the files below `prefix`: PuLP brings another solver along, for
    every platform, which is three quarters of it and not used here."""
    slim = wheel.with_suffix(".slim")
    with zipfile.ZipFile(wheel) as old, zipfile.ZipFile(slim, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            if item.filename.startswith(prefix):
                continue
            data = old.read(item)
            if item.filename.endswith(".dist-info/RECORD"):
                kept = [r for r in data.decode().splitlines() if not r.startswith(prefix)]
                data = ("\n".join(kept) + "\n").encode()
            new.writestr(item, data)
    slim.replace(wheel)


def pinned(name: str) -> str:
    """The requirement of the version installed here."""
    return f"{name}=={version(name)}"


def tree_bytes() -> int:
    """Size of the files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True)
    files = [ROOT / name for name in listed.stdout.decode().split("\0") if name]
    return sum(path.stat().st_size for path in files if path.is_file())


if __name__ == "__main__":
    sys.exit(main())
