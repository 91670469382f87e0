"""The ways to choose an architecture as a reader meets them: what each is called, and what it does.

Names of `search_baselines` and `measured_choices` in, words out.
"""

from __future__ import annotations

from collections.abc import Iterable

OWN = "search"  # the row of `search_baselines` that is the model's own architecture
RANDOM = "random"
LEAST_SUM = "least sum of scores"
BY_HAND = ("best uniform", "depth by influence", "contiguous depth")  # what needs no search
MEANINGS = {
    LEAST_SUM: "the exact optimum of the summed scores; 'no. 2' and on differ enough from it",
    "re-scored steps": "from the parent to the limits in steps, the scores measured again "
    "around what was chosen so far",
    "improved": "a candidate whose single changes were measured again, the best of them made",
    "marginal greedy": "one exchange after the other, the least added score for what it saves",
    "paper greedy": "the Puzzle paper's: an equal budget for every layer, what is left rolls over",
    "max parameters": "as many parameters as the limits allow, whatever the scores say",
    "best uniform": "one variant in all layers, or two sizes of it spread evenly",
    "depth by influence": "whole layers dropped, first those that change their input least",
    "contiguous depth": "the best run of neighbouring layers dropped",
    RANDOM: "drawn at random within the limits",
}


def proposer(method: str) -> str:
    """What a candidate of `measured_choices` is called.

    >>> proposer("search"), proposer("search, 3"), proposer("search, 2, improved")
    ('least sum of scores', 'least sum of scores, no. 3', 'least sum of scores, no. 2, improved')
    """
    name, comma, rest = method.partition(", ")
    if name != OWN:
        return method
    return LEAST_SUM + comma + (f"no. {rest}" if rest[:1].isdigit() else rest)


def explained(methods: Iterable[str]) -> dict[str, str]:
    """The meanings of those that are named, in a fixed order.

    >>> list(explained(["random 2", "search", "best uniform, improved"]))
    ['least sum of scores', 'improved', 'best uniform', 'random']
    """
    called = [proposer(method) for method in methods]
    return {
        way: meaning
        for way, meaning in MEANINGS.items()
        if any(name.startswith(way) or name.endswith(f", {way}") for name in called)
    }
