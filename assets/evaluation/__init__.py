"""Benchmarks of every checkpoint, and the report that shows them."""
