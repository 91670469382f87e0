"""Configuration of a heterogeneous Llama in the nemotron-nas (DeciLM) layout.

This file is written into every exported folder as configuration_decilm.py and is complete in
itself: servers import it from there. `block_configs[i]` says what layer i holds:
{"attention": {"no_op", "n_heads_in_group"}, "ffn": {"no_op", "ffn_mult" or "intermediate_size"}}.
"""

from typing import Any

from transformers import LlamaConfig


class Part(dict):
    """A JSON object whose entries are attributes too; a missing one is a missing attribute."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class DeciLMConfig(LlamaConfig):
    """Llama's configuration with an entry a layer in `block_configs`."""

    model_type = "nemotron-nas"

    def __init__(
        self, block_configs: list[dict[str, dict[str, Any]]] | None = None, **values: Any
    ) -> None:
        # Published configurations have null sizes, which LlamaConfig refuses; a null token id is
        # meant: its default would be another model's.
        given = {
            name: value
            for name, value in values.items()
            if value is not None or name.endswith("_token_id")
        }
        super().__init__(**given)
        self.block_configs = [
            Part({name: Part(part) for name, part in block.items()})
            for block in block_configs or []
        ]
