"""The store as assets see it: their declarative records, the plan over them, and their building."""
