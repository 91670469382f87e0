"""Tool calls: their notations, the schemas of the tools, and lists of accepted values."""
