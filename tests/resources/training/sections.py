"""Recipe sections for tests of what they configure, plain where a test does not say otherwise."""

from __future__ import annotations

from typing import Any

from resources.recipe.sections.base import Optimizer

PLAIN: dict[str, Any] = {
    "schedule": "constant",
    "warmup_ratio": 0.0,
    "min_learning_rate": 0.0,
    "weight_decay": 0.0,
    "betas": [0.9, 0.95],
    "gradient_clipping": 1.0,
}


def optimizer(learning_rate: float, **changes: Any) -> Optimizer:
    """AdamW at a constant rate, but for the changes."""
    return Optimizer(**PLAIN | {"learning_rate": learning_rate} | changes)
