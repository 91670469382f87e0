"""The errors of checkpoints: one that cannot be read, and a model that cannot be written.

Imports nothing, so that whoever reads, writes or catches can share them.
"""

from __future__ import annotations


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the message says which, why, and what would be right."""


class ExportError(ValueError):
    """A model cannot be written in a format; the message gives every reason."""
