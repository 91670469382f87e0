"""Attention over packed rows: several documents in one row, none seeing another.

Documents are gathered into a few small rectangles of similar length and each rectangle is plain
causal attention. That equals a block-diagonal causal mask over the row but costs the sum of the
squared document lengths instead of the squared row length. It does not know models or layers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

_GROWTH = 1.3  # Lengths within one rectangle differ by at most this factor.


@dataclass(frozen=True)
class Packing:
    """Where the documents of a packed batch lie.

    `rectangles[i]` is `[documents, length]`, flat token positions in `B*T`; rows shorter than
    the rectangle repeat their last token, which no earlier token attends to. `inverse[b*T + t]`
    is the place of a token in the concatenated rectangles. `positions` is `[B, T]`, each token's
    place in its document.
    """

    rectangles: tuple[torch.Tensor, ...]
    gather: torch.Tensor
    inverse: torch.Tensor
    positions: torch.Tensor

    def attend(
        self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, window: int | None = None
    ) -> torch.Tensor:
        """Causal attention within documents, to the last `window` positions where one is given.

        q is `[B, T, heads, D]`, k and v `[B, T, kv_heads, D]`; returns `[B, T, heads, D]`.
        """
        shape = q.shape
        q, k, v = (x.flatten(0, 1).index_select(0, self.gather) for x in (q, k, v))
        outputs = []
        begin = 0
        for rectangle in self.rectangles:
            end = begin + rectangle.numel()
            length = rectangle.shape[1]
            hides = window is not None and length > window
            out = F.scaled_dot_product_attention(
                _rectangle(q, begin, rectangle),
                _rectangle(k, begin, rectangle),
                _rectangle(v, begin, rectangle),
                attn_mask=near(length, length, window, q.device) if hides and window else None,
                is_causal=not hides,
                enable_gqa=q.shape[1] != k.shape[1],
            )
            outputs.append(out.transpose(1, 2).flatten(0, 1))
            begin = end
        return torch.cat(outputs).index_select(0, self.inverse).view(shape)


def _rectangle(x: torch.Tensor, begin: int, rectangle: torch.Tensor) -> torch.Tensor:
    """The part of the gathered tokens `[N, heads, D]` as `[documents, heads, length, D]`."""
    part = x[begin : begin + rectangle.numel()]
    return part.unflatten(0, rectangle.shape).transpose(1, 2)


def near(queries: int, keys: int, window: int, device: torch.device) -> torch.Tensor:
    """Where each of the last `queries` of `keys` positions attends: `[queries, keys]`, true for
    itself and the `window` - 1 positions before it."""
    distance = torch.arange(keys - queries, keys, device=device)[:, None]
    distance = distance - torch.arange(keys, device=device)[None]
    return (distance >= 0) & (distance < window)


def find_documents(document_ids: torch.Tensor) -> Packing:
    """Find the documents of a batch: runs of equal ids in a row of `document_ids` `[B, T]`.

    A negative id is padding: such a token attends to itself only.
    """
    batch, length = document_ids.shape
    device = document_ids.device
    starts_here = torch.ones_like(document_ids, dtype=torch.bool)
    starts_here[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    starts_here |= document_ids < 0
    starts = starts_here.flatten().nonzero().squeeze(1)
    ends = torch.cat([starts[1:], starts.new_tensor([batch * length])])
    lengths = ends - starts
    flat = torch.arange(batch * length, device=device)
    document = starts_here.flatten().cumsum(0) - 1
    offset = flat - starts[document]

    order = torch.argsort(lengths, descending=True, stable=True)
    ordered = lengths[order].tolist()
    rectangles = []
    # Flat place of a document's first token among the concatenated rectangles.
    place = torch.empty_like(starts)
    begin = taken = 0
    while begin < len(ordered):
        width = ordered[begin]
        end = begin
        while end < len(ordered) and ordered[end] * _GROWTH >= width:
            end += 1
        members = order[begin:end]
        steps = torch.arange(width, device=device)
        last = (lengths[members] - 1)[:, None]
        rectangles.append(starts[members][:, None] + torch.minimum(steps[None], last))
        place[members] = taken + width * torch.arange(end - begin, device=device)
        taken += width * (end - begin)
        begin = end
    return Packing(
        rectangles=tuple(rectangles),
        gather=torch.cat([rectangle.flatten() for rectangle in rectangles]),
        inverse=place[document] + offset,
        positions=offset.view(batch, length),
    )
