"""Puzzle: block library, scores, costs, architecture search, assembly and FFN Fusion."""
