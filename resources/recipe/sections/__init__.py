"""The sections of a recipe as typed, checked data: what may stand in each, its units and ranges."""
