"""One generated problem.

Knows what a problem holds; which ones may only measure is decided in `held_out`.
"""

from dataclasses import dataclass, field

DEPTHS = range(1, 9)


@dataclass(frozen=True)
class Problem:
    """A question with its ground truth and a worked solution.

    `thinking` and `answer` are the worked solution: they teach the bundled parents and never
    stand in a problem table. `composition` names how the problem is put together, without its
    numbers (the operator sequence, the path through a graph, the set of constraints).
    """

    domain: str
    kind: str
    depth: int
    question: str
    expected_answer: str
    composition: str
    thinking: str
    answer: str
    subject: str = ""
    subtopic: str = ""
    tests: str = ""
    metadata: dict[str, object] = field(default_factory=dict)
