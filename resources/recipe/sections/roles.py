"""Roles: which model answers as what, and what it is asked with.

Which model answers is part of what is made; the engine, its address and its pace never are. Opens
no connection (see `resources/engines`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Discriminator, Field, Tag, model_validator

from resources.chat.errors import ChatError
from resources.chat.toggle import Toggle
from resources.recipe.sections.base import (
    Count,
    NonNegative,
    Positive,
    PositiveShare,
    Section,
    Text,
    impossible,
)
from resources.tasks import scripted

RoleName = Literal[
    "teacher",
    "off",
    "writer",
    "pass_rates",
    "preferences",
    "evaluation",
    "judge",
    "feedback",
    "edit",
    "select",
]
SCRIPTED: tuple[RoleName, ...] = ("feedback", "edit", "select")  # in which fixed rules may answer
ONLY_SERVED: tuple[RoleName, ...] = ("judge", *SCRIPTED)
SERVED = ("teacher", "off", *ONLY_SERVED)  # may be models that only a server has
SAMPLED: tuple[RoleName, ...] = ("teacher", "off")  # whose answers are sampled as they say


def _address(value: str) -> str:
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise impossible(f"'{value}' is no address of a server; write http://HOST:PORT/v1")
    if parts.username or parts.password or parts.query:
        raise impossible(
            "an address holds no key: put it into an environment variable, whose name is "
            "api_key_env"
        )
    return value


Url = Annotated[str, AfterValidator(_address)]


class Price(Section):
    """What a million tokens of prompts and of completions cost."""

    prompt: NonNegative
    completion: NonNegative


class Asking(Section):
    """How a server is asked: `concurrency` requests at once at most, each for `timeout` seconds.

    The key is in the environment variable `api_key_env`. A `version` says which weights a server
    has and becomes part of what is made; without one nothing can tell when they change.
    """

    api_key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    concurrency: Count = 64
    timeout: Positive = 600.0
    version: Text | None = None
    price: Price | None = None


class Openai(Asking):
    """Any OpenAI-compatible server."""

    openai: Url


class VllmSettings(Section):
    """A vLLM server that is started on the role's checkpoint, and ended with what asked it.

    `devices` are the numbers of the GPUs that it may use; `arguments` are further ones of
    `vllm serve`, without dashes.
    """

    tensor_parallel: Count = 1
    data_parallel: Count = 1
    devices: list[Annotated[int, Field(ge=0)]] = Field(default_factory=list)
    arguments: dict[Text, str | int | float | bool] = Field(default_factory=dict)


class Managed(Section):
    """One server of ours."""

    vllm: VllmSettings
    concurrency: Count = 256
    timeout: Positive = 3600.0


def _member(value: Any) -> str:
    if isinstance(value, str):
        return "url"
    managed = "vllm" in value if isinstance(value, dict) else isinstance(value, Managed)
    return "vllm" if managed else "openai"


Member = Annotated[
    Annotated[Url, Tag("url")] | Annotated[Openai, Tag("openai")] | Annotated[Managed, Tag("vllm")],
    Discriminator(_member),
]


class Pool(Asking):
    """Several servers that share the work: addresses, or servers of ours."""

    pool: list[Member] = Field(min_length=1)

    @model_validator(mode="after")
    def _alike(self) -> Self:
        ours = [isinstance(each, Managed) for each in self.pool]
        if any(ours) and not all(ours):
            raise impossible(
                "pool: servers of one's own and others' cannot share a role, since only of the "
                "own ones the weights are known"
            )
        return self


def _named(value: str) -> str:
    if value not in ("embedded", "replay", scripted.NAME):
        raise impossible(
            f"no engine '{value}'; write embedded, replay, scripted, {{openai: URL}}, "
            "{vllm: {}} or {pool: [URL, URL]}"
        )
    return value


def _engine(value: Any) -> str:
    if isinstance(value, str):
        return "name"
    for kind, section in (("pool", Pool), ("vllm", Managed)):
        if kind in value if isinstance(value, dict) else isinstance(value, section):
            return kind
    return "openai"


Engine = Annotated[
    Annotated[Annotated[str, AfterValidator(_named)], Tag("name")]
    | Annotated[Openai, Tag("openai")]
    | Annotated[Managed, Tag("vllm")]
    | Annotated[Pool, Tag("pool")],
    Discriminator(_engine),
]


class Drawing(Section):
    """How a role's answers are drawn, where it is not as `generation` says."""

    temperature: NonNegative | None = None
    top_p: PositiveShare | None = None
    max_new_tokens: Count | None = None


