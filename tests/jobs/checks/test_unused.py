"""What a recipe says is used by something that runs, or `heirloom check` names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.checks.asked import Asked
from jobs.checks.overridden import overridden
from jobs.checks.unused import material, unused
from resources.recipe.loading import load
from resources.recipe.reading.faults import Fault
from resources.store.home import Home
from tests.jobs.broken import GOOD, lines
from tests.jobs.checks.small import RECIPE

QUESTIONS = (
    "problems={math: {train: 8, kinds: {}, depths: {1: 1}, extra_sources: []}}",
    "held_out={per_domain_per_depth: 2, depths: [1]}",
)
ASKED = (  # text that nothing trains on and a benchmark asks about
    "models.m.sft=null",
    "models.m.stages=[]",
    "side_by_side=null",
    "sources.chats=null",
    "corpus.mix.chats=null",
    "corpus.holdout=10%",
    "benchmarks={continuation: {}}",
)
LEARNING_RATE = (
    "optimizer.learning_rate: every section says its own, which goes before it: "
    "models.m.puzzle.library.learning_rate (heirloom/laptop.yaml:9) and 2 more; set it there"
)
SFT = (
    "{mix: {chats: 1}, samples: 18, epochs: 1, packed: true, batch_tokens: 4096,"
    " sequence_length: 1024}"
)
KEPT = (  # all that runs says its own
    "models.m.puzzle.library.warmup_ratio=0.1",
    "models.m.sft=null",
    "models.m.distillation=null",
    "sources.chats=null",
    "corpus.mix.chats=null",
)
RATES = (
    "{model: m, artifact: main, domains: [math], prompts: 1, samples: 2, temperature: 1.0,"
    " top_p: 1.0, max_new_tokens: 8, discard_at: 0.75}"
)


def found(folder: Path, *overrides: str) -> list[Fault]:
    (folder / "chats.jsonl").write_text(lines(*[GOOD] * 20))
    (folder / "mine.yaml").write_text(RECIPE)
    return _faults(Asked(load(folder / "mine.yaml", overrides), True, folder))


def _faults(asked: Asked) -> list[Fault]:
    return [
        each
        for each in (*unused(asked), *material(asked), *overridden(asked))
        if isinstance(each, Fault)
    ]


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ((), []),
        (("optimizer.betas=[0.8, 0.9]", "side_by_side.tokens=2K"), []),
        (("optimizer.learning_rate=1e-4",), [LEARNING_RATE]),
        (("optimizer.learning_rate=1e-4", f"models.m.sft.more={SFT}"), []),
        (
            ("models.each.stages=[puzzle]", "optimizer.warmup_ratio=0.2", *KEPT),
            ["warmup_ratio: every section says its own, which goes before it: models.m.puzzle.li"],
        ),
        (("reinforcement.temperature=0.9",), ["temperature: no section that runs takes it"]),
        (("models.each.role=mine",), []),
        (("models.each.role=mine", "models.m.role=yours"), ["each.role: every section says its"]),
        (("sources.each.limit=7", "sources.chats.limit=8"), []),
        (
            ("sources.each.limit=7", "sources.chats.limit=8", "sources.docs.limit=8"),
            ["s.each.limit"],
        ),
        (("models.each.distillation.teacher=live",), []),
        (("generation={temperature: 0.6, top_p: 0.9, max_new_tokens: 8}",), ["generation: no"]),
        (("watched_folder=incoming",), ["watched_folder: the recipe has no problems"]),
        (("off_generator=m",), ["off_generator: no stage"]),
        (("programs=unjudged",), ["programs: no stage"]),
        (("sources.docs.holdout=7%",), ["sources.docs.holdout: nothing reads it of a source"]),
        (("sources.docs.over_long=cut",), ["sources.docs.over_long: nothing"]),
        (("sources.chats.over_long=cut",), []),
        (("sources.chats.document=line",), ["sources.chats.document: it is of sources of kind te"]),
        (("sources.docs.document=line",), ["sources.docs.document: it is of sources of kind text"]),
        (("sources.docs.encoding=latin-1",), ["sources.docs.encoding: it is of files of text"]),
        (("sources.chats.split=test",), ["sources.chats.split: it is of hub data sets"]),
        (
            ("models.m.stages=[sft, puzzle]",),
            ["models.m.stages: they run in the order puzzle, sft"],
        ),
        ((*QUESTIONS, f"pass_rates={RATES}"), ["pass_rates: no model has grpo", "problems/math"]),
        (("models.m.distillation.schedule=constant",), []),
        (
            ("models.m.distillation={schedule: constant, min_learning_rate: 1e-6}",),
            ["models.m.distillation.min_learning_rate: a constant schedule has no end"],
        ),
        (
            ("models.m.sft.main={schedule: constant, min_learning_rate: 1e-6}",),
            ["models.m.sft.main.min_learning_rate: a constant schedule has no end"],
        ),
        (("execution.sizes={n: {relative_cost: 1, layers: 3}}",), ["execution.sizes.n: the rec"]),
        (("execution.published_hours={n/grpo: 3}",), ["execution.published_hours.n/grpo: the"]),
        (("execution.offload_optimizer=true",), ["nothing is offloaded with zero_stage 0"]),
        (("models.m.puzzle=null", "execution.checkpoint_steps=3"), ["whose library reads it"]),
        (("models.m.distillation=null", "execution.teacher_device=cuda:1"), ["by a live teacher"]),
        (("teacher=bundled/teacher",), ["parents/teacher would be made, and no model"]),
        (("cleaning={}",), ["cleaning: it asks for nothing"]),
        (
            ("cleaning={decontaminate: {}, deduplicate: {}}",),
            ["cleaning.decontaminate: no benchmark is declared, so there is nothing to compare"],
        ),
        (("cleaning={deduplicate: {}}",), []),
        (("cleaning={filters: {}}",), ["cleaning.filters: no stage that runs"]),
        (
            (
                "cleaning={decontaminate: {}}",
                "benchmarks={gsm8k: {path: ./q.jsonl, few_shot: {examples: 0}}}",
            ),
            [],
        ),
        (("benchmarks={gsm8k: {path: ./q.jsonl, few_shot: {examples: 0}}}",), []),
        (ASKED, []),
    ],
)
def test_what_nothing_reads_is_named(
    overrides: tuple[str, ...], said: list[str], home: Home, tmp_path: Path
) -> None:
    faults = found(tmp_path, *overrides)
    assert len(faults) == len(said), faults
    for fault, part in zip(faults, said, strict=True):
        assert part in str(fault)


def test_what_stages_leave_out_stops_nothing(home: Home, tmp_path: Path) -> None:
    faults = found(tmp_path, "models.m.stages=[distillation]", "models.m.sft.main.epochs=3")
    assert any("models.m.sft: 'stages' of m leaves it out" in str(each) for each in faults)
    assert not any(each.stops for each in faults)


def test_a_model_without_stages_is_measured_or_said(home: Home, tmp_path: Path) -> None:
    kept = ("models.m.stages=[]", "sources.chats=null", "corpus.mix.chats=null")
    faults = found(tmp_path, *kept, "models.m.sft=null", "side_by_side=null")
    (fault,) = (each for each in faults if "models.m.stages" in str(each))
    assert "no stage runs, so nothing is built of it" in str(fault) and not fault.stops
    recipe = load(tmp_path / "mine.yaml", (*ASKED,))
    assert "m: no stage runs, so nothing is built of it; its parent is measured" in list(
        unused(Asked(recipe, True, tmp_path))
    )


@pytest.mark.parametrize("name", ["tiny", "smoke", "smol", "paper", "practitioner"])
def test_bundled_recipes_say_nothing_in_vain(name: str, home: Home, tmp_path: Path) -> None:
    assert not _faults(Asked(load(name, check_paths=False), True, tmp_path))
