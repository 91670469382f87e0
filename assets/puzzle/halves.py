"""Sub-blocks: one layer's attention or FFN with its norm, as a block whose other half is a no-op.

A layer is its attention half followed by its FFN half, so that children are made, trained, stored
and combined half by half, or, in a coupled library, pair by pair. Knows the heterogeneous model,
variant names and the files of a library; knows nothing of data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from resources.models.blocks import HeterogeneousDecoderBlock
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.description import OWN
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.models.variants import block_config

if TYPE_CHECKING:
    from resources.models.decoder import LayerSource

ATTENTION, FFN, PAIR = "attention", "ffn", "pair"
PARTS = {ATTENTION: ("input_layernorm", "self_attn"), FFN: ("post_attention_layernorm", "mlp")}
UNTRAINED = ("full", "noop")  # the parent's own sub-block, and none
_NOTHING = {"attention": {"kind": "noop"}, "ffn": {"kind": "noop"}}


def trained(*variants: str) -> bool:
    """Whether a half, or a pair, needs training: not if it is made of `UNTRAINED` parts only."""
    return not set(variants) <= set(UNTRAINED)


def half_of(
    config: HeterogeneousDecoderConfig, block: nn.Module, kind: str
) -> HeterogeneousDecoderBlock:
    """The attention or FFN half of a block; it shares the block's parameters."""
    half = HeterogeneousDecoderBlock(config, _NOTHING, 0).eval()
    for name in PARTS[kind]:
        setattr(half, name, getattr(block, name))
    return half


def join(
    config: HeterogeneousDecoderConfig, attention: nn.Module, ffn: nn.Module
) -> HeterogeneousDecoderBlock:
    """The block made of an attention half and an FFN half; it shares their parameters."""
    block = half_of(config, attention, ATTENTION)
    for name in PARTS[FFN]:
        setattr(block, name, getattr(ffn, name))
    return block


def parent_half(parent: LayerSource, layer: int, kind: str) -> HeterogeneousDecoderBlock:
    """The parent's attention or FFN half of a layer; it shares the parent's parameters."""
    return half_of(parent.config, parent.layer(layer), kind)


def new_block(
    parent: LayerSource, layer: int, attention: str, ffn: str
) -> HeterogeneousDecoderBlock:
    """A block of the shapes two variant names stand for, as the parent is placed, weights unset.

    Raises:
        ValueError: an unknown variant, or one the parent cannot have.
    """
    config = _block_config(parent.config, layer, attention, ffn)
    with torch.device("meta"):
        block = HeterogeneousDecoderBlock(parent.config, config, layer)
    return block.to(parent.dtype).to_empty(device=parent.device)


def new_half(parent: LayerSource, layer: int, kind: str, variant: str) -> HeterogeneousDecoderBlock:
    """A half of the shapes a variant name stands for, or a whole block for kind `pair`.

    Raises:
        ValueError: an unknown variant, or one the parent cannot have.
    """
    if kind == PAIR:
        return new_block(parent, layer, *pair_parts(variant))
    names = (variant, "noop") if kind == ATTENTION else ("noop", variant)
    return new_block(parent, layer, *names)


def pair_name(attention: str, ffn: str) -> str:
    """The variant of a pair trained as one block: `kv_1/ratio_50`."""
    return f"{attention}/{ffn}"


def pair_parts(variant: str) -> tuple[str, str]:
    """The attention and FFN variants of a pair."""
    attention, ffn = variant.split("/")
    return attention, ffn


def file_name(layer: int, kind: str, variant: str) -> str:
    """Where a library keeps a trained half or pair, relative to its folder.

    >>> file_name(3, "attention", "kv_1"), file_name(3, "pair", "kv_1/ratio_50")
    ('layer_3/attention_kv_1.safetensors', 'layer_3/pair_kv_1__ratio_50.safetensors')
    """
    return f"layer_{layer}/{kind}_{variant.replace('/', '__')}.safetensors"


