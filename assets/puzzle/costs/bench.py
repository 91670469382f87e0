"""Times sub-blocks and whole models on one device, in one dtype, at given lengths.

Blocks of a parent's sizes with random weights, since time depends on sizes alone; the parent's own
weights are never read. Knows layers and caches; knows nothing of files, recipes or the search.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from assets.puzzle.costs.timing import Marginal, Run, TimingError, interleaved, settled
from resources.engines.decoding import StaticCache
from resources.machine import free_bytes
from resources.models import accounting
from resources.models.blocks import Context, HeterogeneousDecoderBlock
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.modeling import HeterogeneousDecoderForCausalLM

SMALLER = "take smaller batches, fewer blocks (2 x blocks layers are held) or shorter prompts"


@dataclass(frozen=True)
class Setting:
    """Where and how to time: lengths in tokens, `blocks` = N, `threads` of the CPU (None: as is).

    A prefill reads `prefill` tokens; a decode step is the `decode`-th token after them, so that it
    attends to `prefill + decode` tokens, itself included.
    """

    device: str
    dtype: str
    prefill: int
    decode: int
    blocks: int = 4
    repeats: int = 5
    threads: int | None = None
    seed: int = 0

    @property
    def context(self) -> int:
        """Tokens that a decode step attends to."""
        return self.prefill + self.decode


class Bench:
    """Times sub-blocks of one parent's sizes, and what the model does besides its blocks.

    Raises TimingError from everything that does not fit into memory or gives no sensible time.
    """

    def __init__(self, config: HeterogeneousDecoderConfig, setting: Setting) -> None:
        if setting.context > config.max_position_embeddings:
            raise TimingError(
                f"prefill {setting.prefill} and decode {setting.decode} make {setting.context} "
                f"tokens, beyond the model's context of {config.max_position_embeddings} "
                "(max_position_embeddings): time shorter ones"
            )
        if setting.device == "cuda" and not torch.cuda.is_available():
            raise TimingError("no GPU that torch can use is here: time on the device cpu")
        self.config, self.setting = config, setting
        self.shape = accounting.Shape.of(config.to_dict())
        self.device, self.dtype = torch.device(setting.device), getattr(torch, setting.dtype)
        self.draw = torch.Generator(self.device).manual_seed(setting.seed)
        self._room("embedding and head", accounting.shared_parameters(self.shape), 0, 0)
        with _memory("embedding and head"):
            self.rest = self._rest()

    def _rest(self) -> HeterogeneousDecoderForCausalLM:
        """The model without layers: embedding, rotary tables, final norm, head."""
        values = self.config.to_dict() | {"num_hidden_layers": 0, "block_configs": []}
        for name in ("architectures", "model_type", "transformers_version"):
            values.pop(name, None)
        with torch.device(self.device):
            model = HeterogeneousDecoderForCausalLM(HeterogeneousDecoderConfig(**values))
        return model.to(self.dtype).eval().requires_grad_(False)

    def sub_block(self, kind: str, variant: str, batch: int) -> tuple[Marginal, Marginal]:
        """Prefill and decode seconds of an attention or FFN variant in one layer, with its norm and
        residual sum, for `batch` sequences at once. A no-op takes 0 s by definition."""
        if variant == "noop":
            return Marginal(0.0, 0.0, 0.0), Marginal(0.0, 0.0, 0.0)
        what = f"{kind} '{variant}' for {batch} sequences"
        pair = (variant, "noop") if kind == "attention" else ("noop", variant)
        [entry] = accounting.blocks_of(self.shape, [pair])
        count, size = 2 * self.setting.blocks, self.dtype.itemsize
        keys = accounting.kv_bytes_per_token(self.shape, pair[0], size)
        self._room(
            f"{count} blocks of {what}",
            count * accounting.block_parameters(self.shape, *pair),
            2 * count * batch * self.setting.context * keys,  # a cache each for both phases
            accounting.activation_bytes(
                self.shape, *pair, tokens=batch * self.setting.context, dtype_bytes=size
            ),
        )
        with _memory(f"{count} blocks of {what}"), torch.inference_mode():
            runs = self._stack_runs([self._layer(entry, place) for place in range(count)], batch)
            try:
                return settled(
                    lambda repeats: interleaved(runs, self.device, repeats),
                    self.setting.repeats,
                    self.setting.blocks,
                )
            except TimingError as error:
                raise TimingError(f"{what}: {error}") from error

    def non_block(self, batch: int) -> tuple[float, float]:
        """Prefill and decode seconds of embedding, rotary tables, final norm and head (the last
        position only)."""
        return model_seconds(self.rest, batch, self.setting)

    def _layer(self, entry: Mapping[str, Any], place: int) -> HeterogeneousDecoderBlock:
        with torch.device("meta"):
            layer = HeterogeneousDecoderBlock(self.config, dict(entry), place)
        layer = layer.to(self.dtype).to_empty(device=self.device)
        for name, weight in layer.named_parameters():
            weight.requires_grad_(False)
            if name.endswith("layernorm.weight"):
                weight.fill_(1.0)
            else:
                weight.normal_(0.0, self.config.initializer_range, generator=self.draw)
        return layer.eval()

    def _stack_runs(self, layers: Sequence[HeterogeneousDecoderBlock], batch: int) -> list[Run]:
        """A prefill and a decode step through the first half of the layers, then through all."""

        def states(length: int, cache: StaticCache) -> tuple[torch.Tensor, Context]:
            ids = torch.zeros(batch, length, dtype=torch.long, device=self.device)
            size = (batch, length, self.config.hidden_size)
            hidden = torch.randn(size, generator=self.draw, device=self.device, dtype=self.dtype)
            return hidden, self.rest.context(ids, cache=cache)

        def run(count: int, hidden: torch.Tensor, context: Context) -> torch.Tensor:
            for layer in layers[:count]:
                hidden = layer(hidden, context)
            return hidden

        first, later = StaticCache(), StaticCache()
        prefill = states(self.setting.prefill, first)
        run(len(layers), *states(self.setting.context - 1, later))
        later.advance(self.setting.context - 1)
        decode = states(1, later)
        return [
            partial(run, count, *phase)
            for count in (len(layers) // 2, len(layers))
            for phase in (prefill, decode)
        ]

    def _room(self, what: str, parameters: int, keys: int, activations: int) -> None:
        """Refuse what cannot fit before the operating system ends the process for trying."""
        needed = parameters * self.dtype.itemsize + keys + activations
        there = free_bytes(self.device)
        if needed > there:
            raise TimingError(
                f"{what} in {self.setting.dtype} need about {needed / 2**30:,.1f} GiB, "
                f"{self.device} has {there / 2**30:,.1f} GiB: {SMALLER}"
            )


def model_seconds(
    model: HeterogeneousDecoderForCausalLM, batch: int, setting: Setting
) -> tuple[float, float]:
    """Seconds of a whole model, the least: a prefill with the logits of the last position, and a
    decode step. Timed as sub-blocks are."""
    draw = torch.Generator().manual_seed(setting.seed)

    def tokens(length: int) -> torch.Tensor:
        ids = torch.randint(model.config.vocab_size, (batch, length), generator=draw)
        return ids.to(model.device)

    def run(ids: torch.Tensor, cache: StaticCache) -> torch.Tensor:
        return model(ids, past_key_values=cache, logits_to_keep=1).logits

    with _memory(f"the model for {batch} sequences"), torch.inference_mode():
        first, later = StaticCache(), StaticCache()
        run(tokens(setting.context - 1), later)
        later.advance(setting.context - 1)
        runs = [partial(run, tokens(setting.prefill), first), partial(run, tokens(1), later)]
        prefill, decode = interleaved(runs, model.device, setting.repeats)
    return min(prefill), min(decode)


@contextmanager
def _memory(what: str) -> Iterator[None]:
    """Say what did not fit, where torch runs out of memory."""
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one; the CPU allocator has no type
        if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
            raise TimingError(f"{what}: out of memory ({error}): {SMALLER}") from error
        raise
