"""Training of children: each alone, whatever the micro-batches, from what it was given."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from assets.puzzle.calibration import Sequences
from assets.puzzle.halves import ATTENTION, FFN, PAIR, new_half, parent_half
from assets.puzzle.library.bypass import Child, LayerTraining, Lesson, errors, normalised
from assets.puzzle.library.children import make_children
from assets.puzzle.library.importance import ranking
from resources.models.modeling import HeterogeneousDecoderForCausalLM
from resources.recipe.sections.base import Optimizer
from tests.assets.puzzle import tiny
from tests.resources.training.sections import optimizer

CONSTANT = optimizer(learning_rate=1e-2)


def lesson_of(model: HeterogeneousDecoderForCausalLM, layer: int, batch: Sequences) -> Lesson:
    """What a layer makes of a batch."""
    with torch.no_grad():
        hidden, context = batch.context(model)
        for below in model.model.layers[:layer]:
            hidden = below(hidden, context)
        return Lesson.of(model.config, model.model.layers[layer], hidden, context)


def evaluate(children: list[Child], lesson: Lesson) -> list[float]:
    """Each child's normalised MSE on one micro-batch."""
    return normalised([errors(children, lesson)]).tolist()


def train(
    children: list[Child], lesson: Lesson, steps: int, optimizer: Optimizer = CONSTANT
) -> np.ndarray:
    """The losses `[steps, children]` of training on one batch again and again."""
    training = LayerTraining(children, optimizer, steps)
    for _ in range(steps):
        training.learn(lesson)
    return training.history


def children_of(
    model: HeterogeneousDecoderForCausalLM,
    layer: int,
    lesson: Lesson,
    attention: list[str],
    ffn: list[str],
    *,
    coupled: bool = False,
) -> list[Child]:
    heads = [np.arange(2.0)] * 3
    tables = {
        "channel_importance": ranking([np.arange(24.0)] * 3, "channel"),
        "kv_head_importance": ranking(heads, "head"),
    }
    variants = {"attention": attention, "ffn": ffn}
    source = model
    block = source.layer(layer)
    return make_children(source, layer, block, variants, tables, lesson, coupled)


@pytest.mark.parametrize("coupled", [False, True])
def test_children_train_as_if_alone_and_only_themselves(coupled: bool) -> None:
    histories, weights = [], []
    for attention, ffn in ((["full", "kv_1", "noop"], ["full", "ratio_50"]), (["full"],) * 2):
        model = tiny.parent()
        lesson = lesson_of(model, 1, tiny.data())
        alone = [*ffn, "ratio_50"] if ffn == ["full"] else ffn
        children = children_of(model, 1, lesson, attention, alone, coupled=coupled)
        place = [child.variant.endswith("ratio_50") for child in children].index(True)
        before = {name: value.clone() for name, value in model.state_dict().items()}
        histories.append(train(children, lesson, 4)[:, place])
        weights.append(children[place].module.state_dict())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert all(parameter.grad is None for parameter in model.parameters())
    np.testing.assert_array_equal(*histories)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert histories[0][-1] < histories[0][0]


def test_micro_batches_make_the_same_step() -> None:
    """Their gradients are taken with the first one's norm, and put right when the sum is known."""
    weights, histories = [], []
    for size in (4, 1):
        model, batch = tiny.parent(), tiny.data()
        lessons = [lesson_of(model, 1, part) for part in batch.batches(size)]
        assert len(lessons) == 4 // size
        children = children_of(model, 1, lessons[0], ["full"], ["full", "ratio_50"])
        training = LayerTraining(children, CONSTANT, 3)
        for _ in range(3):
            for place, lesson in enumerate(lessons):
                training.learn(lesson, first=place == 0, last=lesson is lessons[-1])
        weights.append(children[0].module.state_dict())
        histories.append([*training.history[:, 0], *normalised([errors(children, lessons[0])])])
        parts = [errors(children, lesson) for lesson in lessons]
        assert math.isclose(normalised(parts)[0], evaluate(children, lesson_of(model, 1, batch))[0])
    np.testing.assert_allclose(histories[0][:3], histories[1][:3], rtol=1e-12)
    for name, value in weights[0].items():
        assert torch.allclose(value, weights[1][name], rtol=1e-9, atol=1e-12)


def test_a_copy_of_the_parent_starts_at_zero() -> None:
    model = tiny.parent()
    children = []
    for kind in (ATTENTION, FFN):
        half = new_half(model, 1, kind, "full")
        half.load_state_dict(parent_half(model, 1, kind).state_dict())
        children.append(Child(1, kind, "full", half, "copied"))
    pair = new_half(model, 1, PAIR, "full/full")
    pair.load_state_dict(model.model.layers[1].state_dict())
    children.append(Child(1, PAIR, "full/full", pair, "copied"))
    lesson = lesson_of(model, 1, tiny.data())
    assert evaluate(children, lesson) == [0.0] * 3
    assert train([children[-1]], lesson, 2).tolist() == [[0.0], [0.0]]


def test_a_pair_starts_from_its_halves() -> None:
    model = tiny.parent()
    lesson = lesson_of(model, 2, tiny.data())
    pairs = children_of(
        model, 2, lesson, ["full", "kv_1", "noop"], ["full", "ratio_50", "noop"], coupled=True
    )
    assert [pair.variant for pair in pairs] == [
        "full/ratio_50",
        "kv_1/full",
        "kv_1/ratio_50",
        "kv_1/noop",
        "noop/ratio_50",
    ]
    halves = children_of(model, 2, lesson, ["full", "kv_1"], ["full", "ratio_50"])
    starts = evaluate(halves, lesson)
    assert evaluate(pairs[1:2], lesson) == starts[:1]
    assert evaluate(pairs[:1], lesson) == starts[1:]
    # a parent's half in a pair is a copy, which trains with it
    assert not set(map(id, pairs[0].module.parameters())) & set(map(id, model.parameters()))
    assert pairs[2].initialised == ", ".join(half.initialised for half in halves)
    history = train(pairs, lesson, 20)
    assert (history[-1] < history[0]).all()


@pytest.mark.parametrize("kind", [ATTENTION, FFN])
def test_a_linear_child_of_a_linear_parent_reaches_zero(kind: str) -> None:
    linear = {"attention": {"kind": "linear"}, "ffn": {"kind": "linear"}}
    model = tiny.parent(1, blocks=[linear])
    half = new_half(model, 0, kind, "linear")
    half.load_state_dict(parent_half(model, 0, kind).state_dict())
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in half.named_parameters():
            if "linear" in name:
                weight += 0.05 * torch.randn(16, 16)
    child = Child(0, kind, "linear", half, "disturbed")
    cosine = optimizer(1e-2, schedule="cosine", min_learning_rate=1e-6)
    history = train([child], lesson_of(model, 0, tiny.data(tokens=512)), 300, cosine)
    assert history[0, 0] > 1e-3
    assert history[-1, 0] < 1e-8


def test_a_loss_that_is_not_finite_names_the_child() -> None:
    model = tiny.parent()
    lesson = lesson_of(model, 1, tiny.data())
    children = children_of(model, 1, lesson, ["full", "kv_1"], ["full", "ratio_50"])
    with torch.no_grad():
        children[1].module.mlp.down_proj.weight[0, 0] = torch.inf
    with pytest.raises(FloatingPointError, match=r"layer_1/ffn_ratio_50: loss is (nan|inf)"):
        train(children, lesson, 1)
