"""Procedural, verifiable problems with a serial depth, and loaders for real ones."""
