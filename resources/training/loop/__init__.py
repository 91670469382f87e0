"""The training loop: steps, checkpoints, and what is done when a run diverges."""
