"""Parts that every recipe section shares: strict sections, units and ranges, optimizer settings.

Knows no stage; the sections themselves are in `family.py` and `model.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    PlainValidator,
    ValidationError,
    model_validator,
)
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError
from pydantic_core.core_schema import ErrorType

from resources.pretrained.source import BUNDLED, SourceError, parse
from resources.recipe.errors import nearest
from resources.recipe.naming import type_name

DOMAINS = ("math", "code", "science", "tools", "instructions")
DEEPEST = 8
_KNOWN_ERRORS = get_args(ErrorType)

LARGEST = 2**63 - 1  # what tables and tensors hold
Count = Annotated[int, Field(gt=0, le=LARGEST)]
CountOrZero = Annotated[int, Field(ge=0, le=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]
PositiveShare = Annotated[float, Field(gt=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Text = Annotated[str, Field(min_length=1)]
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")]
Domain = Literal["math", "code", "science", "tools", "instructions"]
Reasoning = Literal["on", "off"]
Dtype = Literal["float32", "tf32", "bfloat16"]
Depth = Annotated[int, Field(ge=1, le=DEEPEST)]


def _names_a_model(value: Any) -> Any:
    try:
        source = parse(value, Path())
    except SourceError as error:
        raise impossible(str(error)) from None
    except RuntimeError:
        raise impossible(f"'{value}' names a home that is not there; give the whole path") from None
    if Path(source.location).parent == BUNDLED and not Path(source.location).is_dir():
        hint = nearest(source.name, sorted(each.name for each in BUNDLED.iterdir()))
        raise impossible(f"no bundled model '{source.name}'; {hint}")
    return value


# A given model: a text, or a mapping with its path and what replaces its own parts. One validator,
# not a union, so that a wrong value is one fault.
Given = Annotated[str | dict[str, Any], PlainValidator(_names_a_model)]


def impossible(message: str) -> PydanticCustomError:
    """An error for a value that is well typed but cannot be right; `message` says what would be."""
    return PydanticCustomError("impossible", "{message}", {"message": message})


def check_proportions(weights: dict[Any, float], what: str, empty_allowed: bool = False) -> None:
    """Refuse weights that cannot be normalised (an empty mapping may mean "all equally")."""
    if not weights and empty_allowed:
        return
    if sum(weights.values()) <= 0:
        raise impossible(f"{what} weights sum to 0; give at least one a positive weight")


_Given = TypeVar("_Given")


def needed(section: _Given | None, name: str) -> _Given:
    """An optional section that is read here. ValueError where the recipe leaves it out."""
    if section is None:
        raise ValueError(f"the recipe has no section '{name}'; add it")
    return section


class Section(BaseModel):
    """A recipe section: immutable, strictly typed, no unknown key, no missing key.

    `section.model_dump(mode="json")` is its semantic slice (plain JSON values; integer mapping
    keys become strings).
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)
    # Of a section in which names of the writer's own stand beside keys: the field with the section
    # of those keys, and the field of the names.
    parts: ClassVar[tuple[str, str] | None] = None

    @classmethod
    def within(cls, recipe: Mapping[str, Any]) -> Self:
        """The section's values in an asset's recipe slice; keys that are not its own stay out."""
        return cls.model_validate({key: recipe[key] for key in cls.model_fields if key in recipe})

    @model_validator(mode="wrap")
    @classmethod
    def _name_the_keys(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        """Word unknown and missing keys with what would be right, beside every other error."""
        try:
            return handler(data)
        except ValidationError as error:
            found = error.errors(include_url=False)
            found.sort(key=lambda each: each["type"] != "extra_forbidden")  # a slip tells the rest
            worded = [cls._worded(each) for each in found]
            raise ValidationError.from_exception_data(cls.__name__, worded) from None

    @classmethod
    def _worded(cls, error: ErrorDetails) -> InitErrorDetails:
        kind: str | PydanticCustomError = error["type"]
        place, context = error["loc"], error.get("ctx", {})
        if kind == "extra_forbidden" and len(place) == 1:
            hint = nearest(str(place[0]), cls.model_fields)
            kind = PydanticCustomError(
                "unknown_key",
                "unknown key '{key}'; {hint}",
                {"key": str(place[0]), "hint": hint},
            )
            place = ()
        elif kind == "missing" and len(place) == 1:
            field = cls.model_fields[str(place[0])]
            kind = PydanticCustomError(
                "missing_key",
                "missing key '{key}'; add `{key}: …` ({what})",
                {
                    "key": str(place[0]),
                    "what": field.description or type_name(field.annotation),
                },
            )
            place = ()
        elif kind not in _KNOWN_ERRORS:  # one of ours, worded further inside
            kind = PydanticCustomError(str(kind), "{message}", {"message": error["msg"], **context})
        return InitErrorDetails(type=kind, loc=place, input=error["input"], ctx=context)


class Computed(Section):
    """A section whose models may compute in another `dtype` than is usual on the device.

    Absent, it means what is usual: a GPU takes the type that a model is stored in (bfloat16
    autocast where it learns), a CPU float32. Scores and losses are float32 in any case, and so are
    weights that learn.
    """

    dtype: Dtype | None = Field(default=None, exclude_if=lambda value: value is None)


class Sampling(Computed):
    """How answers are drawn: `temperature` 0 is greedy; `max_new_tokens` in tokens."""

    temperature: NonNegative
    top_p: PositiveShare
    max_new_tokens: Count


class Optimizer(Section):
    """AdamW and its schedule; rates per optimizer step, `warmup_ratio` a share of all steps."""

    learning_rate: Positive = Field(description="peak learning rate")
    schedule: Literal["constant", "cosine"]
    warmup_ratio: Annotated[float, Field(ge=0, lt=1)] = Field(
        description="share of the steps, 0 to 1"
    )
    min_learning_rate: NonNegative = Field(description="where a cosine schedule ends")
    weight_decay: NonNegative
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=2, max_length=2)
    gradient_clipping: NonNegative = Field(description="largest gradient norm; 0 turns it off")

    @model_validator(mode="after")
    def _schedule_falls(self) -> Self:
        if self.min_learning_rate > self.learning_rate:
            raise impossible(
                f"min_learning_rate {self.min_learning_rate:g} is above learning_rate "
                f"{self.learning_rate:g}; it must be at most that"
            )
        return self


