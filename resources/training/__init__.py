"""One training loop, the loss functions it minimises, and the batches it is fed."""
