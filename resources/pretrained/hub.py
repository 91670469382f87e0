"""The model hub: which commit a revision is, and the files of a commit in the hub's own cache.

The token comes from the environment (`HF_TOKEN`), the address from `HF_ENDPOINT`; neither is ever
written or logged. It does not know what the files mean.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.downloading import DownloadError, download
from resources.models.errors import CheckpointError
from resources.pretrained.files import INDEX, describing, further_templates, shards, weights_file
from resources.pretrained.headers import hollow
from resources.pretrained.source import ParentSource, is_commit

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TIMEOUT = 10.0  # seconds for one question; files have the hub library's own
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True)
class Listing:
    """A commit's files: name -> bytes (None where unsaid), and the SHA-256 of those it gives."""

    commit: str
    sizes: dict[str, int | None]
    digests: dict[str, str]


def resolve(source: ParentSource) -> str:
    """The commit that a hub id's revision is; from the cache where it cannot be reached."""
    found = _asked(source, lambda: _api().model_info(
        source.location, revision=source.revision, timeout=TIMEOUT
    ))  # fmt: skip
    if found is not None:
        return str(found.sha)
    cached = _cached(source, source.revision or "main", "config.json")
    if cached is None:
        raise _unreachable(source)
    return cached.parent.name


def moved(source: ParentSource) -> str | None:
    """The commit that the hub gives for the revision now, where it is another than the source's.

    None where it is the same, or is a commit itself. Raises CheckpointError as `resolve` does.
    """
    if is_commit(source.revision):
        return None
    now = resolve(source)
    return None if now == source.commit else now


def listing(source: ParentSource) -> Listing | None:
    """The files of a source's commit as the hub lists them; None where it cannot be reached."""
    found = _asked(source, lambda: _api().model_info(
        source.location, revision=source.commit, files_metadata=True, timeout=TIMEOUT
    ))  # fmt: skip
    if found is None:
        return None
    files = found.siblings or []
    return Listing(
        str(found.sha),
        {file.rfilename: file.size for file in files},
        {file.rfilename: file.lfs.sha256 for file in files if file.lfs is not None},
    )


def fetch(source: ParentSource, *, weights: bool = True) -> tuple[Path, dict[str, str]]:
    """A folder with the files of a source's commit that matter, and the SHA-256 of those known.

    They lie in the hub's cache, and are not fetched again where they do. Without `weights` only
    what describes the model comes. Raises CheckpointError, in one line, for whatever is in the way.
    """
    if source.commit is None:
        source = source.at(resolve(source))
    listed = listing(source)
    if listed is None:
        return _offline(source, weights)
    weights_name = weights_file(list(listed.sizes), str(source))
    small = describing(list(listed.sizes)) + [INDEX] * (weights_name == INDEX)
    folder = _get(source, small)
    if further := further_templates(listed.sizes):
        _get(source, further)
    if weights:
        large = shards(folder / INDEX) if weights_name == INDEX else [weights_name]
        for name in large:
            if name not in listed.sizes:
                raise CheckpointError(f"{source}: {INDEX} names {name}, which the hub has not")
        _room(source, [listed.sizes[name] or 0 for name in large])
        _get(source, large, listed.digests)
    return folder, {name: digest for name in listed.sizes if (digest := _digest(
        folder / name, listed.digests.get(name)
    ))}  # fmt: skip


def outline(source: ParentSource, folder: Path) -> bool:
    """Put stand-ins of a commit's weights into `folder`: their headers, which are read by range,
    and a hole of the length that these promise.

    False where the hub cannot be reached. Raises CheckpointError for weights that are not there, no
    safetensors, or shorter than their headers say.
    """
    if source.commit is None:
        source = source.at(resolve(source))
    listed = listing(source)
    if listed is None:
        return False
    name = weights_file(list(listed.sizes), str(source))
    names = [name]
    if name == INDEX:
        index = _get(source, [INDEX]) / INDEX
        names = shards(index)
        (folder / INDEX).unlink(missing_ok=True)
        os.symlink(index, folder / INDEX)
    for each in names:
        if each not in listed.sizes:
            raise CheckpointError(f"{source}: {INDEX} names {each}, which the hub has not")
        tensors = _described(source, each)
        if tensors is None:
            return False
        hollow(folder / each, tensors, listed.sizes[each])
    return True