class Library:
    """The sub-blocks of one parent: its own, no-ops, and the trained ones in library folders.

    A folder holds a layer group, or all layers. `coupled` libraries hold whole blocks, one for a
    pair of variants; decoupled ones hold halves that are put together.
    """

    def __init__(
        self,
        parent: HeterogeneousDecoderForCausalLM,
        folders: Path | Sequence[Path] | None = None,
    ) -> None:
        """Lists the files of the folders.

        Raises:
            ValueError: two folders hold the same block, or halves and pairs are mixed.
        """
        given = [folders] if isinstance(folders, Path) else list(folders or ())
        self.parent = parent
        self._where = ", ".join(map(str, given)) or "no folder"
        self._files: dict[str, Path] = {}
        self._digests: dict[tuple[int, str, str], str] = {}
        for folder in given:
            for file in sorted(folder.glob("layer_*/*.safetensors")):
                name = f"{file.parent.name}/{file.name}"
                if name in self._files:
                    raise ValueError(f"block library: {self._files[name]} and {file} are the same")
                self._files[name] = file
        forms = {Path(name).name.startswith(f"{PAIR}_") for name in self._files}
        if len(forms) > 1:
            raise ValueError(
                f"block library: halves and pairs are mixed in {self._where}; "
                "build every layer group with the same coupling"
            )
        self.coupled = True in forms

    def half(self, layer: int, kind: str, variant: str) -> nn.Module:
        """The half of a layer with the given variant, for evaluation.

        Raises:
            FileNotFoundError: the library has no such half.
            ValueError: the library is coupled, and the variant a trained one.
        """
        if variant == "full":
            return parent_half(self.parent, layer, kind)
        if variant == "noop":
            return new_half(self.parent, layer, kind, variant).eval()
        if self.coupled:
            raise ValueError(
                f"layer {layer}: a coupled library has no {kind} variant {variant!r} of its own; "
                "ask for the block of a pair"
            )
        return self._load(layer, kind, variant)

    def block(self, layer: int, attention: str, ffn: str) -> nn.Module:
        """The whole layer with the given variants, for evaluation: `f(hidden, context)`.

        Raises:
            FileNotFoundError: the library has no such half or pair.
        """
        if self.coupled and trained(attention, ffn):
            return self._load(layer, PAIR, pair_name(attention, ffn))
        halves = (self.half(layer, ATTENTION, attention), self.half(layer, FFN, ffn))
        return join(self.parent.config, *halves).eval()

    def digest(self, layer: int, attention: str, ffn: str) -> str:
        """Hex SHA-256 over the weights of a layer with the given variants, the parent's included.

        Equal digests mean the same function in the place of the same layer of this parent.
        """
        pieces = [(ATTENTION, attention), (FFN, ffn)]
        if self.coupled and trained(attention, ffn):
            pieces = [(PAIR, pair_name(attention, ffn))]
        total = hashlib.sha256(f"{self.parent.dtype} {layer}".encode())
        for kind, variant in pieces:
            place = (layer, kind, variant)
            if place not in self._digests:
                self._digests[place] = self._digest(*place)
            total.update(f"{kind} {self._digests[place]}".encode())
        return total.hexdigest()

    def _digest(self, layer: int, kind: str, variant: str) -> str:
        if trained(*variant.split("/")):
            with self._file(layer, kind, variant).open("rb") as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        if variant == "noop":
            return variant
        total = hashlib.sha256()
        for name, value in sorted(parent_half(self.parent, layer, kind).state_dict().items()):
            total.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
            total.update(value.cpu().contiguous().view(torch.uint8).numpy())
        return total.hexdigest()

    def _file(self, layer: int, kind: str, variant: str) -> Path:
        name = file_name(layer, kind, variant)
        if name not in self._files:
            raise FileNotFoundError(
                f"block library has no {kind} variant {variant!r} for layer {layer} "
                f"(expected {name} in {self._where}); build it or leave the variant out"
            )
        return self._files[name]

    def _load(self, layer: int, kind: str, variant: str) -> nn.Module:
        from safetensors.torch import load_file

        path = self._file(layer, kind, variant)
        block = new_half(self.parent, layer, kind, variant).requires_grad_(False)
        block.load_state_dict(load_file(path))
        return block.eval()


def compose(
    library: Library, architecture: Sequence[tuple[str, str]]
) -> HeterogeneousDecoderForCausalLM:
    """A new model with the (attention, ffn) variants of each layer, the parent's weights elsewhere.

    Raises:
        ValueError: another number of layers than the parent has.
    """
    parent = library.parent
    layers = parent.config.num_hidden_layers
    if len(architecture) != layers:
        raise ValueError(f"architecture has {len(architecture)} layers, the parent {layers}")
    values = parent.config.to_dict()
    values["block_configs"] = [
        _block_config(parent.config, layer, *variants)
        for layer, variants in enumerate(architecture)
    ]
    return fill(
        parent,
        HeterogeneousDecoderConfig(**values),
        [
            library.block(layer, *variants).state_dict()
            for layer, variants in enumerate(architecture)
        ],
    )


def fill(
    source: HeterogeneousDecoderForCausalLM,
    config: HeterogeneousDecoderConfig,
    blocks: Sequence[Mapping[str, torch.Tensor]],
) -> HeterogeneousDecoderForCausalLM:
    """A model of `config` with the given weights in its layers and `source`'s everywhere else."""
    model: Any = HeterogeneousDecoderForCausalLM(config)
    weights = {
        name: value
        for name, value in source.state_dict().items()
        if not name.startswith("model.layers.")
    }
    for layer, block in enumerate(blocks):
        weights |= {f"model.layers.{layer}.{name}": value for name, value in block.items()}
    model.to(device=source.device, dtype=source.dtype)
    model.load_state_dict(weights)
    filled: HeterogeneousDecoderForCausalLM = model.eval()
    return filled


def _block_config(
    config: HeterogeneousDecoderConfig, layer: int, attention: str, ffn: str
) -> dict[str, Any]:
    parent = (config.block_configs or [])[layer]
    block: dict[str, Any] = dict(
        block_config(
            attention,
            ffn,
            num_attention_heads=config.num_attention_heads,
            num_key_value_heads=int(
                parent["attention"]["num_key_value_heads"] or config.num_key_value_heads or 0
            ),
            intermediate_size=int(parent["ffn"]["intermediate_size"] or config.intermediate_size),
        )
    )
    if block["attention"]["kind"] == "full":
        # What is not a matter of size stays as the parent's layer has it.
        own = {key: parent["attention"][key] for key in OWN if key in parent["attention"]}
        block["attention"] = {**block["attention"], **own}
    # The parent's own sub-block need not be a full one.
    whole = {kind for kind, name in ((ATTENTION, attention), (FFN, ffn)) if name == "full"}
    return block | {kind: parent[kind] for kind in whole}
