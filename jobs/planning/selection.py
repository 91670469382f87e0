"""`--select`: Dagster's selection syntax over the plan's assets.

Knows the syntax only through Dagster, which is imported only when a selection is given.
"""

from __future__ import annotations

import re
import warnings

from jobs.errors import UsageError
from jobs.planning.plan import Plan

EXAMPLES = "'key:\"problems/*\"', 'group:problems' or '+super/sft'"


def select(plan: Plan, text: str | None) -> list[str]:
    """The chosen keys in the plan's order; all of them where `text` is None.

    Raises UsageError where the syntax is wrong or nothing is chosen.
    """
    if text is None:
        return [asset.key for asset in plan.assets]
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
            f"example --select {EXAMPLES} (`heirloom status` lists the keys)"
        )
    return [asset.key for asset in plan.assets if asset.key in chosen]


def _quoted(plan: Plan, text: str) -> str:
    """The text with bare keys written as `key:"…"`.

    Dagster reads a bare key with a slash by its older syntax, in which `+` is one level only.
    """
    if "*" in text or "++" in text:
        return text  # the older syntax on purpose
    keys = sorted((re.escape(asset.key) for asset in plan.assets), key=len, reverse=True)
    return re.sub(rf'(?<![\w/":.-])({"|".join(keys)})(?![\w/":.-])', r'key:"\1"', text)
