"""The export as an asset: what it is made of, its checks, and vLLM's word on it."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from assets.serving.assets import specs
from assets.serving.checks import equal_in_vllm, layout_sound
from assets.serving.export import build_exported, prompts
from resources.chat.chat import Chat
from resources.engines import vllm
from resources.engines.verification import compare
from resources.models import loading
from resources.models.folders import stored_dtype
from resources.models.loading import publish, save
from resources.recipe.loading import load
from resources.recipe.sections.search import Target
from tests.resources.models.folders import LLAMA_3_ROPE
from tests.resources.models.served import random
from warehouse.store import Artifact, Output, Request, Store


@pytest.fixture
def artifacts(home: Path, tokenizer_dir: Path) -> tuple[Artifact, dict[str, Artifact]]:
    """An export and the inputs that it was made from."""

    def parent(
        workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: object
    ) -> Output:
        save(
            random(head_dim=24, max_position_embeddings=512, rope_parameters=LLAMA_3_ROPE),
            workdir / "model",
            tokenizer_dir,
        )
        return Output(files={"": workdir / "model"})

    store = Store(home)
    inputs = {"model": store.build(Request("m/final", None, parent, {}, {}, 0, code_version="1"))}
    recipe = {"prompts": 6, "tokens": 24}
    made = store.build(
        Request("m/exported", None, build_exported, inputs, recipe, 0, code_version="1")
    )
    return made, inputs


def test_every_final_checkpoint_is_exported_unless_it_is_meant_for_another_engine() -> None:
    recipe = copy.deepcopy(load("smoke", check_paths=False))
    made = {spec.key: spec for spec in specs(recipe)}
    assert set(made) == {f"{name}/exported" for name in recipe.models}
    for name, model in recipe.models.items():
        assert made[f"{name}/exported"].inputs == {"model": f"{name}/{model.artifacts()[-1]}"}
    searched = next(name for name, model in recipe.models.items() if model.puzzle)
    search = recipe.models[searched].puzzle.search  # type: ignore[union-attr]
    object.__setattr__(search, "target", Target(engine="transformers"))
    assert f"{searched}/exported" not in {spec.key for spec in specs(recipe)}


def test_a_second_target_that_nothing_trains_is_not_exported() -> None:
    recipe = load("smol", check_paths=False)
    assert [spec.key for spec in specs(recipe)] == ["smol/exported"]
    assert recipe.models["smol76"].puzzle is not None  # searched and measured all the same


def test_an_export_is_checked_without_vllm_and_nothing_is_claimed(
    artifacts: tuple[Artifact, dict[str, Artifact]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, inputs = artifacts
    assert made.observations["remarks"][0].startswith("heads of 24 are widened to 32")
    sound = layout_sound(made, inputs)
    assert sound.passed and sound.blocking, sound.description
    assert sound.metadata["tensors"] == made.metrics["tensors"]
    monkeypatch.setattr(compare, "missing", lambda: "vLLM is not here")
    unknown = equal_in_vllm(made, inputs)
    assert not unknown.passed and not unknown.blocking
    assert unknown.description == "not verified in vLLM: vLLM is not here"


def test_a_vllm_that_fails_blocks(
    artifacts: tuple[Artifact, dict[str, Artifact]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, inputs = artifacts
    monkeypatch.setattr(compare, "missing", lambda: None)

    def run(*given: object) -> list[dict[str, Any]]:
        raise compare.VerificationError("vLLM failed on it")

    monkeypatch.setattr(compare, "_run", run)
    failed = equal_in_vllm(made, inputs)
    assert not failed.passed and failed.blocking and failed.description == "vLLM failed on it"


def test_prompts_ask_in_both_modes_and_repeat(tokenizer_dir: Path, tiny_chat: Chat) -> None:
    asked = prompts(tokenizer_dir, 10, 3)
    assert asked == prompts(tokenizer_dir, 10, 3) != prompts(tokenizer_dir, 10, 4)
    texts = [tiny_chat.decode(ids) for ids in asked]
    assert ["detailed thinking on" in text for text in texts] == [True, False] * 5
    assert ["detailed thinking off" in text for text in texts] == [False, True] * 5


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(vllm.missing() is not None, reason=str(vllm.missing()))
def test_vllm_computes_what_we_do(artifacts: tuple[Artifact, dict[str, Artifact]]) -> None:
    made, inputs = artifacts
    result = equal_in_vllm(made, inputs)
    assert result.passed and result.blocking, result.description
    assert result.metadata["compared"] == 6 * 24 and result.metadata["differing"] == 0
    assert result.metadata["log_difference"] < 1e-3


def test_an_export_keeps_the_type_and_the_chat_of_what_was_adopted(
    tmp_path: Path, tokenizer_dir: Path
) -> None:
    """Through a training in float32: bf16 in, bf16 out, tokenizer and template byte for byte."""
    adopted, trained = tmp_path / "adopted", tmp_path / "trained"
    save(random(max_position_embeddings=512), adopted, tokenizer_dir, "bfloat16")
    publish(loading.load(adopted, dtype="float32"), trained, adopted)
    store = Store(tmp_path / "home")

    def given(workdir: Path, *_: Any) -> Output:
        return Output(files={"": trained})

    inputs = {"model": store.build(Request("m/final", None, given, {}, {}, 0, code_version="1"))}
    request = Request("m/exported", None, build_exported, inputs, {}, 0, code_version="1")
    folder = store.build(request).path()
    assert stored_dtype(folder) == "bfloat16"
    assert json.loads((folder / "config.json").read_text())["torch_dtype"] == "bfloat16"
    names = {file.name for file in adopted.iterdir()} - {"config.json", "model.safetensors"}
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= names
    for name in names:
        assert (folder / name).read_bytes() == (adopted / name).read_bytes()


def test_what_stock_vllm_does_not_compute_is_written_for_our_plugin(
    home: Path, tokenizer_dir: Path
) -> None:
    def parent(
        workdir: Path, inputs: Mapping[str, Artifact], recipe: dict[str, Any], execution: object
    ) -> Output:
        model = random(qk_norm=True, family="qwen3", max_position_embeddings=512).bfloat16()
        save(model, workdir / "model", tokenizer_dir)
        return Output(files={"": workdir / "model"})

    store = Store(home)
    inputs = {"model": store.build(Request("m/final", None, parent, {}, {}, 0, code_version="1"))}
    recipe = {"prompts": 2, "tokens": 4}
    made = store.build(
        Request("m/exported", None, build_exported, inputs, recipe, 0, code_version="1")
    )
    why, form, *_ = made.observations["remarks"]
    assert "not as nemotron-nas: normalised queries and keys" in why
    assert form.startswith("written as heirloom")
    assert stored_dtype(made.path()) == "bfloat16"
    sound = layout_sound(made, inputs)
    assert sound.passed, sound.description
