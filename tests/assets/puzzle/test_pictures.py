"""Pictures: small PNGs of the expected size, with the same bytes every time."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from assets.puzzle import pictures

DRAW = np.random.default_rng(0)
SPREAD = DRAW.lognormal(-2, 1, (54, 126))
VARIANTS = [f"kv_{row // 9} / ratio_{row % 9}" for row in range(54)]
CLOUD = DRAW.lognormal(-1, 1, (2, 500))
OTHERS = {"greedy": (8e8, 0.7), "best uniform": (7.9e8, 1.6)}


def strip(layers: int) -> bytes:
    shares = np.arange(layers) % 5 / 2
    return pictures.architecture_strip("a", (shares < 1).astype(float), shares, shares > 1)


CASES: dict[str, Callable[[], bytes]] = {
    "strip of 3": lambda: strip(3),
    "strip of 162": lambda: strip(162),
    "heatmap of one": lambda: pictures.score_heatmap("h", ["full / full"], np.zeros((1, 1))),
    "heatmap of 54 x 126": lambda: pictures.score_heatmap("h", VARIANTS, SPREAD),
    "dependency": lambda: pictures.dependency_matrix("d", SPREAD[:, :54]),
    "front": lambda: pictures.pareto_front(
        "f", "parameters", [1e9, 8e8, 6e8], [0.1, 0.5, 2.0], (8.2e8, 0.45), OTHERS
    ),
    "front of one point": lambda: pictures.pareto_front("f", "memory_bytes", [1], [0], (1, 0)),
    "predicted": lambda: pictures.predicted_vs_measured(
        "p", ["a", "b", "nothing"], [1.2e-3, 4e9, 0], [1.3e-3, 4e9, 0]
    ),
    "predicted exactly": lambda: pictures.predicted_vs_measured("p", ["a"], [1], [1]),
    "nothing predicted": lambda: pictures.predicted_vs_measured("p", [], [], []),
    "scatter": lambda: pictures.scatter("s", "x", "y", *CLOUD.tolist(), {"chosen": (0.1, 0.2)}),
    "scatter of one point": lambda: pictures.scatter("s", "x", "y", [0.0], [-1.0]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.filterwarnings("error")
def test_pictures_are_small_whole_and_reproducible(name: str) -> None:
    made = CASES[name]()
    assert made == CASES[name]()
    assert len(made) < 100_000
    image = Image.open(io.BytesIO(made))
    image.load()
    assert image.format == "PNG"
    assert not image.info
    wide, high = image.size
    assert 300 < wide <= 1760 and 100 < high < 1200
    assert len(image.convert("RGB").getcolors(1 << 20) or []) > 2


def test_fronts_take_their_points_in_any_order() -> None:
    one = pictures.pareto_front("f", "c", [1, 2, 3], [3, 2, 1], (2, 2))
    assert one == pictures.pareto_front("f", "c", [3, 1, 2], [1, 3, 2], (2, 2))


@pytest.mark.parametrize("layers", [3, 8, 30])
def test_a_strip_shows_the_whole_of_its_title(layers: int) -> None:
    """Nothing is drawn at the very edge, where a longer line would be cut off."""
    title = "super: attention (KV heads) and FFN (width) kept, share of the parent WWWWWWWWWWWW"
    made = pictures.architecture_strip(title, [1.0] * layers, [0.5] * layers)
    pixels = np.asarray(Image.open(io.BytesIO(made)).convert("L"))
    assert (pixels[:, [0, 1, -2, -1]] > 250).all() and (pixels[:2] > 250).all()
