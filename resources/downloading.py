"""A file of the hub, in the hub's own cache: taken up where an earlier download of it ended.

The hub's library goes on within one call and begins anew in the next. Here what came stays beside
the blobs, under the name of its hash, and becomes a blob once its SHA-256 is the one that the hub
gives. It does not know what the files mean, nor how its errors are told.
"""

from __future__ import annotations

import hashlib
import os
from importlib.util import find_spec
from pathlib import Path

from warehouse.files.filesystem import sync
from warehouse.files.locks import held

INCOMPLETE = ".incomplete"  # the hub's library's own name for what is no blob yet


class DownloadError(Exception):
    """A file did not come whole; the message says how much did, and what to do."""


def download(
    repo: str, name: str, revision: str, *, kind: str = "model", sha256: str | None = None
) -> Path:
    """The local path of the file `name` at a commit of a `kind` of repository.

    Only a file whose `sha256` the hub gives can be gone on with: the large ones. A kill leaves
    nothing under the file's name. Raises DownloadError where the connection breaks or the hash is
    another; errors of the hub's library pass through.
    """
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    endpoint = os.environ.get("HF_ENDPOINT")
    cached = try_to_load_from_cache(repo, name, revision=revision, repo_type=kind)
    if sha256 is not None and not isinstance(cached, str):
        _bring(repo, name, revision, kind, sha256, endpoint)
    return Path(hf_hub_download(repo, name, revision=revision, repo_type=kind, endpoint=endpoint))


def _bring(
    repo: str, name: str, revision: str, kind: str, sha256: str, endpoint: str | None
) -> None:
    """Put the blob of a file into the cache, where the library finds it.

    What the hub gives over Xet is left to the library: that goes on by itself, in pieces of its
    own. So is what another hash stands for.
    """
    from huggingface_hub import constants, get_hf_file_metadata, hf_hub_url
    from huggingface_hub.file_download import repo_folder_name
    from huggingface_hub.utils import build_hf_headers

    if constants.HF_HUB_OFFLINE:
        return
    url = hf_hub_url(repo, name, repo_type=kind, revision=revision, endpoint=endpoint)
    headers = build_hf_headers(library_name="heirloom")
    told = get_hf_file_metadata(url, headers=headers, endpoint=endpoint)
    xet = find_spec("hf_xet") is not None and not constants.HF_HUB_DISABLE_XET
    if told.etag != sha256 or (told.xet_file_data is not None and xet):
        return
    cache, folder = Path(constants.HF_HUB_CACHE), repo_folder_name(repo_id=repo, repo_type=kind)
    blob = cache / folder / "blobs" / sha256
    blob.parent.mkdir(parents=True, exist_ok=True)
    with held(cache / ".locks" / folder / f"{sha256}.lock"):  # the library's own lock of it
        if not blob.exists():
            partial = blob.with_name(sha256 + INCOMPLETE)
            _complete(partial, url, headers, told.size)
            _verified(partial, sha256)
            sync(partial)
            os.replace(partial, blob)


def _complete(partial: Path, url: str, headers: dict[str, str], size: int | None) -> None:
    """Fetch what is missing of a file, by range where the server allows."""
    from huggingface_hub import errors
    from huggingface_hub.file_download import http_get

    with partial.open("ab") as file:
        there = file.tell()
        if size is not None and there > size:
            file.truncate(0)
            there = 0
        try:
            http_get(url, file, resume_size=there, headers=headers, expected_size=size)
        except (errors.HTTPError, OSError) as error:
            answered = isinstance(error, errors.HfHubHTTPError)
            if answered or (isinstance(error, OSError) and error.errno is not None):
                raise  # what the hub says is told by whoever asked, and a full disk is no line
            file.flush()
            came = partial.stat().st_size
            of = "" if size is None else f" of {size:,}"
            why = str(error) or type(error).__name__
            raise DownloadError(
                f"{came:,}{of} bytes came before the connection broke ({why.splitlines()[0]}); "
                "run again to go on from there"
            ) from error


def _verified(partial: Path, sha256: str) -> None:
    with partial.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if digest != sha256:
        partial.unlink()
        raise DownloadError(
            f"the hub says SHA-256 {sha256[:12]}…, what came has {digest[:12]}…, so a bit is "
            "wrong; it was removed, run again to fetch it anew"
        )
