"""Resumable training checkpoints: folders that are whole or absent, holding tensors and JSON.

A checkpoint is written beside its final name, its list of files last, flushed, then renamed to a
name that no other bears; the last two are kept, so a kill at any moment leaves one to go on from.
Tensors are written a shard at a time. It knows tensors and JSON, nothing of training.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from resources.models.errors import CheckpointError
from warehouse.files.filesystem import sync

KEPT = 2
SHARD_BYTES = 2_000_000_000  # of tensors are held at once for writing
FORMAT = 2
STATE = "state.json"
Named = Iterable[tuple[str, Tensor]]


class ResumeError(CheckpointError):
    """A run cannot go on from its checkpoint; the message says which file and why."""


def unique_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and persistent buffers themselves, by name; a tied tensor appears once."""
    seen: set[int] = set()
    found: dict[str, Tensor] = {}
    for name, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
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


def write(
    root: Path, step: int, groups: Mapping[str, Named], state: Any, *, alone: bool = True
) -> None:
    """Write the checkpoint of `step`: shards of safetensors for each group, and `state` (JSON).

    A group's tensors are taken one at a time, in order, and written `SHARD_BYTES` at a time. On
    ranks that do not write (`alone` false) they are taken all the same, because giving them may
    need every rank.
    """
    from safetensors.torch import save_file

    aside = root / f"tmp_{step:08d}_{os.getpid()}"
    if alone:
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(parents=True)
    files: dict[str, int] = {}
    for group, tensors in groups.items():
        for number, shard in enumerate(_shards(tensors, alone)):
            path = aside / f"{group}-{number:05d}.safetensors"
            save_file(shard, path)
            files[path.name] = path.stat().st_size
    if alone:
        manifest = {"format": FORMAT, "groups": list(groups), "files": files, "saved": state}
        (aside / STATE).write_text(json.dumps(manifest))
        publish(aside, step)


def _shards(tensors: Named, keep: bool) -> Iterator[dict[str, Tensor]]:
    shard: dict[str, Tensor] = {}
    held = 0
    for name, tensor in tensors:
        if not keep:
            continue
        if shard and held + tensor.nbytes > SHARD_BYTES:
            yield shard
            shard, held = {}, 0
        shard[name] = tensor.detach().contiguous()
        held += tensor.nbytes
    if shard:
        yield shard


def publish(aside: Path, step: int) -> Path:
    """Flush a finished folder to disk, rename it into place and drop the oldest ones.

    A step that was saved before gets a second name, so that at no time there is none of it.
    """
    root = aside.parent
    for path in aside.iterdir():
        sync(path)
    sync(aside)
    names = [path.name for path in steps(root) if step_of(path) == step]
    revision = int(names[-1][len(f"step_{step:08d}_") :] or 0) + 1 if names else 0
    final = f"step_{step:08d}" + (f"_{revision:04d}" if names else "")
    aside.rename(root / final)
    sync(root)
    for old in steps(root)[:-KEPT]:
        old.rename(root / f"tmp_{old.name}")  # half a checkpoint must not look like one
    for leftover in root.glob("tmp_*"):
        shutil.rmtree(leftover, ignore_errors=True)
    return root / final


def steps(root: Path) -> list[Path]:
    """The whole checkpoints under `root`, oldest first."""
    return sorted(p for p in root.glob("step_*") if p.is_dir())


def drop_from(root: Path, step: int) -> None:
    """Forget the checkpoints of `step` and later, but never the last one there is."""
    for folder in steps(root)[:0:-1]:
        if step_of(folder) >= step:
            shutil.rmtree(folder.rename(root / f"tmp_{folder.name}"))


def step_of(folder: Path) -> int:
    """Completed steps at the checkpoint in `folder`."""
    return int(folder.name.split("_")[1])


class Saved:
    """A checkpoint that is read tensor by tensor; opening it compares its files with its list.

    Raises ResumeError when it is damaged or of another format.
    """

    def __init__(self, folder: Path) -> None:
        from safetensors import safe_open

        self.folder = folder
        self._names: dict[str, dict[str, Any]] = {}
        try:
            manifest = json.loads((folder / STATE).read_text())
            if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
                raise ValueError(f"its format is not {FORMAT}: another version wrote it")
            self.state: Any = manifest["saved"]
            for group in manifest["groups"]:
                self._names[group] = {}
            for name, size in manifest["files"].items():
                there = (folder / name).stat().st_size
                if there != size:
                    raise ValueError(f"{name} has {there} bytes, {size} were written")
                shard = safe_open(folder / name, framework="pt")
                self._names[name.rsplit("-", 1)[0]].update(dict.fromkeys(shard.keys(), shard))
        except Exception as error:
            raise ResumeError(
                f"checkpoint {folder} cannot be read ({error}); remove the folder to go on from "
                "the one before it, or from the start"
            ) from error

    def names(self, group: str) -> list[str]:
        """The names of a group's tensors, sorted."""
        return sorted(self._names.get(group, ()))

    def tensor(self, group: str, name: str) -> Tensor:
        """One tensor, on the CPU. KeyError where there is none."""
        found: Tensor = self._names[group][name].get_tensor(name)
        return found


def restore_model(model: torch.nn.Module, saved: Saved) -> None:
    """Copy saved weights into the model in place. Raises ResumeError when they do not fit."""
    targets = unique_tensors(model)
    if sorted(targets) != saved.names("model"):
        different = sorted(targets.keys() ^ set(saved.names("model")))[:5]
        raise ResumeError(
            f"checkpoint {saved.folder} is of another model: it differs in {different}"
        )
    with torch.no_grad():
        for name, target in targets.items():
            value = saved.tensor("model", name)
            if target.shape != value.shape:
                raise ResumeError(
                    f"checkpoint {saved.folder}: {name} has shape {tuple(value.shape)}, "
                    f"the model has {tuple(target.shape)}"
                )
            target.copy_(value)
