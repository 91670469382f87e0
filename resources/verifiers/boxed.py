"""Find the final answer of a response: the content of its last `\\boxed{}`."""

_COMMANDS = ("\\boxed", "\\fbox")


def last(text: str) -> str | None:
    """The content of the last closed `\\boxed{...}` with balanced braces, or None.

    >>> last(r"so \\boxed{1}, no: \\boxed{\\frac{1}{2}}")
    '\\\\frac{1}{2}'
    >>> last("no box") is None
    True
    """
    end = len(text)
    while end > 0:
        start = max(text.rfind(command, 0, end) for command in _COMMANDS)
        if start < 0:
            return None
        content = _braced(text, start)
        if content is not None:
            return content.strip()
        end = start
    return None


def _braced(text: str, start: int) -> str | None:
    open_at = text.find("{", start)
    if open_at < 0 or text[start:open_at].strip() not in _COMMANDS:
        return None
    depth = 0
    for index in range(open_at, len(text)):
        if text[index] == "\\":
            continue
        escaped = index > 0 and text[index - 1] == "\\"
        if text[index] == "{" and not escaped:
            depth += 1
        elif text[index] == "}" and not escaped:
            depth -= 1
            if depth == 0:
                return text[open_at + 1 : index]
    return None
