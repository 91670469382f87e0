"""Our own configuration, which says of each layer what it holds; its values pass as they are."""

from __future__ import annotations

from resources.models.families.family import Family

# The name is older than the other families and stands in every saved checkpoint.
FAMILY = Family("heterogeneous_llama", None, known=frozenset({"qk_norm", "block_configs"}))
