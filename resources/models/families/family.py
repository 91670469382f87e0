"""What a family of models is to the rest: its configuration's differences, both ways.

The yardstick is the family's own class in `transformers`: what a key means, and what its absence
means. It does not know any family.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Values = Mapping[str, Any]
# What one layer's attention has of its own: "window" (positions a token attends to, itself
# included) and "rope" (False: without rotary embedding). Empty: neither.
Attention = dict[str, Any]
SLIDING, FULL = "sliding_attention", "full_attention"


def _alike(values: Values) -> list[Attention]:
    return []


def _as_llama(config: Values, layers: Sequence[Attention | None]) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Family:
    """One family, as its `config.json` describes it.

    Args:
        model_type: the name it goes by.
        architecture: its causal language model's class; None: any, the values are our own.
        defaults: where an absent key means another value than Llama's.
        fixed: what its layers always have.
        known: keys with a meaning that is computed here, though most models' is not.
        attention: what each layer's attention has of its own (empty: all are alike and plain).
        translate: the values under Llama's keys, where the family has other ones.
        plain: the inverse of the above for a model whose layers are alike in size: what its
            `config.json` adds to Llama's keys, given our values and each layer's attention (None
            where a layer has none). Raises ValueError for what the family cannot say.
    """

    model_type: str
    architecture: str | None
    defaults: Values = field(default_factory=dict)
    fixed: Values = field(default_factory=dict)
    known: frozenset[str] = frozenset()
    attention: Callable[[Values], list[Attention]] = _alike
    translate: Callable[[Values], Values] = dict
    plain: Callable[[Values, Sequence[Attention | None]], Values] = _as_llama


def slides(values: Values, types: Sequence[str]) -> list[Attention]:
    """Each layer's attention from the kinds in `layer_types` and the one `sliding_window`.

    Raises ValueError for a kind that is neither sliding nor full, or a window of no size.
    """
    window = values["sliding_window"]
    unknown = sorted(set(types) - {SLIDING, FULL})
    if unknown:
        raise ValueError(f"layer_types: attention of kind {unknown[0]!r} is unknown")
    if len(types) < values["num_hidden_layers"]:
        raise ValueError(
            f"layer_types has {len(types)} entries for {values['num_hidden_layers']} layers"
        )
    if type(window) is not int or window < 1:
        raise ValueError(f"sliding_window: {window!r} is no number of positions")
    return [{"window": window} if kind == SLIDING else {} for kind in types]


def none_slides(values: Values) -> list[Attention]:
    """All layers alike where no window is switched on. Raises ValueError where layers slide."""
    if SLIDING in (values.get("layer_types") or ()):
        raise ValueError(
            f"layer_types names layers of {SLIDING}, and use_sliding_window with sliding_window "
            "gives them no window"
        )
    return []


def window_of(layers: Sequence[Attention | None]) -> int | None:
    """The one window of the layers that have one. Raises ValueError where there are several."""
    windows = {layer["window"] for layer in layers if layer and "window" in layer}
    if len(windows) > 1:
        raise ValueError(f"sliding windows of {sorted(windows)} positions: it knows one size")
    return windows.pop() if windows else None


def sliding_keys(layers: Sequence[Attention | None]) -> dict[str, Any]:
    """The inverse of `slides`, in the keys of Qwen2, Qwen3 and SmolLM3."""
    window = window_of(layers)
    return {
        "sliding_window": window,
        "use_sliding_window": window is not None,
        "layer_types": [SLIDING if layer and "window" in layer else FULL for layer in layers],
    }
