"""Resumable training checkpoints: folders that are whole or absent, holding tensors and JSON.

A checkpoint is written beside its final name, flushed, then renamed; the last two are kept, so a
kill at any moment leaves one to go on from. It knows tensors and JSON, nothing of training.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

KEPT = 2


class CheckpointError(RuntimeError):
    """A checkpoint cannot be used; the message says which file and why."""


def unique_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers by name; a tied tensor appears once."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor.detach()
    return found


def flatten_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Optimizer state as `<parameter index>.<name>` -> tensor; AdamW's state is tensors only."""
    state = optimizer.state_dict()["state"]
    return {f"{i}.{name}": value for i, entry in state.items() for name, value in entry.items()}


def restore_optimizer(optimizer: torch.optim.Optimizer, flat: Mapping[str, Tensor]) -> None:
    """Undo `flatten_optimizer`; learning rates and groups stay as they are."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in flat.items():
        index, name = key.split(".", 1)
        state.setdefault(int(index), {})[name] = value
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def write(root: Path, step: int, tensors: Mapping[str, Mapping[str, Tensor]], state: Any) -> Path:
    """Write `<root>/step_<n>`: a safetensors file a group and `state.json`. The last two stay."""
    from safetensors.torch import save_file

    root.mkdir(parents=True, exist_ok=True)
    final = root / f"step_{step:08d}"
    aside = root / f"tmp_{step:08d}_{os.getpid()}"
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    for name, group in tensors.items():
        save_file({k: v.contiguous() for k, v in group.items()}, aside / f"{name}.safetensors")
    (aside / "state.json").write_text(json.dumps(state))
    publish(aside, final)
    return final


def publish(aside: Path, final: Path) -> None:
    """Flush a finished folder to disk, rename it into place and drop the oldest ones."""
    for path in [p for p in aside.rglob("*") if p.is_file()]:
        with path.open("rb") as handle:
            os.fsync(handle.fileno())
    shutil.rmtree(final, ignore_errors=True)
    aside.rename(final)
    for old in steps(final.parent)[:-KEPT]:
        shutil.rmtree(old)
    for leftover in final.parent.glob("tmp_*"):
        shutil.rmtree(leftover, ignore_errors=True)


def steps(root: Path) -> list[Path]:
    """The whole checkpoints under `root`, oldest first."""
    return sorted(p for p in root.glob("step_*") if p.is_dir())


def read(folder: Path) -> tuple[dict[str, dict[str, Tensor]], Any]:
    """Groups of tensors and the state of one checkpoint. Raises CheckpointError when unreadable."""
    from safetensors.torch import load_file

    try:
        tensors = {p.stem: load_file(p) for p in sorted(folder.glob("*.safetensors"))}
        state = json.loads((folder / "state.json").read_text())
    except Exception as error:
        raise CheckpointError(
            f"checkpoint {folder} cannot be read ({error}); remove the folder to go on from the "
            "one before it, or from the start"
        ) from error
    return tensors, state


def restore_model(model: torch.nn.Module, saved: Mapping[str, Tensor], folder: Path) -> None:
    """Copy saved tensors into the model in place. Raises CheckpointError when they do not fit."""
    targets = unique_tensors(model)
    if targets.keys() != saved.keys():
        different = sorted(targets.keys() ^ saved.keys())[:5]
        raise CheckpointError(f"checkpoint {folder} is of another model: it differs in {different}")
    with torch.no_grad():
        for name, target in targets.items():
            if target.shape != saved[name].shape:
                raise CheckpointError(
                    f"checkpoint {folder}: {name} has shape {tuple(saved[name].shape)}, "
                    f"the model has {tuple(target.shape)}"
                )
            target.copy_(saved[name])