def _described(source: ParentSource, name: str) -> dict[str, Any] | None:
    """The header of a file of the commit, as safetensors writes it; None: not reached."""
    from huggingface_hub import errors

    def question() -> Any:
        return _api().parse_safetensors_file_metadata(
            source.location, name, revision=source.commit, timeout=TIMEOUT
        )

    try:
        found = _asked(source, question)
    except errors.SafetensorsParsingError as error:
        raise CheckpointError(
            f"{source}: {name} has no safetensors header ({error}): name another revision"
        ) from error
    if found is None:
        return None
    return {
        name: {"dtype": each.dtype, "shape": each.shape, "data_offsets": each.data_offsets}
        for name, each in found.tensors.items()
    }


def _offline(source: ParentSource, weights: bool) -> tuple[Path, dict[str, str]]:
    config = _cached(source, str(source.commit), "config.json")
    if config is None:
        raise _unreachable(source)
    folder = config.parent
    names = [path.name for path in folder.iterdir() if path.is_file()]
    if weights:
        name = weights_file(names, f"{source} in the hub's cache")
        missing = [
            one for one in (shards(folder / name) if name == INDEX else []) if one not in names
        ]
        if missing:
            raise _unreachable(source)
    return folder, {name: digest for name in names if (digest := _digest(folder / name, None))}


def _digest(file: Path, told: str | None) -> str | None:
    """The SHA-256 that a file of the cache should have: as told, or as its blob is named."""
    if told is not None or not file.exists():
        return told
    name = file.resolve().name
    return name if _SHA256.match(name) else None


def _get(
    source: ParentSource, names: Iterable[str], digests: Mapping[str, str] | None = None
) -> Path:
    """Fetch files of the commit, those with a digest by pieces; the folder in which they lie."""
    folder = None
    for name in names:

        def one(name: str = name) -> Path:
            digest = (digests or {}).get(name)
            try:
                return download(source.location, name, str(source.commit), sha256=digest)
            except DownloadError as error:
                raise CheckpointError(f"{source}/{name}: {error}") from error

        path = _asked(source, one)
        if path is None:
            raise _unreachable(source)
        folder = path.parent
    if folder is None:
        raise CheckpointError(f"{source}: no config.json, so this is no checkpoint")
    return folder


def _room(source: ParentSource, sizes: list[int]) -> None:
    """Raise CheckpointError where the cache's disk has no room for files of these sizes."""
    from huggingface_hub import constants

    cache = Path(constants.HF_HUB_CACHE)
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    need, free = sum(sizes), shutil.disk_usage(there).free
    if need > free:
        raise CheckpointError(
            f"{source}: needs {need / 1e9:.1f} GB and {there} has {free / 1e9:.1f} GB free: free "
            "space, or set HF_HOME to a larger disk"
        )


def _cached(source: ParentSource, revision: str, name: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.location, name, revision=revision)
    return Path(found) if isinstance(found, str) else None


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


def _api() -> HfApi:
    from huggingface_hub import HfApi

    return HfApi(endpoint=_endpoint(), library_name="heirloom")


def _asked(source: ParentSource, question: Callable[[], Any]) -> Any:
    """The hub's answer; None where it cannot be reached. What it refuses is said."""
    from huggingface_hub import errors

    try:
        return question()
    except errors.OfflineModeIsEnabled:
        return None
    except errors.GatedRepoError as error:
        raise CheckpointError(
            f"{source}: the model is gated: accept its terms on its page and set HF_TOKEN to a "
            "token of that account"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise CheckpointError(
            f"{source}: the hub has no revision {source.commit or source.revision!r}: name a "
            "branch, tag or commit of it"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise CheckpointError(
            f"{source}: the hub has no such model, or it is private: check the name, and set "
            "HF_TOKEN where it needs one"
        ) from error
    except errors.EntryNotFoundError as error:
        if isinstance(error, errors.LocalEntryNotFoundError):
            return None  # a file that is neither here nor reached
        raise CheckpointError(
            f"{source}: the hub lists a file that it does not give: name another revision"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "?")
        said = "its token is refused" if status in (401, 403) else "try again later"
        raise CheckpointError(f"{source}: the hub answered {status}: {said}") from error
    except errors.HTTPError:
        return None  # no answer at all: no such host, no route, no time
    except ConnectionError:
        return None


def _is_off() -> bool:
    from huggingface_hub import is_offline_mode

    return is_offline_mode()


def _unreachable(source: ParentSource) -> CheckpointError:
    return CheckpointError(
        f"{source}: the hub cannot be reached{' (HF_HUB_OFFLINE is set)' if _is_off() else ''} and "
        "its cache here has no copy: check the network, or give the path of a downloaded copy"
    )
