"""The reward model: a language model's body with one scalar read at the end of the conversation.

Scores token ids and reads and writes the checkpoint folder (the language model's files plus
`reward_head.safetensors`). It does not know how it is trained or what its score is used for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from resources.models import loading
from resources.models.errors import CheckpointError
from resources.models.modeling import HeterogeneousDecoderForCausalLM

HEAD_FILE = "reward_head.safetensors"


class RewardModel(nn.Module):
    """`forward(input_ids [B,T], lengths [B]) -> rewards [B]`, read at each row's last real token.

    Rows are padded on the right; a causal body does not see the padding.
    """

    def __init__(self, backbone: HeterogeneousDecoderForCausalLM) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.config.hidden_size, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, input_ids: Tensor, lengths: Tensor) -> Tensor:
        body = self.backbone
        states = body.run(body.embed(input_ids), body.context(input_ids))
        last = states[torch.arange(len(lengths), device=states.device), lengths - 1]
        state = body.finish(last).to(self.head.weight.dtype)
        return self.head(state).squeeze(-1).float()


def pad(sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Right-padded ids `[B,T]` (padding is 0, which nothing reads) and lengths `[B]`."""
    lengths = torch.tensor([len(sequence) for sequence in sequences])
    ids = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        ids[row, : len(sequence)] = torch.tensor(sequence)
    return ids, lengths


@torch.inference_mode()
def score(
    model: RewardModel, sequences: Sequence[Sequence[int]], batch_size: int = 64
) -> list[float]:
    """The reward of each sequence (prompt, response and closing token), in the order given."""
    device = model.head.weight.device
    order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
    rewards = [0.0] * len(sequences)
    for start in range(0, len(order), batch_size):
        chosen = order[start : start + batch_size]
        ids, lengths = pad([sequences[index] for index in chosen])
        scores = model(ids.to(device), lengths.to(device)).tolist()
        for index, value in zip(chosen, scores, strict=True):
            rewards[index] = value
    return rewards


def save(model: RewardModel, directory: Path, before: Path) -> None:
    """Write the folder of the language model that this was made of, with the head beside it."""
    loading.publish(model.backbone, directory, before)
    head = {name: tensor.detach().contiguous() for name, tensor in model.head.state_dict().items()}
    save_file(head, Path(directory) / HEAD_FILE)


def load(path: Path, *, device: str = "cpu", dtype: str | None = None) -> RewardModel:
    """Read a folder written by `save`; raises CheckpointError when it has no reward head."""
    file = Path(path) / HEAD_FILE
    if not file.is_file():
        raise CheckpointError(
            f"{path}: no {HEAD_FILE}, so this is no reward model; "
            "give a checkpoint written by the reward model stage"
        )
    model = RewardModel(loading.load(path, device=device, dtype=dtype))
    model.head.load_state_dict(load_file(file))
    return model.to(device).eval()
