"""Data sets of a hub: which files a declaration means, pinned to a commit, fetched and verified.

The listing is asked for once and kept, so that a moving revision stays what it was. No code of a
data set is ever run: its files are read, or its converted Parquet branch.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from resources.downloading import DownloadError, download
from resources.sources.account import SourceError
from warehouse.files.filesystem import replacing

if TYPE_CHECKING:
    from resources.recipe.sections.data import Files

CONVERTED = "refs/convert/parquet"


@dataclass(frozen=True)
class Remote:
    """One file of a data set at a commit; `sha256` is None where the hub gives none."""

    dataset: str
    commit: str
    path: str
    size: int | None = None
    sha256: str | None = None

    @property
    def identity(self) -> str:
        """What stands for the content: the commit never changes."""
        return f"hub:{self.dataset}@{self.commit}:{self.path}"


def listed(dataset: str, revision: str, memory: Path) -> list[Remote]:
    """Every file of the data set at the revision, as first seen by `memory`, a folder.

    SourceError where the hub cannot be reached or does not have it.
    """
    kept = memory / f"{dataset.replace('/', '--')}@{revision.replace('/', '--')}.json"
    if kept.is_file():
        return [Remote(**entry) for entry in json.loads(kept.read_text())]
    found = _ask(dataset, revision)
    with replacing(kept) as aside:
        aside.write_text(json.dumps([asdict(each) for each in found], indent=1))
    return found


def _ask(dataset: str, revision: str) -> list[Remote]:
    from huggingface_hub import HfApi

    with _explained(f"hub:{dataset}@{revision}"):
        info: Any = HfApi(endpoint=_endpoint()).dataset_info(
            dataset, revision=revision, files_metadata=True
        )
    commit = str(info.sha)
    return [
        Remote(dataset, commit, each.rfilename, each.size, each.lfs and each.lfs.sha256)
        for each in info.siblings or ()
    ]


def files(source: Files, memory: Path) -> list[Remote]:
    """The files that a declaration means: those that `files` matches, else Parquet of the split.

    Raises SourceError, with what would be right, where there are none: of a data set with a loading
    script, its converted branch or its raw files.
    """
    from resources.recipe.sections.data import hub

    named = hub(source.path)
    if named is None:
        raise SourceError(f"{source.path}: no hub data set; write hub:org/name@REV")
    dataset, revision = named
    there = listed(dataset, revision, memory)
    if source.files is not None:
        found = [each for each in there if fnmatch.fnmatch(each.path, source.files)]
        if not found:
            raise SourceError(
                f"{source.path}: no file matches {source.files!r}; it has {_few(there)}"
            )
        return sorted(found, key=lambda each: each.path)
    found = [each for each in there if _of_split(each.path, source.config, source.split)]
    if found:
        return sorted(found, key=lambda each: each.path)
    script = f"{dataset.rpartition('/')[2]}.py"
    why = f"has a loading script ({script}), which is never run"
    if script not in {each.path for each in there}:
        config = f"config {source.config}, " if source.config else ""
        why = f"has no Parquet of {config}split {source.split}: it has {_few(there)}"
    raise SourceError(
        f"{source.path} {why}; read its converted branch (hub:{dataset}@{CONVERTED}, with `config` "
        "and `split`), or its raw files by `files: data/*.jsonl`"
    )


def _of_split(path: str, config: str | None, split: str) -> bool:
    """Whether a Parquet file is of a config and split, in the two layouts that hubs use.

    >>> _of_split("main/train-00000-of-00001.parquet", "main", "train")
    True
    >>> _of_split("default/train/0000.parquet", None, "train")
    True
    """
    parts = PurePosixPath(path)
    if parts.suffix != ".parquet":
        return False
    names, stem = parts.parent.parts, parts.stem
    if stem == split or stem.startswith(f"{split}-"):
        folders = names
    elif names and names[-1] == split:
        folders = names[:-1]
    else:
        return False
    return (
        folders in ((config,), ("data", config))
        if config
        else folders in ((), ("data",)) or (folders == ("default",))
    )


def _few(there: Sequence[Remote]) -> str:
    names = [each.path for each in there if not each.path.startswith(".")]
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if names[5:] else "") or "no file"


def fetched(remote: Remote) -> Path:
    """The file on this machine, downloaded where it is not, its hash checked where one is known."""
    with _explained(remote.identity):
        path = download(
            remote.dataset, remote.path, remote.commit, kind="dataset", sha256=remote.sha256
        )
    if remote.sha256 is not None:  # what an earlier call, or another program, put there too
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != remote.sha256:
            path.unlink()
            raise SourceError(
                f"{remote.identity}: the hub says SHA-256 {remote.sha256[:12]}…, what came has "
                f"{digest[:12]}…; it was removed, run again to fetch it anew"
            )
    return path


def _endpoint() -> str | None:
    return os.environ.get("HF_ENDPOINT")


@contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns what the hub's library raises into one line."""
    from huggingface_hub import errors

    try:
        yield
    except DownloadError as error:
        raise SourceError(f"{what}: {error}") from error
    except errors.GatedRepoError as error:
        why = "needs its terms accepted on the hub, and a token in HF_TOKEN"
        raise SourceError(f"{what}: {why}") from error
    except (errors.RevisionNotFoundError, errors.RemoteEntryNotFoundError) as error:
        raise SourceError(f"{what}: no such revision, or no such file in it") from error
    except errors.RepositoryNotFoundError as error:
        why = "no such data set, or a private one: then set HF_TOKEN"
        raise SourceError(f"{what}: {why}") from error
    except (errors.OfflineModeIsEnabled, errors.LocalEntryNotFoundError) as error:
        why = "not on this machine and the hub cannot be asked (HF_HUB_OFFLINE, or no network)"
        raise SourceError(f"{what}: {why}; or give the path of its files") from error
    except errors.HfHubHTTPError as error:
        status = error.response.status_code
        token = "it is private or the token is refused; set HF_TOKEN to one that may read it"
        raise SourceError(
            f"{what}: the hub answered {status}: "
            + (token if status in (401, 403) else "try again later, or give the path of its files")
        ) from error
    except Exception as error:  # httpx's own, and whatever a server of another kind makes of it
        raise SourceError(
            f"{what}: the hub cannot be reached ({type(error).__name__}); check the network and "
            "HF_ENDPOINT, or download it and give the path of its files"
        ) from error
