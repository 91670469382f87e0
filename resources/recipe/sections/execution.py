"""Execution settings: where and how fast, never what. They are recorded and never enter a key."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from resources.recipe.sections.base import Count, NonNegative, Positive, PositiveShare, Section


class Rates(Section):
    """Tokens a second of a model of `parameters` parameters on this machine, by kind of work."""

    parameters: Count
    train: Positive
    score: Positive
    sample: Positive


class Size(Section):
    """A model's cost relative to the one the rates were measured on, and its layer count."""

    relative_cost: Positive
    layers: Count


class Typical(Section):
    """Typical lengths in tokens, for predictions only: a whole example, and answers by mode."""

    example: Count
    response_on: Count
    response_off: Count


class Activations(Section):
    """Where a block library takes its layers' inputs from.

    `resident`: the parent stays in memory and feeds its layer group. `sweep`: layers are read one
    at a time and two layer boundaries are kept on disk, at most `bytes` of them, so that the tokens
    go through in chunks. Both give the same weights.
    """

    source: Literal["resident", "sweep"] = "resident"
    bytes: Count = 4_000_000_000


class Hardware(Section):
    """The machine that training is planned for: `devices` of `memory_bytes` and peak `flops` each.

    `mfu` is the share of the peak that a training step is taken to reach.
    """

    name: str
    devices: Count
    memory_bytes: Positive
    flops: Positive
    mfu: PositiveShare


class Sizes(Section):
    """A parent's sizes, for plans of parents that are not here to be read; as its config.json's.

    `parameters` are those of the model that the search makes of it (null: it is trained as it is).
    """

    hidden_size: Count
    num_hidden_layers: Count
    num_attention_heads: Count
    num_key_value_heads: Count
    intermediate_size: Count
    vocab_size: Count
    parameters: Count | None = None


class ExecutionSettings(Section):
    """How a run is executed. `micro_batch` in sequences, `approval_seconds` a predicted cost;
    `generation_batch` sequences are decoded together. The engine `vllm` starts a server, on
    `tensor_parallel` devices, for as long as an asset asks it; `replay` answers from recorded
    completions alone. A role's own engine goes before it.

    `workers` partitions of an asset are built side by side, each in its own process.
    `checkpoint_steps` is how often a block library in training writes its state.

    Training runs on `ranks` processes of each of `hosts` (none: this machine alone; else this one
    first). ZeRO shards over all of them, `offload_optimizer` keeps the optimizer's states in host
    memory, `activation_checkpointing` computes layers again in the backward pass, and
    `sequence_parallel` neighbouring ranks share the tokens of a micro-batch.

    Training writes a checkpoint when `save_every_seconds` have passed since the last one (0: after
    every step); a kill costs no more than that. It reads examples from files where they are larger
    than `examples_bytes`. A live teacher is on `teacher_device` (null: on the student's). `flops`
    is what one device can do in a second, of which utilisation is a share (null: measured).
    `trackers` show runs while they go; they need the extra `trackers`.

    Work predicted to take longer than `approval_seconds` waits for approval when a sensor asks for
    it.

    A dry run also plans memory and device hours of the training stages where `hardware` and the
    `parents` of the models are stated; `published_hours` are shown beside them.
    """

    device: Literal["cpu", "cuda"] = "cpu"
    threads: Count = 2
    workers: Count = 1
    activations: Activations = Activations()
    checkpoint_steps: Count = 200
    save_every_seconds: NonNegative = 300.0
    micro_batch: Count = 32
    generation_batch: Count = 128
    examples_bytes: Count = 2_000_000_000
    teacher_device: str | None = None
    flops: Positive | None = None
    trackers: list[Literal["tensorboard", "wandb", "mlflow"]] = Field(default_factory=list)
    engine: Literal["transformers", "vllm", "replay"] = "transformers"
    zero_stage: Annotated[int, Field(ge=0, le=3)] = 0
    ranks: Count = 1
    hosts: list[str] = Field(default_factory=list)
    offload_optimizer: bool = False
    activation_checkpointing: bool = False
    sequence_parallel: Count = 1
    tensor_parallel: Count = 1
    approval_seconds: Positive = 3600.0
    rates: Rates = Rates(parameters=1_900_000, train=9000.0, score=30000.0, sample=4000.0)
    sizes: dict[str, Size] = Field(default_factory=dict)
    typical: Typical = Typical(example=85, response_on=60, response_off=15)
    hardware: Hardware | None = None
    parents: dict[str, Sizes] = Field(default_factory=dict)
    published_hours: dict[str, Positive] = Field(default_factory=dict)

    @property
    def processes(self) -> int:
        """How many ranks train together, on all hosts."""
        return self.ranks * max(1, len(self.hosts))
