"""What all exports do alike: refuse with every reason, fit the heads, write a folder whole.

Knows folders and tensors; a form's configuration and names are its own module's matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.models.errors import ExportError
from resources.models.export.limits import HEAD_SIZES
from resources.models.folders import (
    STORED,
    write_chat,
    write_json,
    write_weights,
)
from warehouse.files.filesystem import replacing_folder

if TYPE_CHECKING:
    import torch

    from resources.models.modeling import HeterogeneousDecoderForCausalLM


def dtype_reasons(dtype: str) -> list[str]:
    """Why weights of this type cannot be written, if so."""
    if dtype in STORED:
        return []
    return [f"{dtype} weights: convert them to one of {', '.join(STORED)}"]


def refuse(form: str, reasons: Sequence[str]) -> None:
    """Raise ExportError with every reason, if there is any."""
    if reasons:
        raise ExportError(f"this model cannot be exported {form}: {'; '.join(reasons)}")


def with_known_heads(
    model: HeterogeneousDecoderForCausalLM,
) -> tuple[HeterogeneousDecoderForCausalLM, list[str]]:
    """The model with heads of the next size in `HEAD_SIZES`, and a remark where it had another.

    Widened weights come in float32 at least (see `widen_heads`). Larger heads stay as they are.
    """
    import torch

    from resources.models.heads import widen_heads

    size = model.config.head_dim or 0
    if size in HEAD_SIZES or size > HEAD_SIZES[-1]:
        return model, []
    wider = next(known for known in HEAD_SIZES if known > size)
    remark = f"heads of {size} are widened to {wider} with zeros, for which engines have kernels"
    if model.dtype != torch.promote_types(model.dtype, torch.float32):
        remark += "; in float32, since that scales queries, which would be rounded"
    return widen_heads(model, wider), [remark]


def write(
    folder: str | Path,
    values: Mapping[str, Any],
    weights: Iterable[tuple[str, torch.Tensor]],
    tokenizer_dir: str | Path,
    finish: Callable[[Path], object],
) -> None:
    """Write config.json, safetensors, generation_config.json, tokenizer and template; replaces
    `folder`.

    Written beside, then `finish` adds what else is needed and checks all of it, then renamed.
    """
    with replacing_folder(Path(folder)) as aside:
        write_json(aside / "config.json", dict(values))
        write_weights(aside, weights)
        write_chat(aside, Path(tokenizer_dir), values)
        finish(aside)
