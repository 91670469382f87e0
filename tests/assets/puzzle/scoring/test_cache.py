"""The cache of scores: nothing is computed twice, a killed run goes on, damage is not trusted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from assets.puzzle.halves import FFN, Library
from assets.puzzle.scoring.cache import ScoreCache
from assets.puzzle.scoring.replacements import score
from tests.assets.puzzle import tiny
from tests.assets.puzzle.halves import made
from tests.assets.puzzle.scoring.children import METRICS, batches, changed, everything, layers_run
from warehouse.files.filesystem import ASIDE


def test_what_is_cached_is_not_computed(tmp_path: Path) -> None:
    model = tiny.parent()
    library, data = made(model, tmp_path / "library"), [*batches(tiny.data(), 2)]

    def scored() -> tuple[np.ndarray, int, int]:
        cache = ScoreCache(tmp_path / "cache", "parent", METRICS, 1)
        fresh = Library(model, tmp_path / "library")
        with layers_run(model) as calls:
            values = score(fresh, everything(), data, METRICS, cache=cache)
        return values, cache.computed, len(calls)

    first, computed, _ = scored()
    assert computed == len(everything()) * 4
    np.testing.assert_array_equal(first, score(library, everything(), data, METRICS))
    second, computed, calls = scored()
    assert (computed, calls) == (0, 0)
    np.testing.assert_array_equal(second, first)
    changed(tmp_path / "library", 1, FFN, "ratio_50", lambda w: w["mlp.up_proj.weight"].mul_(0.5))
    third, computed, _ = scored()
    affected = [child.layers == (1,) and child.ffn == "ratio_50" for child in everything()]
    assert computed == 3 * 4  # three attention variants, four sequences
    assert (np.abs(third - first).max((1, 2)) > 0).tolist() == affected
    np.testing.assert_array_equal(
        third, score(Library(model, tmp_path / "library"), everything(), data, METRICS)
    )
    other = ScoreCache(tmp_path / "cache", "another parent", METRICS, 1)
    assert other.read(1, data[0].digest, 2) == {}


def test_a_killed_run_goes_on(tmp_path: Path) -> None:
    model = tiny.parent()
    library, data = made(model, tmp_path / "library"), [*batches(tiny.data(), 2)]
    undisturbed = score(library, everything(), data, ["kl"])
    seen: list[float] = []

    def killed(_: str, share: float) -> None:
        seen.append(share)
        if len(seen) == 3:
            raise KeyboardInterrupt

    caches = [ScoreCache(tmp_path / "cache", "parent", ["kl"], 1) for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        score(library, everything(), data, ["kl"], cache=caches[0], progress=killed)
    again = score(library, everything(), data, ["kl"], cache=caches[1])
    assert caches[0].computed == 3 * 8 * 2  # layers' batches, children, sequences
    assert caches[0].computed + caches[1].computed == len(everything()) * 4
    np.testing.assert_array_equal(again, undisturbed)


def flipped(content: bytes) -> bytes:
    place = len(content) // 2
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize(
    "damage", [flipped, lambda c: c[: len(c) // 2], lambda c: b"", lambda c: b"PK\x03\x04" * 9]
)
def test_a_damaged_cache_is_not_trusted(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "parent", ["kl"], 1)
    cache.write(0, "tokens", {"child": np.arange(300.0)[None]})
    (file,) = tmp_path.rglob("*.npz")
    assert list(cache.read(0, "tokens", 300)) == ["child"]
    file.write_bytes(damage(file.read_bytes()))
    assert cache.read(0, "tokens", 300) == {}
    cache.write(0, "tokens", {"child": np.ones((1, 300))})
    assert cache.read(0, "tokens", 300)["child"].sum() == 300


def test_a_cache_of_other_numbers_is_not_trusted(tmp_path: Path) -> None:
    cache = ScoreCache(tmp_path, "parent", ["kl"], 1)
    cache.write(0, "tokens", {"child": np.full((1, 4), math.nan)})
    assert cache.read(0, "tokens", 4) == {}
    cache.write(0, "tokens", {"child": np.ones((1, 4))})
    assert cache.read(0, "tokens", 5) == {}
    cache.write(0, "tokens", {"another": np.zeros((1, 4))})
    assert set(cache.read(0, "tokens", 4)) == {"child", "another"}
    assert not list(tmp_path.rglob(f"{ASIDE}*"))
