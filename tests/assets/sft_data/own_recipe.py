"""The recipe of a person with one model and one source, `mine`, that an SFT stage draws from."""

MODEL = """
extends: heirloom/single-gpu
name: own
models:
  small:
    parent: bundled/super
    stages: [sft]
    sft:
      main:
        mix: {mine: 1}
        packed: true
        epochs: 1
        batch_tokens: 2048
        sequence_length: 512
        learning_rate: 2e-5
held_out: {per_domain_per_depth: 1, depths: [1]}
"""
