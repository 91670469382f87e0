"""Our losses against other people's implementations, on the same documents and weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.resources.training import tiny_family as tiny

DOCUMENTS = [  # token ids, and which of them are answers
    ([5, 9, 2, 30, 31, 1], [0, 0, 1, 1, 0, 1]),
    ([7, 7, 12, 50], [0, 1, 1, 1]),
    ([3, 40, 41, 42, 43, 44, 45, 2], [0, 0, 0, 0, 1, 1, 1, 1]),
]


def llama(folder: Path) -> Any:
    """transformers' own Llama with random weights, as a checkpoint folder and as a model."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=260,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.2,
    )
    model = LlamaForCausalLM(config)
    model.save_pretrained(folder)
    return model


def packed_loss(folder: Path) -> tuple[float, torch.Tensor]:
    """Our loss on the documents in one packed row, and the gradient of the output head."""
    from resources.models.loading import load
    from resources.training.data.packing import collate_packed, with_total
    from resources.training.fit import language_model_loss

    model = load(folder)
    masks = [(ids, [bool(each) for each in mask]) for ids, mask in DOCUMENTS]
    (batch,) = with_total([collate_packed(masks, [[1, 0, 2]], 18, 0)])
    loss = language_model_loss(model, batch).loss
    loss.backward()
    gradient = model.lm_head.weight.grad
    assert gradient is not None
    return loss.item(), gradient


def test_fine_tuning_loss_is_that_of_transformers(tmp_path: Path) -> None:
    """Packed against one document at a time, through their model and their loss."""
    theirs, total = llama(tmp_path), 0.0
    answers = sum(sum(mask[1:]) for _, mask in DOCUMENTS)
    for ids, mask in DOCUMENTS:
        labels = [token if carries else -100 for token, carries in zip(ids, mask, strict=True)]
        loss = theirs(
            torch.tensor([ids]), labels=torch.tensor([labels]), num_items_in_batch=answers
        ).loss
        loss.backward()
        total += loss.item()
    mine, gradient = packed_loss(tmp_path)
    assert mine == pytest.approx(total, rel=1e-6)
    torch.testing.assert_close(gradient, theirs.lm_head.weight.grad, rtol=1e-5, atol=1e-7)


def test_fine_tuning_loss_is_that_of_trl(tmp_path: Path) -> None:
    """The same documents as one padded batch of TRL's SFT trainer."""
    trl = pytest.importorskip("trl")
    from datasets import Dataset
    from transformers import PreTrainedTokenizerFast

    theirs = llama(tmp_path)
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny.tokenizer_in(tmp_path / "tokenizer"))
    tokenizer.pad_token = tokenizer.eos_token
    rows = Dataset.from_dict(
        {
            "input_ids": [ids for ids, _ in DOCUMENTS],
            "completion_mask": [mask for _, mask in DOCUMENTS],
        }
    )
    trainer = trl.SFTTrainer(
        theirs,
        trl.SFTConfig(
            output_dir=str(tmp_path / "out"),
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to=[],
            per_device_train_batch_size=3,
            completion_only_loss=True,
        ),
        train_dataset=rows,
        processing_class=tokenizer,
    )
    batch = next(iter(trainer.get_train_dataloader()))
    answers = (batch["labels"][:, 1:] != -100).sum()
    assert int(answers) == sum(sum(mask[1:]) for _, mask in DOCUMENTS)
    loss = trainer.compute_loss(theirs, batch, num_items_in_batch=answers)
    loss.backward()
    mine, gradient = packed_loss(tmp_path)
    assert mine == pytest.approx(loss.item(), rel=1e-6)
    torch.testing.assert_close(gradient, theirs.lm_head.weight.grad, rtol=1e-5, atol=1e-7)
