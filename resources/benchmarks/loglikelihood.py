"""Method `loglikelihood`: which choice the model finds likeliest; nothing is generated."""

from __future__ import annotations

from collections.abc import Sequence

from resources.benchmarks import asking
from resources.benchmarks.answers import Answer, Asked, Measure, Subject
from resources.benchmarks.generate import accuracy
from resources.benchmarks.likelihood import Likelihood, continuations, cut


def answer(subject: Subject, asked: Asked, seed: int) -> list[Answer]:
    """One answer a problem: the choice of the highest log-likelihood (first of equal ones).

    With `normalize` it is divided by the choice's characters or tokens.
    """
    from resources.chat.chat import Chat
    from resources.engines.causal import load_causal
    from resources.models.precision import Precision

    protocol, chat = asked.protocol, Chat.load(subject.folder)
    device = subject.execution.device
    dtype = Precision(protocol.dtype, device).weights(subject.folder)
    model = load_causal(subject.folder, device=device, dtype=dtype)
    choices = [[f"{protocol.delimiter}{each}" for each in p["choices"]] for p in asked.problems]
    if protocol.style == "plain":
        contexts = [asking.text(asked, problem) for problem in asked.problems]
        texts = [
            (c, each) for c, options in zip(contexts, choices, strict=True) for each in options
        ]
        pairs = cut(chat.beginnings, texts)
    else:
        prompts = chat.prompts([asking.conversation(asked, problem) for problem in asked.problems])
        pairs = [
            (prompt, ids)
            for prompt, problem in zip(prompts, asked.problems, strict=True)
            for ids in chat.texts(problem["choices"])
        ]
    longest = int(model.config.max_position_embeddings)
    scored = iter(continuations(model, pairs, longest=longest, progress=subject.execution.progress))
    found = []
    for problem, options in zip(asked.problems, choices, strict=True):
        likelihoods = [next(scored) for _ in options]
        values = [
            _value(protocol.normalize, *pair)
            for pair in zip(likelihoods, problem["choices"], strict=True)
        ]
        chosen = values.index(max(values))
        right = chosen == problem["gold"]
        said = ", ".join(f"{value:.3f}" for value in values)
        found.append(
            Answer(
                problem,
                problem["choices"][chosen],
                "correct" if right else "incorrect",
                f"choice {chosen} of {said}; right is {problem['gold']}",
                numbers={"logprobs": [each.logprob for each in likelihoods]},
            )
        )
    return found


def _value(normalize: str, likelihood: Likelihood, choice: str) -> float:
    if normalize == "characters":
        return likelihood.logprob / max(len(choice), 1)
    return likelihood.logprob / likelihood.tokens if normalize == "tokens" else likelihood.logprob


def measure(answers: Sequence[Answer], asked: Asked) -> list[Measure]:
    """Accuracy, against the chance of guessing among the choices."""
    return [accuracy(answers, asked)]
