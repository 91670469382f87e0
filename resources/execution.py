"""What a build function works under: the execution settings, resolved, and where it runs.

Nothing here decides content, so it stays out of keys and out of code versions. Knows the recipe's
section of execution settings; no asset and no store.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from resources.pretrained.source import ParentSource
from resources.recipe.sections.execution import ExecutionSettings
from resources.recipe.sections.roles import Role

Progress = Callable[[str, float], None]  # a message, and the fraction done


def silent(message: str, fraction: float) -> None:
    """The progress of a build that nobody watches."""


class Execution(ExecutionSettings):
    """The settings of one build, each with its value, and its surroundings.

    `home` is that of the store it is built in (None: a function called by hand), `requests` the
    folder of recorded completions (None: nothing is recorded). `roles` say what the models of
    roles are asked with. `source` is what a source
    asset is made of, a given model or a file, `observe` the files that its spec watches.
    """

    home: str | None = None
    requests: Path | None = None
    roles: dict[str, Role] = Field(default_factory=dict)
    source: ParentSource | str | None = None
    observe: tuple[str, ...] = ()
    progress: Progress = Field(default=silent, exclude=True)

    @classmethod
    def of(cls, settings: ExecutionSettings, **surroundings: Any) -> Self:
        """These settings in such surroundings."""
        named = {name: getattr(settings, name) for name in type(settings).model_fields}
        return cls(**named | surroundings)

    def but(self, **changes: Any) -> Self:
        """The same with other values."""
        return self.model_copy(update=changes)

    def recorded(self) -> dict[str, Any]:
        """Everything but `progress`, as plain JSON values."""
        return self.model_dump(mode="json")

    @classmethod
    def read(cls, recorded: Mapping[str, Any]) -> Self:
        """From what `recorded()` gave; progress is silent."""
        return cls.model_validate(dict(recorded), strict=False)

    @property
    def model(self) -> ParentSource:
        """The given model that the asset is made of. TypeError where it is made of none."""
        if not isinstance(self.source, ParentSource):
            raise TypeError(f"this asset's source is {self.source!r}, not a given model")
        return self.source

    @property
    def file(self) -> Path:
        """The file that the asset is made of. TypeError where it is made of none."""
        if not isinstance(self.source, str):
            raise TypeError(f"this asset's source is {self.source!r}, not a file")
        return Path(self.source)

    def cache(self, name: str, workdir: Path) -> Path:
        """A folder of the home that outlives builds; below `workdir` where there is no home."""
        return workdir / name if self.home is None else Path(self.home) / "cache" / name
