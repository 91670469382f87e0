"""The problems that models answer for SFT: a domain's, and those of sources with `answers`.

Says how often, by whom, and how the answers are sampled; asks nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from resources.recipe.sections.base import Domain, Reasoning, needed
from resources.recipe.sections.family import Family
from resources.recipe.sections.feedback_edit import STEPS
from resources.recipe.sections.roles import RoleName


@dataclass(frozen=True)
class Answered:
    """One set of answers: `samples` a problem in each mode.

    `source` is the one whose problems they are (None: the domain's, without those of sources that
    have answers of their own), `prompts` how many of them (None: all). `voting`: the modes whose
    answers vote on problems without a known answer; none where nothing is voted on.
    """

    domain: Domain
    samples: Mapping[Reasoning, int]
    source: str | None = None
    prompts: int | None = None
    by: RoleName = "teacher"
    judge: Literal["unknown", "all"] | None = None
    feedback_edit: Literal["measured", "used"] | None = None
    voting: tuple[Reasoning, ...] = ()

    @property
    def where(self) -> str:
        """Where the recipe says so."""
        return f"sources.{self.source}.answers" if self.source else f"sft_data.{self.domain}"

    def role(self, family: Family, mode: Reasoning) -> RoleName:
        """Who answers in a mode: with thinking off the family's own model for that, if any."""
        return "off" if mode == "off" and off_apart(family) else self.by

    def roles(self, family: Family) -> set[RoleName]:
        """Those who answer in any mode that is sampled."""
        return {self.role(family, mode) for mode, count in self.samples.items() if count}


def answered(family: Family) -> dict[str, Answered]:
    """Every set of answers by its name, a domain's or a source's."""
    found: dict[str, Answered] = {}
    for domain, data in family.sft_data.items():
        samples: dict[Reasoning, int] = {"on": data.samples_on, "off": data.samples_off}
        voted = any(
            each.truth == "vote" and each.answers is None
            for each in family.problem_sources(domain).values()
        )
        found[domain] = Answered(
            domain,
            samples,
            prompts=data.prompts,
            judge=data.judge,
            feedback_edit=data.feedback_edit,
            voting=_voting(samples) if voted else (),
        )
    for name, source in family.sources.items():
        if source.answers is not None:
            said = source.answers
            samples = {"on": said.thinking_on, "off": said.thinking_off}
            found[name] = Answered(
                source.domain,  # type: ignore[arg-type]  # one of DOMAINS, as its section says
                samples,
                source=name,
                by=said.by,
                judge=said.judge,
                feedback_edit=said.feedback_edit,
                voting=_voting(samples) if source.truth == "vote" else (),
            )
    return found


def _voting(samples: Mapping[Reasoning, int]) -> tuple[Reasoning, ...]:
    """Answers that think vote; those that do not only where there are no others."""
    return ("on",) if samples["on"] else ("off",)


def off_apart(family: Family) -> bool:
    """Whether a model of its own answers with thinking off."""
    return family.off_generator != "teacher" or family.served("off") is not None


def sampling(family: Family, domain: Domain, role: RoleName) -> dict[str, Any]:
    """How a role's answers in a domain are sampled: as the domain says, else as the role does, else
    as all are."""
    data = family.sft_data.get(domain)
    if data is not None and data.generation is not None:
        return data.generation.model_dump(mode="json")
    shared = needed(family.generation, "generation").model_dump(mode="json")
    own = family.roles[role].sampling if role in family.roles else None
    return shared | (own.model_dump(mode="json", exclude_none=True) if own else {})


def missing(family: Family) -> Iterator[tuple[str, str]]:
    """(key path, what is wrong) of what answers need and the recipe does not have or say."""
    for data in answered(family).values():
        own = family.sft_data.get(data.domain)
        if (own is None or own.generation is None) and family.generation is None:
            wrong = f"missing: {data.where} samples by it; add `generation: …`"
            yield "generation", wrong
            continue
        roles = data.roles(family)
        if data.by == "off" and not off_apart(family):
            wrong = "by: no model of its own answers as off; write teacher, or give off_generator"
            yield data.where, f"{wrong} or roles.off a model"
            continue
        if "teacher" in roles and family.given_teacher is None and family.served("teacher") is None:
            yield "teacher", f"missing: it answers {data.where}; add `teacher: …`"
        if data.source is None and _all_apart(family, data.domain):
            wrong = "every source of its problems has `answers` of its own; leave the domain out"
            yield data.where, wrong
        if data.judge and family.served("judge") is None:
            yield "roles", f"judge is missing: {data.where} asks it; add `judge: …`"
        if data.feedback_edit:
            yield from _no_feedback_edit(family, data)
        yield from _no_vote(family, data)


def _no_feedback_edit(family: Family, data: Answered) -> Iterator[tuple[str, str]]:
    """Roles that make answers better and are not there; drafts that are not sampled."""
    for role in STEPS:
        if family.served(role) is None:
            yield "roles", f"{role} is missing: {data.where} asks it; add `{role}: …`"
    if not data.samples["off"]:
        wrong = "feedback_edit: drafts are answers with thinking off, and none are sampled"
        yield data.where, wrong


def _all_apart(family: Family, domain: Domain) -> bool:
    """Whether no problem of a domain is left for its own section."""
    sources = family.problem_sources(domain).values()
    section = family.problems.get(domain)
    generated = section is not None and section.train > 0
    return not generated and bool(sources) and all(each.answers for each in sources)


def _no_vote(family: Family, data: Answered) -> Iterator[tuple[str, str]]:
    """Votes that can never be decided, or that are one answer counted often."""
    for mode in data.voting:
        count = data.samples[mode]
        if count < family.vote.minimum:
            yield (
                data.where,
                f"{count} answers a problem vote, fewer than vote.minimum {family.vote.minimum}, "
                "so that none is ever decided; sample more, or lower it",
            )
        elif not sampling(family, data.domain, data.role(family, mode))["temperature"]:
            yield (
                data.where,
                "temperature is 0, so that all votes on a problem are one answer; raise it",
            )
