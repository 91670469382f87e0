"""Science problems: multiple choice over a small closed world of facts, k hops apart.

Every entity has exactly one successor and all lie on one cycle, so neither the end of a chain
nor a missing fact gives the answer away: it has to be followed hop by hop.
"""

from itertools import pairwise
from random import Random

from resources.tasks.math import boxed
from resources.tasks.problem import Problem

LETTERS = "ABCDE"
ENTITIES = 9

SUBJECTS: dict[str, dict[str, tuple[str, tuple[str, ...]]]] = {
    "biology": {
        "food webs": (
            "is eaten by",
            ("moss", "ant", "fly", "frog", "bird", "fox", "owl", "fish", "crab", "worm", "bee"),
        ),
        "regulation": (
            "activates",
            (
                "gene",
                "cell",
                "lung",
                "skin",
                "bone",
                "root",
                "leaf",
                "seed",
                "hair",
                "vein",
                "claw",
            ),
        ),
    },
    "chemistry": {
        "reactions": (
            "turns into",
            ("iron", "salt", "gas", "acid", "base", "rust", "zinc", "gold", "lead", "tin", "clay"),
        ),
    },
    "physics": {
        "energy": (
            "drives",
            (
                "wind",
                "wave",
                "heat",
                "light",
                "spin",
                "gear",
                "belt",
                "pump",
                "coil",
                "lamp",
                "fan",
            ),
        ),
    },
}
KINDS = tuple(f"{subject}/{topic}" for subject, topics in SUBJECTS.items() for topic in topics)


def problem(rng: Random, kind: str, depth: int) -> Problem:
    """One five-way multiple-choice problem; the answer is `depth` facts away from the start."""
    subject, subtopic = kind.split("/")
    relation, words = SUBJECTS[subject][subtopic]
    cycle = rng.sample(words, ENTITIES)
    facts = [f"{cycle[i]}>{cycle[(i + 1) % ENTITIES]}" for i in range(ENTITIES)]
    path = [cycle[i % ENTITIES] for i in range(depth + 1)]
    rng.shuffle(facts)
    options = [path[-1], *rng.sample([word for word in cycle if word != path[-1]], 4)]
    rng.shuffle(options)
    letter = LETTERS[options.index(path[-1])]
    listed = " ".join(f"{name}={word}" for name, word in zip(LETTERS, options, strict=True))
    hops = "step" if depth == 1 else "steps"
    question = (
        f"x>y means x {relation} y: {';'.join(facts)}. "
        f"Where is start={path[0]} after {depth} {hops}? {listed}"
    )
    hop_text = ";".join(f"{a}>{b}" for a, b in pairwise(path))
    return Problem(
        domain="science",
        kind=kind,
        depth=depth,
        question=question,
        expected_answer=letter,
        composition=f"{kind}:{'>'.join(path[:3])}",
        thinking=f"{hop_text};{letter}={path[-1]}",
        answer=boxed(letter),
        subject=subject,
        subtopic=subtopic,
        metadata={"options": options},
    )
