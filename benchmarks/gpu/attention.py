"""A4: attention as the models compute it, against attention written out."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.gpu.part import Outcome, Setup, median_seconds
from resources.models.packing import find_documents

TOLERANCE = 1e-2  # of the largest output


def attention(setup: Setup) -> Outcome:
    """Flash attention over one row, and packed attention over documents of several lengths in it,
    against eager attention with a mask.

    The error is that of bfloat16 against eager float32 on the same numbers, max |a - b| / max |b|.
    The leak test gives one of two documents other numbers: the outputs of the other must stay equal
    to the bit. Speed-ups are eager seconds / seconds, all in bfloat16.
    """
    heads, kv_heads, size, length = (4, 2, 16, 96) if setup.rehearsal else (32, 8, 128, 8192)
    draw = torch.Generator(setup.device).manual_seed(0)

    def numbers(count: int) -> Tensor:
        shape = (1, length, count, size)
        made = torch.randn(shape, generator=draw, device=setup.device)
        return made.to(torch.bfloat16)

    q, k, v = numbers(heads), numbers(kv_heads), numbers(kv_heads)
    unit = length // 32
    one = torch.zeros(1, length, dtype=torch.long, device=setup.device)
    lengths = [unit * share for share in (1, 3, 4, 8, 16)]
    several = torch.repeat_interleave(
        torch.arange(len(lengths), device=setup.device),
        torch.tensor(lengths, device=setup.device),
    )[None]
    packing = find_documents(several)
    with torch.inference_mode():
        errors = {
            "flash": _error(_flash(q, k, v), _eager(q.float(), k.float(), v.float(), one)),
            "packed": _error(
                packing.attend(q, k, v), _eager(q.float(), k.float(), v.float(), several)
            ),
        }
        leaks = {
            name: _leaks(q, k, v, first)
            for name, first in (("equal", length // 2), ("unequal", length // 4))
        }
        eager = median_seconds(lambda: _eager(q, k, v, several), setup.device)
        flash = median_seconds(lambda: _flash(q, k, v), setup.device)
        packed = median_seconds(lambda: packing.attend(q, k, v), setup.device)
    figures = {
        "error": errors,
        "tokens": length,
        "eager_seconds": eager,
        "flash_speed_up": eager / flash,
        "packed_speed_up": eager / packed,
    }
    return Outcome(
        figures,
        {f"error of {name}": value <= TOLERANCE for name, value in errors.items()}
        | {f"no leak between documents, {name}": not leak for name, leak in leaks.items()},
    )


def _flash(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
    return out.transpose(1, 2)


def _eager(q: Tensor, k: Tensor, v: Tensor, documents: Tensor) -> Tensor:
    """softmax(q·k / √D) v over the earlier tokens of the same document, matrices written out."""
    groups = q.shape[2] // k.shape[2]
    q, k, v = (x.transpose(1, 2) for x in (q, *(y.repeat_interleave(groups, 2) for y in (k, v))))
    length = q.shape[2]
    sees = (documents[:, :, None] == documents[:, None]) & torch.ones(
        length, length, dtype=torch.bool, device=q.device
    ).tril()
    scores = (q @ k.mT * q.shape[-1] ** -0.5).masked_fill_(~sees[:, None], -torch.inf)
    return (scores.softmax(-1) @ v).transpose(1, 2)


def _error(found: Tensor, right: Tensor) -> float:
    return float((found.float() - right).abs().max() / right.abs().max())


def _leaks(q: Tensor, k: Tensor, v: Tensor, first: int) -> bool:
    """Whether a document of `first` tokens changes when the one after it does, or the other way."""
    documents = (torch.arange(q.shape[1], device=q.device) >= first).long()[None]
    packing = find_documents(documents)
    before = packing.attend(q, k, v)
    for own in (slice(None, first), slice(first, None)):
        changed = [x.flip(1).clone() for x in (q, k, v)]
        for new, old in zip(changed, (q, k, v), strict=True):
            new[:, own] = old[:, own]
        if not torch.equal(packing.attend(*changed)[:, own], before[:, own]):
            return True
    return False
