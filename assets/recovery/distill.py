"""Recovery by distillation: the searched model learns its parent's output distribution.

The teacher is the parent in memory, or its cached outputs (`teacher_outputs.py`).
Source: arXiv 2411.19146 §5 (global knowledge distillation), arXiv 2505.00949 §2.2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from assets.recovery import corpus, teacher_outputs
from assets.recovery.objective import CachedTeacher, LiveTeacher, Towards
from resources.chat.matching import comparable
from resources.models.config import HeterogeneousDecoderConfig
from resources.models.folders import stored_dtype
from resources.models.loading import load
from resources.recipe.sections.supervised import Distillation
from resources.training.distilling import depth_map
from resources.training.fit import Attach, Run
from resources.training.publishing import published
from resources.training.ranks import launch, ranked
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    from resources.execution import Execution

STUDENT, TEACHER, OUTPUTS, ARCHITECTURE = "student", "teacher", "teacher_outputs", "architecture"


def distil(
    workdir: Path,
    inputs: Mapping[str, Artifact],
    recipe: Mapping[str, Any],
    execution: Execution,
) -> Output:
    """Train `inputs["student"]` towards its teacher on `inputs["corpus"]`.

    The teacher is `inputs["teacher"]`, or `inputs["teacher_outputs"]` where it is cached; the loss
    is that of the recipe's weights (`Towards`). A `layer_weight` compares layers by the depth map
    in `inputs["architecture"]`, without one layer by layer. The key metric is the divergence on
    held-out documents, in nats a token.
    """
    if launch.several(execution):
        return ranked.build("assets.recovery.distill:distil", workdir, inputs, recipe, execution)
    corpus.check_chat(inputs["corpus"], inputs[STUDENT])
    section = Distillation.within(recipe)
    student = load(inputs[STUDENT].path(), dtype="float32")
    split = corpus.read(inputs["corpus"], recipe, workdir, execution)
    told_by = _cached if OUTPUTS in inputs else _live
    taught = told_by(inputs, section, student.config, split, workdir, execution)
    training, held_out = split.examples
    fitted = Run(
        student,
        training,
        held_out,
        taught.towards.objective(),
        section,
        workdir,
        execution,
        seed=recipe["seed"],
        key=recipe["asset_key"],
        stage="distillation",
        measure=f"kl_{section.direction}",
        measure_at=section.measure_at,
        measuring=lambda: (taught.towards.objective(measuring=True), taught.models),
        attach=taught.attach,
        teachers=taught.models if taught.towards.asks else (),
        published=stored_dtype(inputs[STUDENT].path()),
    ).fit()
    return published(student, fitted, workdir, inputs[STUDENT].path())


@dataclass(frozen=True)
class _Taught:
    """What is learned towards, the teachers in memory, and what a cached one adds to batches."""

    towards: Towards
    models: Sequence[nn.Module] = ()
    attach: tuple[Attach, Attach] | None = None


def _cached(
    inputs: Mapping[str, Artifact],
    section: Distillation,
    student: HeterogeneousDecoderConfig,
    split: corpus.Split,
    workdir: Path,
    execution: Execution,
) -> _Taught:
    outputs = teacher_outputs.read(
        inputs[OUTPUTS], inputs["corpus"], split.pieces, workdir, execution
    )
    _same_vocabulary(inputs, OUTPUTS, outputs.vocabulary, student.vocab_size)
    return _Taught(
        Towards.of(CachedTeacher(section.temperature), section, []),
        attach=(outputs.of(split.training), outputs.of(split.held_out)),
    )


def _live(
    inputs: Mapping[str, Artifact],
    section: Distillation,
    student: HeterogeneousDecoderConfig,
    split: corpus.Split,
    workdir: Path,
    execution: Execution,
) -> _Taught:
    comparable(inputs[TEACHER], inputs[STUDENT])
    live = LiveTeacher(
        inputs[TEACHER].path(), execution, section.temperature, section.direction, section.dtype
    )
    _same_vocabulary(inputs, TEACHER, live.model.config.vocab_size, student.vocab_size)
    _comparable(section, live.model.config, student)
    depth = _depth(inputs, live.model.config, student) if section.layer_weight else []
    return _Taught(Towards.of(live, section, depth), [live.model])


def _same_vocabulary(inputs: Mapping[str, Artifact], name: str, teacher: int, student: int) -> None:
    if teacher != student:
        raise ValueError(
            f"teacher {inputs[name].key} has a vocabulary of {teacher}, "
            f"student {inputs[STUDENT].key} one of {student}; distillation "
            "compares logits, so they must share a tokenizer"
        )


def _comparable(
    section: Distillation,
    teacher: HeterogeneousDecoderConfig,
    student: HeterogeneousDecoderConfig,
) -> None:
    for name in ("hidden_weight", "layer_weight"):
        weight = getattr(section, name)
        if weight and teacher.hidden_size != student.hidden_size:
            raise ValueError(
                f"{name} is {weight}, but teacher and student have hidden "
                f"sizes {teacher.hidden_size} and {student.hidden_size}; set it to 0"
            )


def _depth(
    inputs: Mapping[str, Artifact],
    teacher: HeterogeneousDecoderConfig,
    student: HeterogeneousDecoderConfig,
) -> list[int]:
    """For every layer of the student, the teacher's layer whose output it should give."""
    depth = list(range(teacher.num_hidden_layers))
    where = "without an architecture, layers are compared one by one"
    if ARCHITECTURE in inputs:
        table = inputs[ARCHITECTURE].table("architectures", columns=["layer", "fused_into"])
        fused_into = table.sort_by("layer").column("fused_into").to_pylist()
        depth = depth_map(teacher.num_hidden_layers, fused_into)
        where = f"{inputs[ARCHITECTURE].key} makes {len(depth)} of them"
    if len(depth) != student.num_hidden_layers:
        raise ValueError(
            f"layer_weight needs to know which layer is which: the teacher has "
            f"{teacher.num_hidden_layers} layers, the student {student.num_hidden_layers}; {where}"
        )
    return depth
