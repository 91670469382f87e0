"""The evaluation stage's assets: benchmarks of every checkpoint, and the report."""

from __future__ import annotations

from pathlib import Path

from assets.evaluation import compared
from assets.evaluation.checkpoints import TEACHER, benchmark_key, checkpoints
from assets.evaluation.page import exhibits, published
from resources.pretrained.source import BUNDLED
from resources.recipe.chats import tokens_of
from resources.recipe.schema import Recipe
from resources.recipe.sections.base import needed
from resources.recipe.sections.data import WRITTEN
from resources.recipe.sections.family import HeldOutBenchmarks
from resources.recipe.sections.model import ModelRecipe
from resources.store.spec import Spec

HELD_OUT = "problems/held_out"
REPORT = "evaluation/report"
CHECKS = "assets.evaluation.checks:"


def specs(recipe: Recipe) -> list[Spec]:
    """`<checkpoint>_benchmarks` for all checkpoints and the teacher, where the recipe has our own
    benchmarks; `<checkpoint>_benchmark_<name>` for each declared one; then the report, where
    anything is measured or shown side by side.
    """
    section = recipe.family.own_benchmarks
    declared = [
        _declared(recipe, name, *one)
        for name in recipe.family.declared_benchmarks
        for one in _shown(recipe)
    ]
    own = [_benchmarks(recipe, section, *one) for one in _shown(recipe)] if section else []
    made = [*declared, *own, *_side_by_side(recipe)]
    return [*made, _report(recipe)] if made else []


def _side_by_side(recipe: Recipe) -> list[Spec]:
    """What a model's checkpoints say and how far they are from its parent, where asked for."""
    section = recipe.family.side_by_side
    made = []
    for name, model in recipe.models.items() if section else ():
        line = model.artifacts()
        made.append(
            Spec(
                key=f"{name}/{compared.ASSET}",
                stage="evaluation",
                fn="assets.evaluation.side_by_side:compare",
                inputs={
                    "corpus": tokens_of(recipe, name),
                    **{stage: recipe.checkpoint_key(name, stage) for stage in line},
                },
                recipe={**needed(section, "side_by_side").model_dump(mode="json"), "line": line},
                seed=recipe.family.seed,
                checks=(CHECKS + "parent_is_itself",),
                model=name,
                reproducibility="statistical",
                kinds=("torch", "parquet"),
                pool="gpu",
                description=f"{name}'s checkpoints on the same unseen text and prompts.",
            )
        )
    return made


def _shown(recipe: Recipe) -> list[tuple[str, str, str]]:
    """The checkpoints, each once, and the teacher where there is one."""
    shown = [*checkpoints(recipe), *([TEACHER] if recipe.family.given_teacher else [])]
    found: dict[str, tuple[str, str, str]] = {}
    for model, key, label in shown:
        found.setdefault(key, (model, key, label))
    return list(found.values())


def _benchmarks(
    recipe: Recipe, section: HeldOutBenchmarks, model: str, key: str, label: str
) -> Spec:
    domains = [domain for domain in section.domains if domain not in recipe.family.unjudged]
    return Spec(
        key=benchmark_key(key),
        stage="evaluation",
        fn="assets.evaluation.benchmark:build_benchmarks",
        inputs={"model": key, "held_out": HELD_OUT},
        recipe={
            **section.model_dump(mode="json"),
            "domains": domains,
            "model": model,
            "stage": label,
        },
        seed=recipe.family.seed,
        checks=(
            CHECKS + "accuracies_valid",
            CHECKS + "answers_complete",
            CHECKS + "toggle_obeyed",
        ),
        model=model if model in recipe.models else None,
        kinds=("torch", "parquet"),
        runs_programs="code" in domains,
        pool="gpu",
        description=f"Held-out accuracy of {key}, thinking on and off.",
    )


def _declared(recipe: Recipe, name: str, model: str, key: str, label: str) -> Spec:
    benchmark = recipe.family.declared_benchmarks[name]
    return Spec(
        key=published.key(key, name),
        stage="evaluation",
        fn="assets.evaluation.declared:build_scores",
        inputs={"model": key, "benchmark": f"benchmarks/{name}"},
        recipe={
            "model": model,
            "stage": label,
            "name": name,
            "protocol": benchmark.asked_as,
            **({"dtype": benchmark.dtype} if benchmark.dtype else {}),
        },
        seed=recipe.family.seed,
        checks=(
            "assets.evaluation.declared:every_problem_answered",
            "assets.evaluation.declared:some_judged",
        ),
        model=model if model in recipe.models else None,
        kinds=("torch", "parquet"),
        runs_programs=benchmark.verifier == "code",
        pool="gpu",
        description=f"{key} on the benchmark {name}.",
    )


def _exported(model: ModelRecipe) -> list[str]:
    """The export, of which the report says what vLLM made of it."""
    return [compared.EXPORT] if model.exported else []


def _report(recipe: Recipe) -> Spec:
    line = checkpoints(recipe)
    family = recipe.family
    measured = family.own_benchmarks is not None
    keys = [key for _, key, _ in (_shown(recipe) if measured else line)]
    if measured:
        keys += [benchmark_key(key) for key in keys]
    declared = list(family.declared_benchmarks)
    keys += [published.key(key, name) for _, key, _ in line for name in declared]
    for name in recipe.answered:
        keys += [f"sft_data/{name}", f"sft_data/{name}_verdicts"]
    if any(data.judge for data in recipe.answered.values()):
        keys.append("sft_data/judge_agreement")
    if any(data.feedback_edit for data in recipe.answered.values()):
        keys.append("sft_data/feedback_edit_gain")
    if any(model.reads("pass_rates") for model in recipe.models.values()):
        keys += ["rl_data/pass_rates", "rl_data/prompts"]
    for name, model in recipe.models.items():
        if family.side_by_side is not None:
            keys += [f"{name}/{each}" for each in (compared.ASSET, *_exported(model))]
        if model.puzzle is not None:
            there = {
                "block_scores": model.puzzle.library_of is None,
                "search_study": model.puzzle.study is not None,
                "cost_report": model.puzzle.costs.profile is not None,
                "fused": model.fusion is not None,
            }
            shown = [f"{name}/{asset}" for asset in exhibits.ASSETS if there.get(asset, True)]
            keys += [key for key in shown if key not in keys]
    written = {
        name: [source.path.removeprefix(WRITTEN), source.limit]
        for name, source in family.mixed_sources.items()
        if source.path.startswith(WRITTEN)
    }
    given = [
        name
        for name, model in recipe.models.items()
        if Path(recipe.parent_source(model.parent).location).parent != BUNDLED
    ]
    return Spec(
        key=REPORT,
        stage="evaluation",
        fn="assets.evaluation.report:build_report",
        inputs={key.replace("/", "__"): key for key in keys},
        recipe={
            "family": recipe.family.name,
            "roles": {name: model.role for name, model in recipe.models.items()},
            "line": [list(one) for one in line],
            "teacher": TEACHER[1] if family.given_teacher and measured else None,
            "discard_at": family.pass_rates.discard_at if family.pass_rates else None,
            **({"given": given} if given else {}),
            **({"self_distilled": written} if written else {}),
            **({"declared": declared} if declared else {}),
        },
        seed=recipe.family.seed,
        checks=(CHECKS + "report_self_contained",),
        reproducibility="statistical",  # it shows seconds and speeds that were measured
        kinds=("html",),
        description="One page about the family, to be opened in a browser.",
    )
