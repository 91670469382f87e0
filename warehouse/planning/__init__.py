"""What is fresh, stale or missing, and what stands for what."""
