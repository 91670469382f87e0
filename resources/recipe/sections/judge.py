"""The section `judge`: how a model is asked whether another one's answer is right.

Which model that is stands under `roles` (`roles.py`).
"""

from __future__ import annotations

from typing import ClassVar

from resources.recipe.sections.asked import Asked
from resources.recipe.sections.base import CountOrZero
from resources.tasks.judging import JUDGE
from resources.tasks.prompting import Prompting


class Judge(Asked):
    """How the role `judge` is asked whether an answer is right.

    A `prompt` of one's own is over `question`, `reference`, `answer` and `mark`. `agreement`: of
    each domain's answers whose verdict is known, so many are judged too, which shows how often the
    judge agrees with the verifier.
    """

    prompts: ClassVar[Prompting] = JUDGE

    agreement: CountOrZero = 200
