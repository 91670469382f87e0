"""Engines: one generation protocol, the engines behind it, and the request cache above them.

A module here turns messages into completions. It does not know tasks, verdicts or assets.
"""
