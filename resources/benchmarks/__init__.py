"""Benchmarks: what is asked, how an answer is judged, and what a model scores."""
