"""The section `feedback_edit`: how answers are made better by feedback, an edit and a choice.

Which models do that stands under `roles`, to which answers it is done under `sft_data` and a
source's `answers`. The roles and their order are those of arXiv 2503.04378.
"""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import model_validator

from resources.recipe.sections.asked import Asked
from resources.recipe.sections.base import Count, Section, impossible
from resources.tasks import editing
from resources.tasks.prompting import Prompting

STEPS: tuple[Literal["feedback", "edit", "select"], ...] = ("feedback", "edit", "select")


class Feedback(Asked):
    """How the role `feedback` is asked: over `question`, `answer` and `mark`."""

    prompts: ClassVar[Prompting] = editing.FEEDBACK


class Edit(Asked):
    """How the role `edit` is asked: over `question`, `answer`, `feedback` and `mark`."""

    prompts: ClassVar[Prompting] = editing.EDIT


class Select(Asked):
    """How the role `select` is asked: over `question`, `answers` and `mark`."""

    prompts: ClassVar[Prompting] = editing.SELECT


class FeedbackEdit(Section):
    """Feedback on drafts, an edit by each feedback, and a choice among a draft and its edits.

    Drafts are answers with thinking off, the first `drafts` to each problem: no thinking leads to
    what is edited. Each is given `feedbacks`.
    """

    drafts: Count = 1
    feedbacks: Count = 1
    feedback: Feedback = Feedback()
    edit: Edit = Edit()
    select: Select = Select()

    @model_validator(mode="after")
    def _feedback_differs(self) -> Self:
        if self.feedbacks > 1 and not self.feedback.temperature:
            raise impossible(
                f"feedback.temperature is 0, so that all {self.feedbacks} feedbacks on a draft are "
                "one; raise it, or ask for one"
            )
        return self
