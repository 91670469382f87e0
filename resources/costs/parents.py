"""How large the models of a recipe are, for predictions: as it says, else as their folders say.

Reads configurations of local folders, no weights; what is not at hand counts as the model that the
rates are of.
"""

from __future__ import annotations

from pathlib import Path

from resources.models import accounting
from resources.models.errors import CheckpointError
from resources.models.families.registry import convert
from resources.pretrained.checking import read_json
from resources.recipe.schema import Recipe
from resources.recipe.sections.execution import Size


def size_of(recipe: Recipe, name: str) -> Size:
    """The size of a model's parent, or of the teacher."""
    stated = recipe.execution.sizes.get(name)
    if stated is not None:
        return stated
    model = recipe.models.get(name)
    given = model.parent if model else recipe.family.given_teacher if name == "teacher" else None
    source = None if given is None else recipe.parent_source(given)
    if source is None or source.kind != "folder":
        return Size(relative_cost=1.0, layers=1)
    try:
        config = convert(read_json(Path(source.location) / "config.json", ""))
        shape = accounting.Shape.of(config)
        layers = config["num_hidden_layers"]
        whole = accounting.total_parameters(
            shape, accounting.blocks_of(shape, [("full", "full")] * layers)
        )
    except (CheckpointError, OSError, KeyError, TypeError, ValueError):
        return Size(relative_cost=1.0, layers=1)  # what is wrong with it is said by `check`
    return Size(relative_cost=whole / recipe.execution.rates.parameters, layers=layers)
