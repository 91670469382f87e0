"""Readers of what users bring: files, folders, globs and hub data sets, as accounted batches."""
