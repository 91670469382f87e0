"""Serving: every model's final checkpoint in a layout that stock vLLM loads, compared there."""
