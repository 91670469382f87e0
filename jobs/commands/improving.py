"""`heirloom chat --feedback-edit`: feedback on an answer, and the answer edited by it.

Asked as in `sft_data` (`feedback_edit` of the recipe); knows no terminal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from resources.engines.protocol import Engine, Request, Sampling
from resources.execution import Execution
from resources.recipe.schema import Recipe
from resources.recipe.sections.roles import RoleName
from resources.tasks.editing import EDIT, FEEDBACK
from resources.tasks.prompting import Prompting, mark
from resources.verifiers.reasoning import split
from resources.verifiers.replies.usable import fault

STEPS: Mapping[RoleName, Prompting] = {"feedback": FEEDBACK, "edit": EDIT}


class Improving:
    """Who gives feedback and who edits: a role's server where the recipe has one, else the model
    that answered."""

    def __init__(self, recipe: Recipe, own: Engine, execution: Execution) -> None:
        from resources.engines.opening import open_served

        self._section, self._engines = recipe.family.feedback_edit, dict.fromkeys(STEPS, own)
        for role in STEPS:
            served = recipe.family.served(role)
            if served is not None:
                self._engines[role] = open_served(served.asked(), execution, role)

    def steps(self, question: str, answer: str) -> Iterator[tuple[str, str, str | None]]:
        """The feedback on an answer, then the edit: which it is, what it says, and why it is of no
        use (None: it is). Ends with the first that is of none."""
        shown = {"question": question, "answer": answer}
        for role, prompting in STEPS.items():
            said = self._section.feedback if role == "feedback" else self._section.edit
            engine, whole = self._engines[role], role == "edit"
            message = prompting.message(said.prompt, shown)
            asked = Request((("user", message),), thinking=said.thinking)
            sampling = Sampling(said.temperature, max_new_tokens=said.max_new_tokens)
            (made,) = engine.generate([asked], sampling)
            text = split(made.text, engine.chat.toggle.tags)[1]
            why = fault(made, text, mark(shown), whole=whole)
            yield role, text, why
            if why is not None:
                return
            shown[role] = text


def question(turns: Sequence[tuple[str, str]]) -> str:
    """What the last (role, text) of a conversation asks: its text, after those before it.

    >>> question([("user", "2 + 2?")])
    '2 + 2?'
    >>> print(question([("user", "2?"), ("assistant", "2."), ("user", "And 3?")]))
    user: 2?
    assistant: 2.
    user: And 3?
    """
    if len(turns) == 1:
        return turns[0][1]
    return "\n".join(f"{role}: {text}" for role, text in turns)
