"""Chat: what a model reads and must write, as its own tokenizer and template say it.

A `Chat` is tokenizer, template, thinking toggle and stop tokens under one digest, opened from a
checkpoint folder. It knows no tasks, verifiers or artifacts.
"""
