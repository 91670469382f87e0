"""How a run makes assets."""
