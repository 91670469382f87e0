"""What weights are stored in and what is computed in, by the names that recipes give them.

Knows types, devices and modules; it does not know stages or what is computed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    import torch

FLOAT32, TF32, BFLOAT16 = "float32", "tf32", "bfloat16"
DTYPES = (FLOAT32, TF32, BFLOAT16)
AMPERE = (8, 0)  # the first compute capability with bfloat16 and TF32


class PrecisionError(ValueError):
    """A device cannot compute in what the recipe asks for; the message says what it can."""


@dataclass(frozen=True)
class Precision:
    """What one step computes in on its device: what its recipe asked for, or what is usual there.

    Whatever it is, log-probabilities, losses and sums of them are float32, and weights that learn
    are, with the optimizer's states.
    """

    asked: str | None
    device: str

    @classmethod
    def of(cls, recipe: Mapping[str, Any], device: str) -> Self:
        """That of an asset's recipe slice."""
        return cls(recipe.get("dtype"), device)

    def weights(self, folder: str | Path) -> str:
        """The dtype to load the checkpoint `folder` in where it does not learn.

        Where nothing is asked for: what it is stored in on a GPU, float32 on a CPU.
        """
        from resources.models.folders import STORED, stored_dtype

        if self.asked is not None:
            return BFLOAT16 if self.asked == BFLOAT16 else FLOAT32
        stored = stored_dtype(folder) if self._gpu else FLOAT32
        return stored if stored in STORED else FLOAT32

    @property
    def training(self) -> str:
        """What weights that learn compute in: bfloat16 (under autocast) or float32.

        Where nothing is asked for: bfloat16 on a GPU, float32 on a CPU.
        """
        if self.asked is not None:
            return BFLOAT16 if self.asked == BFLOAT16 else FLOAT32
        return BFLOAT16 if self._gpu else FLOAT32

    def autocast(self) -> AbstractContextManager[None]:
        """Compute with float32 weights in what `training` says."""
        import torch

        on = self.training == BFLOAT16
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=on)

    @property
    def _gpu(self) -> bool:
        return self.device.startswith("cuda")


@contextmanager
def arithmetic(asked: str | None, device: str) -> Iterator[None]:
    """TF32 in float32 matrix products for as long as this lasts, where it is asked for; else not.

    Raises PrecisionError where the device cannot compute in what is asked for.
    """
    import torch

    why = cannot(asked, device)
    if why is not None:
        raise PrecisionError(f"dtype: {why}")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if asked == TF32 else "highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def cannot(asked: str | None, device: str) -> str | None:
    """Why a device cannot compute in what a recipe asks for, and what would be right; None if it
    can. A GPU that is not here is not judged."""
    if asked in (None, FLOAT32):
        return None
    if not device.startswith("cuda"):
        if asked == BFLOAT16:
            return None
        return f"tf32 is arithmetic of GPUs, the device is {device}: take float32 or bfloat16"
    import torch

    if not torch.cuda.is_available():
        return None
    found = torch.cuda.get_device_capability(torch.device(device))
    if found >= AMPERE:
        return None
    needed, has = (".".join(map(str, each)) for each in (AMPERE, found))
    return f"{asked} needs a GPU of compute capability {needed}, this one has {has}: take float32"


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
