"""Engines that ask a server: any OpenAI-compatible one, one that is managed, or several.

Knows HTTP and processes; what is asked, and what answers are used for, is others' matter.
"""
