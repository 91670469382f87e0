"""The types that weights are stored in and models compute in, by the names that recipes give them.

Knows types, devices and modules; it does not know checkpoints or what is computed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def name_of(dtype: torch.dtype) -> str:
    """How configurations call it: "bfloat16"."""
    return str(dtype).removeprefix("torch.")


def torch_dtype(name: str) -> torch.dtype:
    """The type that `name_of` names."""
    import torch

    found: torch.dtype = getattr(torch, name)
    return found


def settle(module: torch.nn.Module, dtype: str) -> None:
    """Round a module's weights to what they are once stored as `dtype`; their own type stays.

    What is measured afterwards is measured of the weights that are published.
    """
    import torch

    kind = torch_dtype(dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(parameter.to(kind))
