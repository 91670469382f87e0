"""Problems, reward models and a store for the tests of rl_data, rl and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from resources.execution import Execution
from resources.tasks.generate import generate
from tests.resources.training.sections import PLAIN
from warehouse.rows import with_ids
from warehouse.store import Artifact, Output, Request, Store

OPTIMIZER: dict[str, Any] = {
    **PLAIN,
    "learning_rate": 1e-2,
}
SAMPLING: dict[str, Any] = {"temperature": 1.0, "top_p": 1.0, "max_new_tokens": 12}
SEED = 7


def publish(store: Store, key: str, output: Output, **about: Any) -> Artifact:
    """An artifact that holds `output`; `about` tells apart versions of the same key."""
    return build(store, key, lambda work, inputs, recipe, execution: output, {}, about)


def build(
    store: Store,
    key: str,
    fn: Any,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    version: str = "test",
    save_every_seconds: float = 20.0,
) -> Artifact:
    """Build through the store, as an asset would be."""
    execution = Execution(
        home=store.home,
        requests=Path(store.home) / "requests",
        threads=1,
        micro_batch=8,
        save_every_seconds=save_every_seconds,
    )
    return store.build(
        Request(key, None, fn, inputs, recipe, SEED, code_version=version), execution=execution
    )


def problems(store: Store, domain: str, count: int, *, held_out: bool = False) -> Artifact:
    """`problems/<domain>` (or `problems/held_out`) with generated problems."""
    depths = {1: 1.0, 7: 1.0} if held_out else {1: 1.0, 2: 1.0}
    key = "problems/held_out" if held_out else f"problems/{domain}"
    table = generate(domain, count, depths=depths, seed=1, held_out=held_out)
    output = Output(tables={"problems": with_ids(table, key, ["question"])})
    return publish(store, key, output, domain=domain, count=count)


def prompts(store: Store, domains: Mapping[str, int]) -> Artifact:
    """`rl_data/preference_prompts` over the given numbers of problems."""
    from assets.rl_data.preference_prompts import build_preference_prompts

    inputs = {f"problems_{name}": problems(store, name, count) for name, count in domains.items()}
    recipe = {"domains": dict(domains)}
    return build(store, "rl_data/preference_prompts", build_preference_prompts, inputs, recipe)


def checkpoint(store: Store, key: str, folder: Path) -> Artifact:
    """A checkpoint folder as an artifact."""
    return publish(store, key, Output(files={"": folder}))


def reward_model(store: Store, folder: Path, workdir: Path) -> Artifact:
    """A reward model with a random head on the given body: it scores, without being right."""
    import torch

    from resources.models import loading, reward

    torch.manual_seed(3)
    model = reward.RewardModel(loading.load(folder))
    torch.nn.init.normal_(model.head.weight)
    reward.save(model, workdir / "reward_model", folder)
    return checkpoint(store, "rl_data/reward_model", workdir / "reward_model")


def column(artifact: Artifact, table: str, name: str) -> list[Any]:
    """One column as Python values."""
    values: pa.ChunkedArray = artifact.table(table, [name])[name]
    return values.to_pylist()
