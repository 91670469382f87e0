"""How programs that models write are run where a recipe does not say."""

LIBRARIES = ("numpy",)  # that they may import beside the standard library
