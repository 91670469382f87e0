"""Does vLLM compute what we compute? Greedy tokens and log-probabilities of both, in float32.

vLLM runs in a process of its own; where it is not installed nothing is claimed. It does not know
how the folder that vLLM loads was written.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from resources.checkout import CHECKOUT
from resources.engines.vllm import KV_CACHE_BYTES, environment, missing, version
from resources.scratch import scratch

if TYPE_CHECKING:
    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.modeling import HeterogeneousDecoderForCausalLM

TOLERANCE = 1e-3  # nats; float32 sums in another order differ by about 1e-5
PATIENCE = 600.0  # seconds
SHORT = ("bfloat16", "float16")
_PAGE = 128  # the largest number of tokens that vLLM keeps together in its cache


@dataclass(frozen=True)
class Comparison:
    """What a verification found.

    `compared` generated tokens of `prompts` prompts; `differing` of them are not our greedy choice
    after the same tokens, `ties` of those have our log-probability of that choice within the
    tolerance. `log_difference` is the largest absolute difference of a log-probability in nats,
    over the generated and the `prompt_tokens` given tokens. A folder of 16-bit weights is also run
    in its own type `stored`, as it will be served: `stored_differing` of as many generated tokens
    are not our float32 choice there; rounding makes them, and they decide nothing. Where nothing
    was compared, `reason` says why, the numbers are 0 and `verified` is false.
    """

    reason: str | None = None
    vllm: str = ""
    prompts: int = 0
    compared: int = 0
    differing: int = 0
    ties: int = 0
    prompt_tokens: int = 0
    log_difference: float = 0.0
    seconds: float = 0.0
    stored: str = ""
    stored_differing: int = 0

    @property
    def verified(self) -> bool:
        """Whether vLLM ran at all."""
        return self.reason is None

    @property
    def equal(self) -> bool:
        """Whether it ran and agreed: only ties differ, log-probabilities within the tolerance."""
        return (
            self.verified
            and self.compared > 0
            and self.differing == self.ties
            and self.log_difference <= TOLERANCE
        )

    def describe(self) -> str:
        """One line for a reader."""
        if not self.verified:
            return f"not verified in vLLM: {self.reason}"
        ties = f" ({self.ties} ties)" if self.ties else ""
        rounded = (
            f"; in {self.stored} {self.stored_differing} of as many differ from float32's"
            if self.stored
            else ""
        )
        return (
            f"vLLM {self.vllm}, float32: {self.differing} of {self.compared} greedy tokens of "
            f"{self.prompts} prompts differ{ties}; largest log-probability difference "
            f"{self.log_difference:.1e}{rounded}"
        )

    def record(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


class VerificationError(RuntimeError):
    """vLLM could not run the folder; the message ends with what it said."""


def verify(
    folder: str | Path,
    checkpoint: str | Path,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    *,
    patience: float = PATIENCE,
) -> Comparison:
    """Let vLLM generate `tokens` greedy tokens after each prompt; compare with our checkpoint.

    Our log-probabilities are those of the tokens that vLLM chose, from one pass over prompt and
    answer, so that one difference is not counted again in all that follows it: when none differs,
    both generate the same. Not verified: a model of which two float32 copies do not fit in memory,
    and a plain one of a family that stock vLLM computes otherwise.
    Raises ValueError where a prompt does not fit, VerificationError where vLLM fails.
    """
    from resources.models.folders import stored_dtype
    from resources.models.loading import load, read_config

    config = read_config(checkpoint)
    reason = missing() or _no_room(config) or _unserved(folder)
    if reason is not None:
        return Comparison(reason=reason)
    longest = max(map(len, prompts)) + tokens
    context = int(config.max_position_embeddings)
    if longest > context:
        raise ValueError(
            f"a prompt and {tokens} tokens are {longest}, over the model's context of {context}: "
            "ask for fewer tokens"
        )
    began = time.monotonic()
    asked = [list(prompt) for prompt in prompts]
    answers = _run(folder, config, asked, tokens, longest, patience)
    stored = stored_dtype(folder)
    rounded = []
    if stored in SHORT:
        rounded = _run(folder, config, asked, tokens, longest, patience, dtype=stored)
    seconds = time.monotonic() - began
    model = load(checkpoint, dtype="float32")
    gaps, difference = _gaps(model, asked, answers)
    return Comparison(
        vllm=version(),
        prompts=len(prompts),
        compared=len(prompts) * tokens,
        differing=sum(gap > 0 for gap in gaps),
        ties=sum(0 < gap <= TOLERANCE for gap in gaps),
        prompt_tokens=sum(map(len, prompts)),
        log_difference=difference,
        seconds=seconds,
        stored=stored if rounded else "",
        stored_differing=sum(gap > 0 for gap in _gaps(model, asked, rounded)[0]),
    )


def _gaps(
    model: HeterogeneousDecoderForCausalLM,
    prompts: list[list[int]],
    answers: Sequence[dict[str, Any]],
) -> tuple[list[float], float]:
    """How far each token of the answers is from our choice, and the largest difference of a
    log-probability; ([], 0) without answers."""
    found: list[float] = []
    difference = 0.0
    for prompt, answer in zip(prompts, answers, strict=False):
        ours, gaps = _ours(model, [*prompt, *answer["tokens"]], len(prompt))
        theirs = [*answer["prompt_logprobs"], *answer["logprobs"]]
        for mine, other in zip(ours, theirs, strict=True):
            # Not-a-number is a difference, which `max` alone would pass over.
            one = abs(mine - other)
            difference = max(difference, math.inf if math.isnan(one) else one)
        found += gaps
    return found, difference


def _no_room(config: HeterogeneousDecoderConfig) -> str | None:
    """Why two float32 copies, ours and vLLM's, do not fit in this machine's memory, if so."""
    from resources.machine import free_bytes
    from resources.models.accounting import Shape, total_parameters

    parameters = total_parameters(Shape.of(config.to_dict()), config.block_configs or [])
    free = free_bytes("cpu")
    needed = 2 * 4 * parameters
    if needed <= free:
        return None
    return f"float32 copies of both need {needed / 1e9:.0f} GB of memory, {free / 1e9:.0f} are free"


def _unserved(folder: str | Path) -> str | None:
    """Why stock vLLM does not compute a plain folder as transformers does, if so."""
    from resources.models.export.limits import plain_reasons
    from resources.models.loading import read_config

    name = json.loads((Path(folder) / "config.json").read_text())["model_type"]
    return "; ".join(plain_reasons(name, read_config(folder).to_dict())) or None


def _ours(
    model: HeterogeneousDecoderForCausalLM, ids: list[int], prompt: int
) -> tuple[list[float], list[float]]:
    """Log-probability of every token but the first, and how far each generated one is from ours.

    A gap is the log-probability of our greedy choice minus that of the token: 0 where they agree.
    """
    import torch

    given = torch.tensor([ids])
    with torch.inference_mode():
        logits = model(given).logits[0, :-1].float()
    logs = logits.log_softmax(-1)
    taken = logs.gather(1, given[0, 1:, None])[:, 0]
    gaps = (logs.max(-1).values - taken)[prompt - 1 :]
    return taken.tolist(), gaps.tolist()


def _run(
    folder: str | Path,
    config: HeterogeneousDecoderConfig,
    prompts: list[list[int]],
    tokens: int,
    longest: int,
    patience: float,
    *,
    dtype: str = "float32",
) -> list[dict[str, Any]]:
    heads = [block["attention"]["num_key_value_heads"] or 0 for block in config.block_configs or []]
    pages = -(-longest // _PAGE) * _PAGE
    cache = 2 * 4 * (config.head_dim or 1) * max(heads) * len(heads) * pages
    arguments = {
        "model": str(Path(folder).absolute()),
        "dtype": dtype,
        "enforce_eager": True,
        "trust_remote_code": False,
        "max_model_len": longest,
        "kv_cache_memory_bytes": max(KV_CACHE_BYTES, 4 * cache),
        "enable_prefix_caching": False,
        "disable_log_stats": True,
    }
    with scratch("heirloom-vllm") as place:
        request, answer = place / "request.json", place / "answer.json"
        request.write_text(
            json.dumps({"arguments": arguments, "prompts": prompts, "tokens": tokens})
        )
        own = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "HF_MODULES_CACHE": f"{place}/modules"}
        command = [
            sys.executable,
            "-m",
            "resources.engines.verification.child",
            str(request),
            str(answer),
        ]
        with (place / "log").open("w+") as log:
            try:
                done = subprocess.run(
                    command,
                    cwd=CHECKOUT,
                    env={**os.environ, **environment(), **own},
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=patience,
                )
            except subprocess.TimeoutExpired as error:
                raise VerificationError(
                    f"vLLM did not answer within {patience:g} s: {_last_words(log.name)}"
                ) from error
        if done.returncode or not answer.is_file():
            raise VerificationError(
                f"vLLM failed on {folder} (exit code {done.returncode}): {_last_words(log.name)}"
            )
        answers: list[dict[str, Any]] = json.loads(answer.read_text())
    return answers


def _last_words(log: str) -> str:
    """The last lines of an output that look like the reason."""
    lines = [line.strip() for line in Path(log).read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    errors = [line for line in lines if "Error" in line]
    return " | ".join((errors or lines)[-3:]) or "it said nothing"
