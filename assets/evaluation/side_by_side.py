"""A model's checkpoints on the same text and the same prompts: perplexity, KL to the parent, speed,
answers.

The text is what the mixture holds out, which no stage saw; what is compared is shown in
`compared.py`. Knows checkpoints and tokens; knows nothing of how they were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from assets.evaluation.speed import speeds
from resources.benchmarks.intervals import mean_of
from warehouse.store import Artifact, Output

if TYPE_CHECKING:
    import torch

    from resources.execution import Execution
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

SPEEDS = ("read_tokens_per_second", "written_tokens_per_second")


def compare(
    workdir: Path, inputs: Mapping[str, Artifact], recipe: Mapping[str, Any], execution: Execution
) -> Output:
    """The tables `side_by_side` (a row a checkpoint), `side_by_side_sequences` (a row a checkpoint
    and text) and `answers_shown` (a row a checkpoint and prompt).

    Inputs: `corpus`, and the checkpoints by the names that `recipe["line"]` lists, the parent
    first. Recipe: `tokens`, `sequence_length`, `prompts`, `max_new_tokens`. `kl` is KL(parent ‖
    checkpoint) in nats a token, `perplexity` of the next token; both with 95 % intervals, a
    bootstrap over sequences that are the same for all. Of each sequence there are sums in nats, so
    that checkpoints can be compared in pairs: `loss` over `predictions`, `kl` over `tokens`.
    Observations hold the speeds, `beside` those of the parent measured in turn with the checkpoint.
    Raises ValueError where the corpus holds no text out.
    """
    import pyarrow as pa

    from resources.models.loading import load
    from resources.models.precision import Precision

    texts = held_out(inputs["corpus"], recipe["tokens"], recipe["sequence_length"])
    line = recipe["line"]
    device, precision = execution.device, Precision.of(recipe, execution.device)

    def opened(name: str) -> HeterogeneousDecoderForCausalLM:
        folder = inputs[name].path()
        return load(folder, device=device, dtype=precision.weights(folder))

    parent = opened(line[0])
    told = states(parent, texts)  # once: each checkpoint is set against them
    rows, sequences, answers, speed = [], [], [], dict[str, Any]()
    for number, name in enumerate(line):
        model = parent if not number else opened(name)
        losses, divergences = measured(parent, told, model, texts)
        # The parent beside each child: the same minute of the same machine.
        pair = speeds([parent, model] if number else [parent], texts)
        speed |= {f"{name}_{key}": value for key, value in zip(SPEEDS, pair[-1], strict=True)}
        speed |= {f"{name}_beside_{key}": value for key, value in zip(SPEEDS, pair[0], strict=True)}
        row = {"model": recipe["model"], "stage": name, **_sizes(model.config)}
        del model  # the engine opens it again
        rows.append(row | _row(losses, divergences, recipe))
        sequences += _sequences(recipe["model"], name, losses, divergences)
        said = _answers(inputs[name], recipe, execution)
        answers += [
            {"model": recipe["model"], "stage": name, "prompt": prompt, "answer": answer}
            for prompt, answer in zip(recipe["prompts"], said, strict=True)
        ]
        if execution.progress is not None:
            execution.progress(f"{name}: {number + 1} of {len(line)}", (number + 1) / len(line))
    return Output(
        tables={
            "side_by_side": pa.Table.from_pylist(rows),
            "side_by_side_sequences": pa.Table.from_pylist(sequences),
            "answers_shown": pa.Table.from_pylist(answers),
        },
        metrics={f"{row['stage']}_{each}": row[each] for row in rows for each in _SHOWN},
        observations=speed,
    )


_SHOWN = ("perplexity", "kl")


def held_out(corpus: Artifact, tokens: int, length: int) -> list[np.ndarray]:
    """Token ids `[T ≤ length]` of the held-out documents in order, about `tokens` in all, each
    document's beginning. ValueError where there are none."""
    rows = corpus.manifest["tables"].get("held_out", {}).get("rows", 0)
    if not rows:
        raise ValueError(f"{corpus.key} holds no text out; give the corpus a mix and a holdout")
    found: list[np.ndarray] = []
    for ids in corpus.table("held_out", ["text_ids"])["text_ids"].to_pylist():
        if sum(map(len, found)) >= tokens:
            break
        if len(ids) > 1:
            found.append(np.asarray(ids[:length], np.int64))
    return found


