"""Verifiers: decide from text alone whether an answer is right. They know no model and no asset."""
