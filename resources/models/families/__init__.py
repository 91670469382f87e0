"""Model families: one file each, with what sets its `config.json` and its layers apart.

A family knows configurations; it does not know files, tensors or modules. `registry.py` holds all
of them, `parts.py` what none of them computes.
"""
