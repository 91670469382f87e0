"""How a recipe is found, merged, overridden and judged, before it is typed."""
