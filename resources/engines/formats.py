"""Whether an answer keeps to the JSON schema that it was asked for in.

Servers are told the schema; not all of them heed it. Knows text and schemas.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from resources.engines.protocol import Sampling


def broken(answer: str, sampling: Sampling) -> str | None:
    """Why an answer is not of the schema of its request; None where it is, or where none was given.

    >>> whole = Sampling(0.0, schema='{"type": "object", "required": ["answer"]}')
    >>> broken('{"answer": "4"}', whole)
    >>> broken('{"result": "4"}', whole)
    "'answer' is a required property"
    >>> broken('4!', whole)
    'no JSON: Extra data at character 1'
    """
    import jsonschema

    if not sampling.schema:
        return None
    try:
        value = json.loads(answer)
    except json.JSONDecodeError as error:
        return f"no JSON: {error.msg} at character {error.pos}"
    schema: Mapping[str, Any] = json.loads(sampling.schema)
    checker = jsonschema.validators.validator_for(schema)
    first = next(iter(checker(schema).iter_errors(value)), None)
    return None if first is None else str(first.message)
