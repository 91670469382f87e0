"""The heads of `paper` and `practitioner`, made from stand-ins of what they name.

Parents: random weights under the rules of published configurations (`public_configs.json`, with
the page of each), with a Llama-3 tokenizer. Data sets: rows in the
columns that the recipe reads, TACO's as its card lists them, the others' not checked against one,
read by the recipe's own `fields`. Not stood in for: served teachers, which `heirloom check` names.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from assets.catalog import all_specs
from resources.execution import Execution
from resources.recipe.loading import load
from resources.recipe.schema import Recipe
from resources.store.building import Code, materialise
from tests.assets.test_two_tokenizers import needed
from tests.resources.models import folders
from warehouse.store import Artifact, Store

FACTS: dict[str, dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "resources" / "models" / "public_configs.json").read_text()
)
# The recipes' parents and the configurations that are theirs: 3.3-70B is built as 3.1-70B.
LARGEST = "Llama-3.1-405B"
PARENTS = {
    "meta-llama/Llama-3.1-8B-Instruct": "Llama-3.1-8B",
    "meta-llama/Llama-3.3-70B-Instruct": "llama3_1_70b",
    "meta-llama/Llama-3.1-405B-Instruct": LARGEST,
}
# Sizes as apxml.com/models/llama-3-1-405b gives them; what it leaves unsaid is the 70B's.
FACTS[LARGEST] = {
    "config": FACTS["llama3_1_70b"]["config"]
    | {
        "hidden_size": 16384,
        "num_hidden_layers": 126,
        "num_attention_heads": 128,
        "num_key_value_heads": 8,
    }
}
# A row of each data set, in the columns that it is taken to have; enough are made for both splits.
MADE = 12
ROWS: dict[str, dict[str, Any]] = {
    "nvidia/OpenMathReasoning": {
        "problem": "Find the sum of the digits of $2^{10}$.",
        "generated_solution": "<think>1024</think> \\boxed{7}",
        "generation_model": "DeepSeek-R1",
        "problem_type": "has_answer_extracted",
        "expected_answer": "7",
        "problem_source": "aops_c6_high_school_olympiads",
        "inference_mode": "cot",
        "pass_rate_72b_tir": "0.65625",
        "used_in_kaggle": True,
    },
    "BAAI/TACO": {
        "question": "Read two integers and print their sum.",
        "solutions": json.dumps(["print(sum(map(int, input().split())))"]),
        "starter_code": "",
        "input_output": json.dumps({"inputs": ["1 2\n"], "outputs": ["3\n"]}),
        "difficulty": "EASY",
        "raw_tags": "['implementation']",
        "name": None,
        "source": "codeforces",
        "tags": "['Implementation']",
        "skill_types": "[]",
        "url": "",
        "Expected Auxiliary Space": None,
        "time_limit": "1.0 seconds",
        "date": None,
        "picture_num": None,
        "memory_limit": "256.0 megabytes",
        "Expected Time Complexity": None,
    },
    "cais/mmlu": {
        "question": "Which gas do plants take up to build sugar?",
        "subject": "",
        "choices": ["oxygen", "carbon dioxide", "nitrogen", "helium"],
        "answer": 1,
    },
}


def stand_in(name: str, folder: Path, tokenizer_dir: Path) -> Path:
    """A small model with a published one's heads a group, rope scaling and ties, in its dtype."""
    import torch
    import transformers

    given = FACTS[PARENTS[name]]["config"]
    group = given["num_attention_heads"] // given["num_key_value_heads"]
    small = {
        "vocab_size": 300,
        "num_hidden_layers": 4,
        "num_attention_heads": 2 * group,
        "num_key_value_heads": 2,
        "hidden_size": 2 * group * 8,
        "intermediate_size": 2 * group * 8 * given["intermediate_size"] // given["hidden_size"],
        "bos_token_id": 0,
        "eos_token_id": 3,
    }
    assert given["hidden_size"] % given["num_attention_heads"] == 0
    config = transformers.LlamaConfig(**{**given, **small})
    model = folders.fill(transformers.LlamaForCausalLM(config)).to(torch.bfloat16)
    folders.save(model, folder)
    for file in tokenizer_dir.iterdir():
        shutil.copy(file, folder / file.name)
    return folder


def changed(recipe: Recipe, folder: Path, tokenizer_dir: Path, models: set[str]) -> list[str]:
    """The overrides that put stand-ins where the recipe names models and data sets of the hub."""
    said = []
    for name in sorted(models):
        parent = recipe.models[name].parent
        made = stand_in(str(parent), folder / name, tokenizer_dir)
        said.append(f"models.{name}.parent={made}")
    for name, source in recipe.family.sources.items():
        file = folder / f"{name}.parquet"
        row, question = (
            ROWS[source.path.removeprefix("hub:").partition("@")[0]],
            source.fields["question"],
        )
        rows = [{**row, question: f"{row[question]} ({number})"} for number in range(MADE)]
        pq.write_table(pa.Table.from_pylist(rows), file)
        said += [f"sources.{name}.path={file}", f"sources.{name}.config=null"]
    return said


def made(recipe: Recipe, home: Path, wanted: list[str]) -> dict[str, Artifact]:
    """The wanted assets and what they need, whole."""
    specs, store = {spec.key: spec for spec in all_specs(recipe)}, Store(home)
    found = {}
    for key in needed(specs, tuple(wanted)):
        for partition in specs[key].slices():
            found[key] = materialise(store, specs[key], Code("1"), Execution(), partition=partition)
    return found


@pytest.mark.parametrize(
    ("name", "models", "few"),
    [
        ("paper", {"nano", "super", "ultra"}, ["held_out.per_domain_per_depth=1"]),
        ("practitioner", {"super"}, ["held_out.per_domain_per_depth=1", "problems.math.train=8"]),
    ],
)
def test_the_head_of_a_large_recipe_is_made_of_stand_ins(
    name: str, models: set[str], few: list[str], tmp_path: Path, tokenizer_dir: Path
) -> None:
    given = load(name, check_paths=False)
    recipe = load(name, [*changed(given, tmp_path, tokenizer_dir, models), *few])
    loaded = {source.domain: name for name, source in recipe.family.sources.items()}
    domains = list(loaded) or ["math"]
    wanted = [f"{model}/parent" for model in sorted(models)]
    found = made(recipe, tmp_path / "home", [*wanted, *(f"problems/{d}" for d in domains)])
    for model in models:
        values = json.loads((found[f"{model}/parent"].path() / "config.json").read_text())
        fact = FACTS[PARENTS[str(given.models[model].parent)]]["config"]
        assert values["num_attention_heads"] // values["num_key_value_heads"] == (
            fact["num_attention_heads"] // fact["num_key_value_heads"]
        )
        assert found[f"{model}/parent"].metrics["parameters"] > 0
    held_out = found["problems/held_out"].table("problems").to_pylist()
    for domain, name in loaded.items():
        here = found[f"problems/{domain}"].table("problems").to_pylist() + held_out
        rows = [row for row in here if row["source"] == name]
        assert len(rows) == MADE
        assert all(row["question"] and (row["expected_answer"] or row["tests"]) for row in rows)
