"""A source's files gathered in one folder of links, as they will be adopted.

The folder is the model's own, with the tokenizer, template and toggle that the recipe puts in its
place. Nothing of the source is written to.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from resources.chat.folder import CHAT, MORE_TEMPLATES
from resources.models.errors import CheckpointError
from resources.pretrained import files, hub
from resources.pretrained.source import ParentSource

Part = Literal["model", "description"]


@dataclass(frozen=True)
class Assembled:
    """A folder of links, the SHA-256 that some of its files should have, and facts to record.

    `origin` is what its own files are said to lie in.
    """

    folder: Path
    origin: str
    digests: dict[str, str] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()

    def contents(self) -> dict[str, Path]:
        """Name inside the artifact -> the file itself, not its link."""
        found = (item for item in sorted(self.folder.rglob("*")) if item.is_file())
        return {item.relative_to(self.folder).as_posix(): item.resolve() for item in found}

    @contextmanager
    def naming(self) -> Iterator[None]:
        """Let a CheckpointError of the body name the files where the reader has them."""
        try:
            yield
        except CheckpointError as error:
            raise CheckpointError(self.said(str(error))) from error

    def said(self, text: str) -> str:
        """A message about this folder as one about what the recipe names."""
        for name in self.replaced:
            text = text.replace(str(self.folder / name), os.readlink(self.folder / name))
        return text.replace(str(self.folder), self.origin)


def assemble(source: ParentSource, workdir: Path, part: Part = "model") -> Assembled:
    """Bring the files of a source together below `workdir`; what was there before goes.

    A hub id is fetched and a GGUF file converted. The `description` is the model without weights
    where they would have to be fetched or converted. Raises CheckpointError for what is missing.
    """
    folder = workdir / "assembled"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    digests: dict[str, str] = {}
    facts: dict[str, Any] = {"source": str(source)}
    if source.kind == "gguf":
        from resources.pretrained.gguf import convert

        origin = workdir / "converted"
        shutil.rmtree(origin, ignore_errors=True)
        facts |= convert(
            Path(source.location),
            origin,
            weights=part == "model",
            tokenizer=source.tokenizer is None,
        )
    elif source.kind == "hub":
        origin, digests = hub.fetch(source, weights=part == "model")
        facts |= {"revision": source.revision, "commit": source.commit}
    else:
        origin = Path(source.location)
    if part == "description" and source.kind == "hub":
        names = [item.name for item in origin.iterdir() if item.is_file()]
        chosen = [origin / name for name in files.describing(names)]
    else:
        chosen = files.adopted(origin)
    for file in chosen:
        _link(file, folder)
    _link_more(origin, folder)
    if source.tokenizer is not None:
        _replace_tokenizer(folder, Path(source.tokenizer))
    if source.template is not None:
        _replace_template(folder, Path(source.template))
    if source.chat:
        _write_chat(folder, source)
    if source.tokenizer is not None or source.template is not None:
        digests = {name: digest for name, digest in digests.items() if _is_weights(name)}
    links = [item for item in folder.iterdir() if item.is_symlink()]
    replaced = [item.name for item in links if Path(os.readlink(item)).parent != origin.absolute()]
    shown = str(source) if source.kind != "folder" else source.location
    return Assembled(folder, shown, digests, facts, tuple(replaced))


def _write_chat(folder: Path, source: ParentSource) -> None:
    """Put what the recipe says of the chat into `chat.json`, above what is there."""
    from resources.chat.errors import ChatError
    from resources.chat.folder import said, settings
    from resources.models.folders import write_json

    values = {**said(folder), **source.chat}
    (folder / CHAT).unlink(missing_ok=True)
    write_json(folder / CHAT, values)
    try:
        dated = settings(folder).dated
    except ChatError:
        return  # a folder without a template: who adopts it is told so
    if source.date is not None and not dated:
        raise CheckpointError(
            f"{source}: date is {source.date}, and its chat template asks for none: leave it out"
        )


def _is_weights(name: str) -> bool:
    return name.endswith(".safetensors") or name == files.INDEX


def _link(file: Path, folder: Path) -> None:
    os.symlink(file.absolute(), folder / file.name)


def _link_more(origin: Path, folder: Path) -> None:
    """The origin's further templates in place of what is there."""
    shutil.rmtree(folder / MORE_TEMPLATES, ignore_errors=True)
    for file in sorted((origin / MORE_TEMPLATES).glob("*.jinja")):
        (folder / MORE_TEMPLATES).mkdir(exist_ok=True)
        _link(file, folder / MORE_TEMPLATES)


def _replace_tokenizer(folder: Path, origin: Path) -> None:
    """Another folder's tokenizer; its template comes along where the model has none of its own."""
    for name in files.TOKENIZER:
        (folder / name).unlink(missing_ok=True)
    own = any(item.name in files.TEMPLATES for item in folder.iterdir())
    if not own:
        _link_more(origin, folder)
    for file in files.adopted_tokenizer(origin):
        if file.name in files.TOKENIZER or not own:
            (folder / file.name).unlink(missing_ok=True)
            _link(file, folder)


def _replace_template(folder: Path, template: Path) -> None:
    if not template.is_file():
        raise CheckpointError(f"{template}: no such file: give the chat template as a Jinja file")
    for name in files.TEMPLATES:
        (folder / name).unlink(missing_ok=True)
    shutil.rmtree(folder / MORE_TEMPLATES, ignore_errors=True)
    os.symlink(template.resolve(), folder / "chat_template.jinja")
