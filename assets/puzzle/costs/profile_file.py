"""The file of a cost profile: its format, and whether it fits a parent and a recipe.

One JSON document, written by `heirloom profile` on one machine and read on another. Knows fields
and sizes; knows nothing of clocks or tables.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from assets.puzzle.costs.closed_form import DTYPES, TIMED_AS
from warehouse.files.filesystem import replacing

if TYPE_CHECKING:
    from resources.models.accounting import Shape

FORMAT = 1
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class ProfileError(ValueError):
    """A profile cannot be made or used; the message names the file and what would be right."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Machine(_Part):
    """Where it was measured and with what; `threads` of the CPU (null on a GPU)."""

    hardware: str
    torch: str
    dtype: str
    engine: str
    threads: int | None


class SubBlock(_Part):
    """Seconds of one variant in one layer for `batch` sequences: a prefill, a decode step.

    `noise` is two standard errors; `clamped` says which came out below 0 within it and stand as 0.
    """

    kind: Literal["attention", "ffn"]
    variant: str
    batch: int
    prefill_seconds: Seconds
    decode_seconds: Seconds
    prefill_noise: Seconds
    decode_noise: Seconds
    clamped: list[Literal["prefill", "decode"]]


class NonBlock(_Part):
    """Seconds of embedding, final norm and head for `batch` sequences."""

    batch: int
    prefill_seconds: Seconds
    decode_seconds: Seconds


class Profile(_Part):
    """A profile file. `shape` holds the parent's sizes; lengths are tokens; `blocks` is the N of
    N against 2N."""

    format: Literal[1]
    machine: Machine
    shape: dict[str, bool | int]
    prefill_length: int
    decode_length: int
    blocks: int
    repeats: int
    sub_blocks: list[SubBlock]
    non_block: list[NonBlock]

    @classmethod
    def read(cls, path: Path) -> Profile:
        """Read a file. Raises ProfileError when it is missing or holds something else."""
        try:
            return cls.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            raise ProfileError(
                f"no cost profile at {path}: make it with `heirloom profile PARENT --output FILE`"
            ) from None
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the document"
            raise ProfileError(
                f"{path}: {where}: {first['msg']}; a cost profile of format {FORMAT} is needed, as "
                "`heirloom profile` writes it"
            ) from error

    def write(self, path: Path) -> None:
        """Write the file whole or not at all."""
        with replacing(path) as aside:
            aside.write_text(self.model_dump_json(indent=1) + "\n")


def differences(profile: Profile, shape: Shape, recipe: Mapping[str, Any]) -> list[str]:
    """What keeps a profile from standing for a parent's `shape` and a recipe's settings."""
    sizes = shape.record()
    dtypes = [kinds.get(recipe["dtype_bytes"]) for kinds in (DTYPES, TIMED_AS)]
    same = profile.machine.dtype in dtypes
    wanted = {"dtype": profile.machine.dtype if same else dtypes[0]}
    wanted |= {"prefill_length": recipe["prefill"], "decode_length": recipe["decode"]}
    there = {"dtype": profile.machine.dtype}
    there |= {name: getattr(profile, name) for name in ("prefill_length", "decode_length")}
    found = [
        f"{name} is {have.get(name)}, should be {want.get(name)}"
        for have, want in ((profile.shape, sizes), (there, wanted))
        for name in sorted(have.keys() | want.keys())
        if have.get(name) != want.get(name)
    ]
    timed = {(row.kind, row.variant, row.batch) for row in profile.sub_blocks}
    for kind in ("attention", "ffn"):
        for name, batch in itertools.product(recipe[kind], recipe["batches"]):
            if (kind, name, batch) not in timed:
                found.append(f"{kind} '{name}' at batch {batch} is missing")
    timed_rest = {row.batch for row in profile.non_block}
    missing = [batch for batch in recipe["batches"] if batch not in timed_rest]
    return found + [f"the seconds besides the blocks at batch {b} are missing" for b in missing]
