"""Export in our own layout, which vLLM serves with this package installed beside it.

The package's plugin brings vLLM the model (`resources.engines.vllm_plugin`), so no code stands in
the folder, and whatever we compute is served: windows, normalised queries and keys, linear blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.export.limits import refusals
from resources.models.export.writing import dtype_reasons, refuse, with_known_heads, write
from resources.models.folders import check_stored
from resources.models.loading import configuration, weights_of
from resources.models.precision import name_of

if TYPE_CHECKING:
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

PLUGIN = "vLLM serves this folder where heirloom is installed beside it, as its plugin"


def accepts(config: Mapping[str, Any], dtype: str) -> list[str]:
    """Why vLLM could not run this model with our plugin; empty when it can."""
    return refusals("vllm_plugin", config) + dtype_reasons(dtype)


def export(
    model: HeterogeneousDecoderForCausalLM,
    folder: str | Path,
    tokenizer_dir: str | Path,
) -> list[str]:
    """Write the model, in its own dtype, as a checkpoint of ours; replaces `folder`.

    Returns remarks: what serves it, and what differs from the model (see `with_known_heads`).
    Raises ExportError with all reasons before anything is written.
    """
    refuse("for vLLM with our plugin", accepts(model.config.to_dict(), name_of(model.dtype)))
    model, remarks = with_known_heads(model)
    weights = weights_of(model)
    expected = {name: tuple(each.shape) for name, each in weights.items()}
    values: dict[str, Any] = configuration(model)
    write(
        folder,
        values,
        weights.items(),
        tokenizer_dir,
        lambda aside: check_stored(aside, expected, values["dtype"]),
    )
    return [PLUGIN, *remarks]
