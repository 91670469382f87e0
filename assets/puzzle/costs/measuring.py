"""A cost profile measured here: every variant alone and the rest of the model, at every batch.

Knows a parent's configuration, variants and the bench that times them; knows no artifacts and no
tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from assets.puzzle.costs.bench import Bench, Setting
from assets.puzzle.costs.profile_file import (
    FORMAT,
    Machine,
    NonBlock,
    Profile,
    ProfileError,
    SubBlock,
)
from resources.machine import ENGINE, hardware, using_threads
from resources.models.accounting import blocks_of
from resources.models.config import HeterogeneousDecoderConfig

Progress = Callable[[str, float], None]


def measure(
    config: HeterogeneousDecoderConfig,
    attention: Sequence[str],
    ffn: Sequence[str],
    batches: Sequence[int],
    setting: Setting,
    progress: Progress | None = None,
) -> Profile:
    """Time every variant and the rest of the model at every batch.

    Raises TimingError, and ProfileError for a variant that is unknown or impossible for the parent.
    """
    with using_threads(setting.threads) as threads:
        bench = Bench(config, setting)
        # A variant that this parent cannot have is refused before anything is timed.
        try:
            blocks_of(bench.shape, [(name, "noop") for name in attention])
            blocks_of(bench.shape, [("noop", name) for name in ffn])
        except ValueError as error:
            raise ProfileError(str(error)) from error
        sub_blocks = _time_sub_blocks(bench, attention, ffn, batches, progress)
        rest = [(batch, *bench.non_block(batch)) for batch in batches]
    return Profile(
        format=FORMAT,
        machine=Machine(
            hardware=hardware(setting.device),
            torch=torch.__version__,
            dtype=setting.dtype,
            engine=ENGINE,
            threads=threads if setting.device == "cpu" else None,
        ),
        shape=bench.shape.record(),
        prefill_length=setting.prefill,
        decode_length=setting.decode,
        blocks=setting.blocks,
        repeats=setting.repeats,
        sub_blocks=sub_blocks,
        non_block=[
            NonBlock(batch=batch, prefill_seconds=prefill, decode_seconds=decode)
            for batch, prefill, decode in rest
        ],
    )


def _time_sub_blocks(
    bench: Bench,
    attention: Sequence[str],
    ffn: Sequence[str],
    batches: Sequence[int],
    progress: Progress | None,
) -> list[SubBlock]:
    """Each variant alone, at each batch."""
    steps = [
        (kind, name, batch)
        for kind, names in (("attention", attention), ("ffn", ffn))
        for name in names
        for batch in batches
    ]
    timed = []
    for number, (kind, name, batch) in enumerate(steps):
        if progress is not None:
            progress(f"timing {kind} {name}, batch {batch}", number / len(steps))
        prefill, decode = bench.sub_block(kind, name, batch)
        phases = (("prefill", prefill), ("decode", decode))
        row = {
            "kind": kind,
            "variant": name,
            "batch": batch,
            **{f"{phase}_seconds": found.seconds for phase, found in phases},
            **{f"{phase}_noise": found.noise for phase, found in phases},
            "clamped": [phase for phase, found in phases if found.clamped],
        }
        timed.append(SubBlock.model_validate(row))
    return timed
