"""Supervised fine-tuning: blends of the SFT datasets, and the checkpoints trained on them."""
