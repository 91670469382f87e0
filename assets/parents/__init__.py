"""Parent checkpoints and tokenizer: source assets, versioned by the hash of their files."""
