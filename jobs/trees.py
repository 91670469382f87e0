"""Lineage trees as text: assets and rows with their branches."""

from __future__ import annotations

from rich.text import Text
from rich.tree import Tree

from warehouse.lineage import AssetNode, RowNode
from warehouse.manifest import label as asset_label

TEXT_CHARACTERS = 100


def asset_branches(node: AssetNode, tree: Tree | None = None) -> Tree:
    """The tree of an asset: key, version, rows; a branch shown before is not repeated."""
    name = asset_label(node.asset_key, node.partition)
    label = Text(name, style="bold").append(f"@{node.data_version[:12]}", style="cyan")
    if node.rows:
        label.append(f"  {node.rows:,} rows", style="dim")
    if not node.is_current:
        label.append("  (not current)", style="yellow")
    if node.again:
        label.append("  (see above)", style="dim")
    branch = Tree(label) if tree is None else tree.add(label)
    for below in node.branches:
        asset_branches(below, branch)
    return branch


def row_branches(node: RowNode, tree: Tree | None = None) -> Tree:
    """The tree of a row: its id, where it stands, and its most telling text, cut."""
    label = Text(node.row_id, style="cyan").append(f"  {node.table} of ", style="dim")
    label.append(node.asset_key, style="bold")
    text = " ".join(node.text.split())
    if text:
        short = text if len(text) <= TEXT_CHARACTERS else text[: TEXT_CHARACTERS - 1] + "…"
        label.append(f"  {short}")
    if node.again:
        label.append("  (see above)", style="dim")
    branch = Tree(label) if tree is None else tree.add(label)
    for below in node.branches:
        row_branches(below, branch)
    return branch
