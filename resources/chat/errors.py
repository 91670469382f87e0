"""The one error of this room, so that callers can drop a row or refuse a model by it."""


class ChatError(ValueError):
    """A template, a tokenizer or a conversation cannot be used; the message says why."""
