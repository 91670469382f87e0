"""The vLLM half of a verification, a program of its own: request.json in, answer.json out.

`python -m resources.engines.verification.child REQUEST ANSWER`. Decodes greedily with the given
prompts and writes tokens and log-probabilities down. It does not know what they are compared with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main(request_path: str, answer_path: str) -> None:
    """Run one request: `arguments` are those of vLLM's `LLM`, `prompts` are token ids."""
    from vllm import LLM, SamplingParams

    from resources.engines.vllm_plugin import register

    register()  # also where the installed metadata is older than the plugin
    request = json.loads(Path(request_path).read_text())
    engine = LLM(**request["arguments"])
    # The end token is a token like any other here: every prompt gets all its tokens.
    sampling = SamplingParams(
        temperature=0.0,
        max_tokens=request["tokens"],
        ignore_eos=True,
        logprobs=0,
        prompt_logprobs=0,
        detokenize=False,
    )
    prompts: list[Any] = [{"prompt_token_ids": prompt} for prompt in request["prompts"]]
    answers = []
    for output in engine.generate(prompts, sampling, use_tqdm=False):
        made = output.outputs[0]
        tokens = list(made.token_ids)
        answers.append(
            {
                "tokens": tokens,
                "logprobs": _chosen(made.logprobs, tokens),
                # The first token of a prompt has no probability.
                "prompt_logprobs": _chosen(
                    (output.prompt_logprobs or [])[1:], list(output.prompt_token_ids or [])[1:]
                ),
            }
        )
    Path(answer_path).write_text(json.dumps(answers))


def _chosen(positions: Any, tokens: list[int]) -> list[float]:
    """The log-probability of each token at its position."""
    return [
        float(there[token].logprob) for there, token in zip(positions or [], tokens, strict=True)
    ]


if __name__ == "__main__":
    main(*sys.argv[1:])
