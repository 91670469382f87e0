"""Exports: checkpoint folders that other engines load, each form with what it cannot hold."""
