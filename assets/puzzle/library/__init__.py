"""The block library: every variant of every layer, trained to imitate the parent's block."""
