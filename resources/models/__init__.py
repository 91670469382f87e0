"""Models: the heterogeneous decoder, its chat template, its file format and its arithmetic.

A module here knows tensors and configurations. It does not know recipes, assets, training or
how text is sampled.
"""
