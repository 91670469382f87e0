"""The section `vote`: when the answers to a problem agree enough to be its answer.

Which problems are voted on their sources say (`truth: vote`), who answers them `answered.py`.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from resources.recipe.sections.base import PositiveShare, Section, Share


class Vote(Section):
    """`minimum` votes at least; of them the leading answer has `share`, and `margin` of them more
    than the next one."""

    minimum: Annotated[int, Field(ge=2)] = 3
    share: PositiveShare = 0.6
    margin: Share = 0.2
