"""Trains one bundled model from scratch: seeded, resumable, on whatever CPU there is.

    python -m resources.parents.pretrain super [--threads 1] [--work DIR]

It makes source assets, outside the asset graph, and so has a plain torch loop of its own: Muon for
the matrices, AdamW for the rest, right-padded batches of equal lengths (causal attention needs no
mask then). Kill it and start it again: it goes on at the last checkpoint.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any, TypedDict

from resources.chat.chat import Chat
from resources.parents.configuration import ParentModel, Parents, load
from resources.parents.documents import Document, encode, problems
from resources.pretrained.source import BUNDLED
from warehouse.files.filesystem import replacing

CHUNK = 2048  # documents drawn, sorted by length and cut into batches together
SAVE_SECONDS = 30.0


class State(TypedDict):
    """How far training is: phase, chunk of the phase, and steps and tokens done in the phase."""

    phase: int
    chunk: int
    step: int
    tokens: int
    seconds: float


def batches(
    parents: Parents, model: ParentModel, number: int, chat: Chat, start_chunk: int
) -> Iterator[tuple[int, bool, list[Document]]]:
    """Batches of phase `number` from chunk `start_chunk` on, as (chunk, is last, documents).

    A chunk depends on its number alone, so training resumes at a chunk's start.
    """
    phase = model.phases[number]
    budget = int(parents.optimizer["batch_tokens"])
    chunk = start_chunk
    while True:
        seed = f"{parents.seed}/{model.name}/{chunk}" + (f"/phase {number}" if number else "")
        drawn = problems(phase.styles, phase.domains, phase.depths, seed=seed)
        rng = Random(seed)
        documents = encode(
            chat,
            [next(drawn) for _ in range(CHUNK)],
            rng=rng,
            thinks=model.thinks,
        )
        documents.sort(key=lambda document: len(document.ids))
        cut: list[list[Document]] = [[]]
        for document in documents:
            if cut[-1] and (len(cut[-1]) + 1) * len(document.ids) > budget:
                cut.append([])
            cut[-1].append(document)
        rng.shuffle(cut)
        for index, batch in enumerate(cut):
            yield chunk, index == len(cut) - 1, batch
        chunk += 1


def tensors(documents: list[Document], padding: int) -> tuple[Any, Any]:
    """(input ids, labels), both [B, T]; labels are the next token, -100 where no loss is."""
    import torch

    longest = max(len(document.ids) for document in documents)
    ids = torch.full((len(documents), longest), padding)
    labels = torch.full((len(documents), longest), -100)
    for row, document in enumerate(documents):
        tokens = torch.tensor(document.ids)
        ids[row, : len(tokens)] = tokens
        mask = torch.tensor(document.mask[1:])
        labels[row, : len(tokens) - 1] = torch.where(mask, tokens[1:], -100)
    return ids, labels


def train(parents: Parents, model: ParentModel, work: Path, threads: int) -> Path:
    """Train to the token budget; returns the folder of the finished bf16 checkpoint."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(parents.seed)
    chat = Chat.load(BUNDLED / "tokenizer")
    tokenizer = chat.tokenizer
    network = _network(model, tokenizer)
    optimizers = _optimizers(parents, network)
    work.mkdir(parents=True, exist_ok=True)
    state: State = {"phase": 0, "chunk": 0, "step": 0, "tokens": 0, "seconds": 0.0}
    saved = work / "state.pt"
    if saved.exists():
        loaded = torch.load(saved, weights_only=True)
        network.load_state_dict(loaded["network"])
        for optimizer, values in zip(optimizers, loaded["optimizers"], strict=True):
            optimizer.load_state_dict(values)
        state.update(loaded["state"])
    begun, written = time.monotonic() - state["seconds"], time.monotonic()
    while state["phase"] < len(model.phases):
        tokens = model.phases[state["phase"]].tokens
        for chunk, last, documents in batches(parents, model, state["phase"], chat, state["chunk"]):
            warm = min(1.0, (state["step"] + 1) / parents.optimizer["warmup_steps"])
            left = max(0.0, 1.0 - state["tokens"] / tokens)
            rate = parents.optimizer["learning_rate"] * warm * min(1.0, left / 0.6 + 0.02)
            loss = _update(network, optimizers, rate, tensors(documents, tokenizer.pad_token_id))
            state["step"] += 1
            state["tokens"] += sum(len(document.ids) for document in documents)
            if state["step"] % 50 == 0:
                state["seconds"] = time.monotonic() - begun
                _log(work / "log.jsonl", {"loss": round(loss, 4), **state})
            done = state["tokens"] >= tokens
            if done:
                state.update({"phase": state["phase"] + 1, "chunk": 0, "tokens": 0, "step": 0})
            elif last:
                state["chunk"] = chunk + 1
            if done or (last and time.monotonic() - written > SAVE_SECONDS):
                state["seconds"] = time.monotonic() - begun
                _save(saved, network, optimizers, state)
                written = time.monotonic()
            if done:
                break
    target = work / "model"
    network.bfloat16().save_pretrained(target)
    tokenizer.save_pretrained(target)
    return target


def _network(model: ParentModel, tokenizer: Any) -> Any:
    """A new Llama of the model's shape, with tied embeddings."""
    from transformers import LlamaConfig, LlamaForCausalLM

    shape: dict[str, Any] = {**model.shape}
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            **shape,
        )
    )


def _optimizers(parents: Parents, network: Any) -> list[Any]:
    """Muon for the matrices, AdamW for embeddings and norms; rates are set step by step."""
    import torch

    matrices = [p for n, p in network.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in network.named_parameters() if p.ndim != 2 or "embed" in n]
    rate = parents.optimizer["learning_rate"]
    decay = parents.optimizer["weight_decay"]
    return [
        torch.optim.Muon(
            matrices, lr=rate, weight_decay=decay, momentum=0.95, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.95), weight_decay=0.0, fused=True),
    ]


def _update(network: Any, optimizers: list[Any], rate: float, batch: tuple[Any, Any]) -> float:
    """One step at a learning rate on `(input ids, labels)`; the mean loss before it, nats."""
    import torch

    ids, labels = batch
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
    hidden = network.model(input_ids=ids, use_cache=False).last_hidden_state
    counted = labels >= 0
    logits = network.lm_head(hidden[counted]).float()
    loss = torch.nn.functional.cross_entropy(logits, labels[counted])
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    for optimizer in optimizers:
        optimizer.step()
        optimizer.zero_grad()
    return float(loss.item())


def _log(file: Path, values: dict[str, Any]) -> None:
    line = json.dumps(values)
    print(line, flush=True)
    with file.open("a") as log:
        log.write(line + "\n")


def _save(path: Path, network: Any, optimizers: list[Any], state: State) -> None:
    import torch

    held = {
        "network": network.state_dict(),
        "optimizers": [optimizer.state_dict() for optimizer in optimizers],
        "state": state,
    }
    with replacing(path) as aside:
        torch.save(held, aside)


def main() -> None:
    """The command line."""
    parents = load()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=sorted(parents.models))
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--work", type=Path, default=Path(".pretrain"))
    arguments = parser.parse_args()
    model = parents.models[arguments.model]
    print(train(parents, model, arguments.work / model.name, arguments.threads))


if __name__ == "__main__":
    main()
