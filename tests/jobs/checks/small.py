"""A whole small recipe on sources of its own, which `check` finds nothing against."""

from __future__ import annotations

RECIPE = """
extends: [heirloom/single-gpu, heirloom/laptop]
models:
  m:
    parent: bundled/super
    sft:
      main: {mix: {chats: 1}, samples: 18, epochs: 1, packed: true, learning_rate: 2e-5,
             batch_tokens: 4096, sequence_length: 1024}
sources:
  chats: {kind: conversations, path: ./chats.jsonl, license: unstated, holdout: 5%}
  docs: {kind: text, path: "python:docstrings", license: psf-2.0}
corpus: {mix: {docs: 1, chats: 1}, tokens: 160K}
side_by_side: {tokens: 1K, sequence_length: 256}
"""
