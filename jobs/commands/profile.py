"""`heirloom profile`: measure what a parent's blocks cost on this machine, into a file.

The file can be carried to another machine, whose recipe names it under `costs.profile.file`.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from jobs.errors import CommandError

FFN_VARIANTS = ("full", *(f"ratio_{n}" for n in (87, 75, 50, 25, 20, 10)), "linear", "noop")


def main(arguments: argparse.Namespace) -> int:
    """Time every variant of the parent's sizes and write the profile; prints what it holds."""
    from assets.puzzle.costs.bench import Setting
    from assets.puzzle.costs.measuring import measure
    from resources.models.accounting import Shape
    from resources.models.loading import read_config

    folder, output = Path(arguments.parent), Path(arguments.output)
    if not output.parent.is_dir() or output.is_dir():
        raise CommandError(f"{output} cannot be written: name a file in a folder that exists")
    config = read_config(folder)
    shape = Shape.of(config.to_dict())
    setting = Setting(
        device=arguments.device or _device(),
        dtype=arguments.dtype,
        prefill=arguments.prefill,
        decode=arguments.decode,
        blocks=arguments.blocks,
        repeats=arguments.repeats,
        threads=arguments.threads,
    )
    profile = measure(
        config,
        arguments.attention or attention_variants(shape.num_key_value_heads),
        arguments.ffn or FFN_VARIANTS,
        arguments.batches,
        setting,
        progress=lambda message, share: print(f"{share:4.0%}  {message}", file=sys.stderr),
    )
    profile.write(output)
    machine = profile.machine
    clamped = sum(bool(row.clamped) for row in profile.sub_blocks)
    print(
        f"{output}: {len(profile.sub_blocks)} sub-blocks timed on {machine.hardware}, "
        f"{machine.dtype}, torch {machine.torch}"
        + (f"; {clamped} are 0 within their noise" if clamped else "")
    )
    return 0


def attention_variants(heads: int) -> list[str]:
    """Every attention variant of a parent with that many key-value heads, halving them.

    >>> attention_variants(8)
    ['full', 'kv_4', 'kv_2', 'kv_1', 'linear', 'noop']
    """
    fewer = []
    while heads % 2 == 0:
        heads //= 2
        fewer.append(f"kv_{heads}")
    return ["full", *fewer, "linear", "noop"]


def _device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