def states(model: HeterogeneousDecoderForCausalLM, texts: list[np.ndarray]) -> list[torch.Tensor]:
    """Of each text the states `[1, T, H]` that the output head reads: small beside the logits."""
    import torch

    found = []
    with torch.inference_mode():
        for text in texts:
            ids = torch.from_numpy(text)[None].to(model.device)
            found.append(model.finish(model.run(model.embed(ids), model.context(ids))))
    return found


def measured(
    parent: HeterogeneousDecoderForCausalLM,
    told: list[torch.Tensor],
    model: HeterogeneousDecoderForCausalLM,
    texts: list[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Cross-entropy and KL(parent ‖ model) summed over each text's predictions, and how many they
    are: both `[N, 2]`, in nats.

    `told` are the parent's `states`. Logits are held of one text at a time.
    """
    import torch

    losses, divergences = [], []
    with torch.inference_mode():
        for text, state in zip(texts, told, strict=True):
            reference = logs = _logs(parent, state)
            if model is not parent:
                [own] = states(model, [text])
                logs = _logs(model, own)
            following = torch.from_numpy(text)[1:, None].to(logs.device)
            nll = -logs[:-1].gather(1, following).sum()
            divergence = (reference.exp() * (reference - logs)).sum()
            losses.append((float(nll), len(text) - 1))
            divergences.append((float(divergence), len(text)))
    return np.array(losses), np.array(divergences)


def _logs(model: HeterogeneousDecoderForCausalLM, state: torch.Tensor) -> torch.Tensor:
    """Log-probabilities `[T, V]` of one text's states."""
    import torch

    return torch.log_softmax(model.head(state)[0].float(), dim=-1)


def _sizes(config: Any) -> dict[str, int]:
    """Parameters, and bytes of keys and values that a token leaves in 16 bits."""
    from resources.models.accounting import Shape, kv_bytes_per_token, total_parameters

    shape, blocks = Shape.of(config.to_dict()), config.block_configs
    return {
        "parameters": total_parameters(shape, blocks),
        "kv_bytes_per_token": sum(kv_bytes_per_token(shape, each["attention"]) for each in blocks),
    }


def _row(
    losses: np.ndarray, divergences: np.ndarray, recipe: Mapping[str, Any]
) -> dict[str, float]:
    loss, loss_low, loss_high = mean_of(losses, recipe["seed"])
    kl, kl_low, kl_high = mean_of(divergences, recipe["seed"])
    return {
        "perplexity": float(np.exp(loss)),
        "perplexity_low": float(np.exp(loss_low)),
        "perplexity_high": float(np.exp(loss_high)),
        "kl": kl,
        "kl_low": kl_low,
        "kl_high": kl_high,
        "tokens": int(divergences[:, 1].sum()),
    }


def _sequences(
    model: str, stage: str, losses: np.ndarray, divergences: np.ndarray
) -> list[dict[str, Any]]:
    """What `measured` found of each text."""
    return [
        {
            "model": model,
            "stage": stage,
            "sequence": number,
            "loss": float(loss),
            "predictions": int(predictions),
            "kl": float(kl),
            "tokens": int(tokens),
        }
        for number, ((loss, predictions), (kl, tokens)) in enumerate(
            zip(losses, divergences, strict=True)
        )
    ]


def _answers(checkpoint: Artifact, recipe: Mapping[str, Any], execution: Execution) -> list[str]:
    """The greedy answer to every prompt."""
    from resources.engines.opening import open_engine
    from resources.engines.protocol import UNANSWERED, Request, Sampling

    engine = open_engine(
        checkpoint, checkpoint.data_version, execution, recipe.get("dtype"), role="evaluation"
    )
    asked = [Request((("user", prompt),)) for prompt in recipe["prompts"]]
    sampling = Sampling(0.0, max_new_tokens=recipe["max_new_tokens"], seed=recipe["seed"])
    made = engine.generate(asked, sampling)
    return [UNANSWERED.get(each.finish_reason, each.text) for each in made]
