"""What decided on a model's layers, in a sentence and a table: true KL or the sum of scores."""

from __future__ import annotations

from collections.abc import Sequence

from assets.evaluation.page.blocks import estimate, millions, nats, note, table
from assets.evaluation.page.exhibits import Exhibit, Row
from assets.evaluation.page.ways import OWN, proposer


def decided(shown: Exhibit, line: Sequence[Exhibit]) -> str:
    """What decided on a model's layers, the sum of their scores and their true KL.

    `line`: the model's exhibits; a study among them says what the choice is worth on unseen text.
    """
    numbers, least = shown.numbers, ""
    summed = nats(numbers.get(shown.objective, 0.0))
    if shown.tried:
        best, cheapest = shown.tried[0], min(shown.tried, key=lambda row: row["objective"])
        kl = estimate(best["kl"], best["ci_low"], best["ci_high"], nats)
        found = (
            f"True KL decided among {len(shown.tried)} candidates: {proposer(best['method'])} has "
            f"the least, {kl} nats a token, where its scores sum to {summed}."
        )
        if cheapest is not best:
            sums, truth = nats(cheapest["objective"]), nats(cheapest["kl"])
            least = f" The least sum of scores, {sums}, gives {truth}."
    elif "rounds_kl" in numbers:
        found = (
            "Rounds of scoring again improved on the least sum of scores: true KL "
            f"{nats(numbers['rounds_kl'])} nats a token where scores are measured, a sum of "
            f"{summed}."
        )
    else:
        proven = "proven the least" if numbers.get("proven") else "the least that was found"
        unit = "nats a token" if shown.objective == "kl" else shown.objective.replace("_", " ")
        found = f"The sum of scores decided: {summed} {unit}, {proven} within the limits."
    own = [row for each in line for row in each.baselines if row["method"] == OWN]
    if own and own[0]["feasible"]:
        truth = estimate(own[0]["kl"], own[0]["ci_low"], own[0]["ci_high"], nats)
        return f"{found}{least} On text that no stage saw, the choice has a true KL of {truth}."
    return found + least


def tried(rows: Sequence[Row]) -> str:
    """Every candidate with its sum of scores and its true KL; the first is the choice."""
    about = (
        "The candidates on text apart from the reported one, nats a token, 95 % intervals; the "
        "first was chosen."
    )
    body = (
        (
            proposer(row["method"]),
            nats(row["objective"]),
            estimate(row["kl"], row["ci_low"], row["ci_high"], nats),
            millions(row["parameters"]),
        )
        for row in rows
    )
    head = ("Proposed by", "Sum of scores", "True KL", "Parameters")
    return note(about) + table(head, body)
