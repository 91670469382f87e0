"""Given checkpoints: what a recipe may name as one, where its files come from, what is wrong."""
