"""Instruction-following problems: a topic and k IFEval-style constraints that can be checked.

Here depth is the number of constraints: they have to hold together, but none waits for another.
"""

from random import Random

from resources.tasks.problem import Problem

TOPICS = ("cats", "rain", "trains", "bread", "rivers", "stars", "gardens", "boats")
NOUNS = ("sun", "lake", "stone", "tree", "moon", "road", "song", "wind", "door", "cloud")
VERBS = ("like", "need", "follow", "find", "keep", "bring")
KINDS = ("constraints",)
CONSTRAINTS = (
    "keywords:existence",
    "keywords:forbidden_words",
    "keywords:frequency",
    "punctuation:no_comma",
    "startend:end_checker",
    "startend:quotation",
    "detectable_format:title",
    "detectable_format:number_bullet_lists",
    "detectable_content:postscript",
    "detectable_content:number_placeholders",
)
_ENDINGS = ("The end.", "That is all.", "Good night.")


def problem(rng: Random, kind: str, depth: int) -> Problem:
    """A topic under `depth` constraints, with an answer that is built to obey them all."""
    chosen = sorted(rng.sample(CONSTRAINTS, depth))
    topic = rng.choice(TOPICS)
    nouns = rng.sample(NOUNS, 6)
    texts: list[str] = []
    kwargs: list[dict[str, object]] = []
    for name in chosen:
        text, argument = _constraint(rng, name, nouns)
        texts.append(text)
        kwargs.append(argument)
    answer = _answer(rng, topic, dict(zip(chosen, kwargs, strict=True)), nouns)
    return Problem(
        domain="instructions",
        kind=kind,
        depth=depth,
        question=f"Write about {topic}. {' '.join(texts)}",
        expected_answer="",
        composition="+".join(chosen),
        thinking=";".join(text.rstrip(".").lower() for text in texts),
        answer=answer,
        subject="writing",
        subtopic=topic,
        metadata={"instruction_id_list": chosen, "kwargs": kwargs},
    )


def _constraint(rng: Random, name: str, nouns: list[str]) -> tuple[str, dict[str, object]]:
    if name == "keywords:existence":
        return f"Use the words {nouns[0]} and {nouns[1]}.", {"keywords": nouns[:2]}
    if name == "keywords:forbidden_words":
        return f"Avoid the word {nouns[2]}.", {"forbidden_words": [nouns[2]]}
    if name == "keywords:frequency":
        count = rng.randint(2, 3)
        return f"Say {nouns[3]} at least {count} times.", {
            "keyword": nouns[3],
            "frequency": count,
            "relation": "at least",
        }
    if name == "punctuation:no_comma":
        return "Use no commas.", {}
    if name == "startend:end_checker":
        ending = rng.choice(_ENDINGS)
        return f"Finish with: {ending}", {"end_phrase": ending}
    if name == "startend:quotation":
        return "Wrap it in double quotes.", {}
    if name == "detectable_format:title":
        return "Add a title in <<>>.", {}
    if name == "detectable_format:number_bullet_lists":
        count = rng.randint(2, 3)
        return f"Use exactly {count} bullets.", {"num_bullets": count}
    if name == "detectable_content:postscript":
        return "Add a P.S. note.", {"postscript_marker": "P.S."}
    count = rng.randint(1, 2)
    return f"Leave {count} placeholders in [].", {"num_placeholders": count}


def _answer(
    rng: Random, topic: str, constraints: dict[str, dict[str, object]], nouns: list[str]
) -> str:
    comma = "" if "punctuation:no_comma" in constraints else ","
    sentences = []
    if "keywords:existence" in constraints:
        sentences.append(f"Here{comma} {topic} {rng.choice(VERBS)} the {nouns[0]} and {nouns[1]}.")
    if "keywords:frequency" in constraints:
        count = int(str(constraints["keywords:frequency"]["frequency"]))
        sentences.append("See the" + f" {nouns[3]}" * count + ".")
    if "detectable_content:number_placeholders" in constraints:
        count = int(str(constraints["detectable_content:number_placeholders"]["num_placeholders"]))
        sentences.append("Ask" + " [name]" * count + ".")
    if not sentences:
        sentences.append(f"Here{comma} {topic} {rng.choice(VERBS)} the {nouns[4]}.")
    if "detectable_format:number_bullet_lists" in constraints:
        count = int(str(constraints["detectable_format:number_bullet_lists"]["num_bullets"]))
        while len(sentences) < count:
            sentences.append(f"Some {topic} {rng.choice(VERBS)} the {nouns[4]}.")
        sentences = [*sentences[: count - 1], " ".join(sentences[count - 1 :])]
        body = "\n".join(f"* {sentence}" for sentence in sentences)
    else:
        body = " ".join(sentences)
    parts = [body]
    if "detectable_format:title" in constraints:
        parts.insert(0, f"<<{topic}>>")
    if "detectable_content:postscript" in constraints:
        parts.append(f"P.S. I {rng.choice(VERBS)} {topic}.")
    if "startend:end_checker" in constraints:
        parts.append(str(constraints["startend:end_checker"]["end_phrase"]))
    text = "\n".join(parts)
    if "startend:quotation" not in constraints:
        return text
    # A bullet opens its line, so a quotation mark may not stand before it.
    return f'"\n{text}"' if text.startswith("*") else f'"{text}"'
