"""`--select`: Dagster's selection syntax over the plan's assets.

Knows the syntax only through Dagster, which is imported only when a selection is given.
"""

from __future__ import annotations

import difflib
import re
import warnings

from jobs.errors import UsageError
from jobs.planning.plan import Plan

EXAMPLES = "'key:\"problems/*\"', 'group:problems' or '+super/sft'"
LISTED = "(`heirloom status` lists the keys)"
# An attribute with its value, or a bare word, which is a key if it is no operator or function.
_TERM = re.compile(r'(\w+):("[^"]*"|[^\s()+,]+)|([A-Za-z_][\w./-]*)(\(?)')
_OPERATORS = ("and", "or", "not")


def select(plan: Plan, text: str | None) -> list[str]:
    """The chosen keys in the plan's order; all of them where `text` is None.

    Raises UsageError where the syntax is wrong, a key is none of the plan's, or nothing is chosen.
    """
    if text is None:
        return [asset.key for asset in plan.assets]
    for name in _named(text):
        if name not in plan.by_key:
            raise UsageError(f"--select {text}: no asset '{name}'; {_meant(plan, name)} {LISTED}")
    import dagster as dg

    from resources.store.building import Code
    from resources.store.dagster import asset_definition

    graph = [asset_definition(a.spec, Code(a.steps[0].node.code_version)) for a in plan.assets]
    try:
        with warnings.catch_warnings():  # Dagster's own use of its own beta parameter
            warnings.simplefilter("ignore")
            found = dg.AssetSelection.from_string(_quoted(plan, text)).resolve(graph)
    except dg.DagsterError:  # its messages name classes of Dagster's, not what to write
        found = set()
    chosen = {key.to_user_string() for key in found}
    if not chosen:
        raise UsageError(
            f"--select {text} chooses no asset; write it in Dagster's selection syntax, for "
            f"example --select {EXAMPLES} {LISTED}"
        )
    return [asset.key for asset in plan.assets if asset.key in chosen]


def _named(text: str) -> list[str]:
    """The keys that a selection names one by one, whether there are such assets or not.

    >>> _named('+a/b or key:"c/d"+1 and not (group:e or key:"f/*" or sinks(g/h))')
    ['a/b', 'c/d', 'g/h']
    """
    found = []
    for term in _TERM.finditer(text):
        attribute, value, word, call = term.groups()
        if attribute == "key" and "*" not in value:
            found.append(value.strip('"'))
        elif word and not call and word.lower() not in _OPERATORS and word[-1] != "/":
            found.append(word)
    return found


def _meant(plan: Plan, name: str) -> str:
    """What may have been meant by a key that there is not."""
    if name in plan.recipe.models:
        return f"for all of the model's write --select 'key:\"{name}/*\"'"
    near = difflib.get_close_matches(name, plan.by_key, n=3)
    return f"did you mean {', '.join(near)}?" if near else "none is called like it"


def _quoted(plan: Plan, text: str) -> str:
    """The text with bare keys written as `key:"…"`.

    Dagster reads a bare key with a slash by its older syntax, in which `+` is one level only.
    """
    if "*" in text or "++" in text:
        return text  # the older syntax on purpose
    keys = sorted((re.escape(asset.key) for asset in plan.assets), key=len, reverse=True)
    return re.sub(rf'(?<![\w/":.-])({"|".join(keys)})(?![\w/":.-])', r'key:"\1"', text)
