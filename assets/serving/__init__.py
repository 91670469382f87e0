"""Serving: every model's final checkpoint in a layout that vLLM loads, compared there."""