class Divergence(Section):
    """When a training run counts as diverged, and what then.

    Suspicious is a gradient norm above `gradient_norm` times the median of the last `window` calm
    steps, or a loss more than `loss` nats above theirs; `patience` such steps in a row, or one NaN,
    are a divergence. The run then stops at its last good checkpoint, or goes on from it with fresh
    optimizer states, `at_most` times.
    """

    gradient_norm: Positive = 20.0
    loss: Positive = 2.0
    window: Count = 32
    patience: Count = 3
    settle: Count = 8
    action: Literal["stop", "reinitialize_optimizer"] = "stop"
    at_most: Count = 1


class Training(Optimizer):
    """Optimizer plus how much is trained: exactly one of `tokens` and `epochs`.

    `batch_tokens` is the capacity of one optimizer step in tokens, a multiple of
    `sequence_length`.
    """

    tokens: Count | None = Field(default=None, description="tokens to train on")
    epochs: Count | None = Field(default=None, description="passes over the data")
    batch_tokens: Count = Field(description="tokens of one optimizer step")
    sequence_length: Count = Field(description="longest sequence, tokens")
    divergence: Divergence | None = None

    @model_validator(mode="after")
    def _amount_and_batch(self) -> Self:
        if (self.tokens is None) == (self.epochs is None):
            raise impossible("give exactly one of 'tokens' and 'epochs'")
        if self.batch_tokens % self.sequence_length:
            down = max(1, self.batch_tokens // self.sequence_length) * self.sequence_length
            raise impossible(
                f"batch_tokens {self.batch_tokens} is not a multiple of sequence_length "
                f"{self.sequence_length}; {down} would be"
            )
        return self


class Learning(Training, Computed):
    """Training of a whole model, in the `dtype` that it asks for."""
