"""What a run would do, and its cost."""