class Role(Section):
    """Who answers as something: `model` by `engine`.

    A model that only a server has is named as the server names it, with its `thinking` where it has
    a toggle; of the other roles it is the checkpoint that the stage reads, and stays out here.
    """

    model: Text | dict[str, Any] | None = None
    engine: Engine = Field(description="{openai: URL}, or embedded or {vllm: {}} for a checkpoint")
    thinking: dict[str, Any] | None = None
    sampling: Drawing | None = None

    @property
    def served(self) -> bool:
        """Whether only a server has the model."""
        members = self.members
        return bool(members) and not any(isinstance(each, Managed) for each in members)

    @property
    def scripted(self) -> bool:
        """Whether fixed rules answer in the place of a model."""
        return self.engine == scripted.NAME

    @property
    def members(self) -> list[str | Openai | Managed]:
        """The servers of the engine; none where there is none."""
        if isinstance(self.engine, Pool):
            return list(self.engine.pool)
        return [self.engine] if isinstance(self.engine, Openai | Managed) else []

    @property
    def version(self) -> str | None:
        """The declared version of the weights."""
        return self.engine.version if isinstance(self.engine, Asking) else None

    def asked(self) -> dict[str, Any]:
        """What of a served model decides its answers: an asset's slice."""
        if self.scripted:
            return {"model": scripted.NAME, "version": scripted.VERSION}
        return {
            "model": self.model,
            **({"version": self.version} if self.version else {}),
            **({"thinking": self.thinking} if self.thinking else {}),
        }

    @model_validator(mode="after")
    def _model_and_engine(self) -> Self:
        if self.served and not isinstance(self.model, str):
            raise impossible("model: name the model as the server lists it under /v1/models")
        if self.thinking is not None:
            if not self.served:
                raise impossible("thinking is of a served model; give a checkpoint's with its path")
            try:
                Toggle.of({"on": {}, "off": {}, **self.thinking})
            except ChatError as error:
                raise impossible(str(error)) from None
        return self


def faults(roles: dict[RoleName, Role]) -> list[tuple[str, str]]:
    """(key path below `roles`, what is wrong) of roles whose model or engine they cannot have."""
    found = []
    for name, role in roles.items():
        if role.sampling is not None and name not in SAMPLED:
            wrong = f"is of {' and '.join(SAMPLED)}; of others the section of the stage says it"
            found.append((f"{name}.sampling", wrong))
        if role.served and name not in SERVED:
            found.append(
                (
                    f"{name}.engine",
                    "what answers here is a checkpoint of this recipe: write {vllm: {}}, a server "
                    "that is started on it, or embedded",
                )
            )
        elif role.scripted and name not in SCRIPTED:
            wrong = f"no rules answer as this role, only as {', '.join(SCRIPTED)}"
            found.append((f"{name}.engine", wrong))
        elif role.scripted and role.model is not None:
            found.append((f"{name}.model", "leave it out: rules answer, no model"))
        elif name in ONLY_SERVED and not role.served and not role.scripted:
            found.append(
                (
                    f"{name}.engine",
                    "only a model that a server has: write {openai: URL}, and `model` as it is "
                    "listed there (`heirloom serve` or `vllm serve` serves one of yours)",
                )
            )
        elif role.model is not None and not role.served and name not in ("teacher", *SCRIPTED):
            where = "off_generator" if name == "off" else "the section of the stage"
            found.append((f"{name}.model", f"leave it out: {where} names the checkpoint"))
    return found
