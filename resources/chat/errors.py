"""The errors of this room, so that callers can drop a row or refuse a model by them."""


class ChatError(ValueError):
    """A template, a tokenizer or a conversation cannot be used; the message says why."""


class ToolsLost(ChatError):
    """A template leaves out tools, calls or results: with it no such conversation can be learned,
    so that it is no matter of one row."""
