"""Where rows and weights live: content-addressed lake, checkpoints, manifests, catalog, lineage.

Takes and returns plain values. Knows no recipe, no Dagster, no torch.
"""
