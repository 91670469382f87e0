"""One part alone, on a file: its rows come back with further columns; no recipe, no home."""
