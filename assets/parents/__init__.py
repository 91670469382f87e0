"""Parent checkpoints and the teacher: source assets, versioned by the hash of their files."""
