"""Recipes: every number of a run as schema-checked data; knows nothing of assets or training."""
