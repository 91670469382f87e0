"""Prompts that a model is asked when it writes text of its own; the list comes with the package.

Forms of question times topics: everyday English, arithmetic, a little code.
"""

from __future__ import annotations

FORMS = (
    "Explain {} to a ten-year-old in a short paragraph.",
    "Write three sentences about {}.",
    "What should everybody know about {}?",
    "Give four short tips about {}, as a list.",
    "Write a short dialogue between two friends about {}.",
    "Summarise why {} matters, in simple words.",
    "Ask a question about {} and answer it.",
    "Tell a very short story in which {} plays a part.",
)
TOPICS = (
    "the water cycle",
    "adding two-digit numbers",
    "photosynthesis",
    "saving money",
    "the Moon",
    "writing a clear e-mail",
    "Python lists",
    "healthy breakfasts",
    "the printing press",
    "fractions",
    "city traffic",
    "volcanoes",
    "learning a language",
    "recycling",
    "loops in a program",
    "the heart",
    "planning a journey",
    "bees",
    "reading a map",
    "percentages",
    "the Roman Empire",
    "good sleep",
    "electric cars",
    "friendship",
    "sorting a list",
    "weather forecasts",
    "cooking rice",
    "libraries",
    "gravity",
    "polite disagreement",
    "the alphabet",
    "public parks",
)


def prompts(count: int) -> list[str]:
    """The first `count` prompts; each round over the topics asks of every topic in another form.

    ValueError where there are not so many.

    >>> prompts(2)[1]
    'Write three sentences about adding two-digit numbers.'
    """
    most = len(FORMS) * len(TOPICS)
    if count > most:
        raise ValueError(f"{count} prompts are wanted, {most} come with the package")
    rounds = (divmod(number, len(TOPICS)) for number in range(count))
    return [FORMS[(turn + place) % len(FORMS)].format(TOPICS[place]) for turn, place in rounds]
