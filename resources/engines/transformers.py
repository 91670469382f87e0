"""The embedded engine: batched generation with a model held in this process.

Requests are sorted by prompt length and key and cut into batches of a fixed size, each decoded
from start to end. A request's random numbers depend on its key alone. Its floating-point sums may
still differ in the last bits with the shape of its batch, which can turn a token only when a
random number falls between the two; so a resumed run must redo an unfinished batch whole, and
does, because finished batches are a prefix of the sorted requests.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from resources.engines.decoding import decode
from resources.engines.protocol import (
    NO_ROOM,
    Asked,
    Batch,
    Completion,
    Generating,
    Request,
    Sampling,
    prompts,
    request_key,
    windows,
)
from resources.engines.sampling import uniforms
from resources.engines.stopping import StopTexts, cut

if TYPE_CHECKING:
    from resources.chat.chat import Chat
    from resources.engines.causal import Causal


WINDOW = 16384  # requests that are sorted together


class TransformersEngine(Generating):
    """Generates with a model held in memory; its chat's stop tokens end an answer.

    `model_version` names the weights: whoever changes them must change it. `threads` sets torch's
    threads while generating (None: leave them).
    """

    def __init__(
        self,
        model: Causal,
        chat: Chat,
        model_version: str,
        batch_size: int = 128,
        threads: int | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, not {batch_size}")
        self.model = model
        self.chat = chat
        self.model_version = model_version
        self.batch_size = batch_size
        self.threads = threads
        self.window = WINDOW
        self.stop = frozenset(chat.stop_ids)

    def batches(
        self, requests: Asked, sampling: Sampling, *, logprobs: bool = False
    ) -> Iterator[Batch]:
        """Completions batch by batch; of a window the shortest prompts first.

        A prompt that fills the context has none.
        """
        begin = 0
        for window in windows(requests, self.window):
            if not window:
                yield []
            for batch in self._window(window, sampling, logprobs=logprobs):
                yield [(begin + index, completion) for index, completion in batch]
            begin += len(window)

    def _window(
        self, requests: Sequence[Request], sampling: Sampling, *, logprobs: bool
    ) -> Iterator[Batch]:
        asked = prompts(requests, self.chat)
        keys = [request_key(r, self.model_version, sampling, self.chat) for r in requests]
        order = sorted(range(len(requests)), key=lambda i: (len(asked[i]), keys[i]))
        full = [i for i in order if len(asked[i]) >= self._context]
        order = order[: len(order) - len(full)]
        for begin in range(0, len(order), self.batch_size):
            members = order[begin : begin + self.batch_size]
            started = time.perf_counter()
            answers = self._decode(
                [asked[i] for i in members], [keys[i] for i in members], sampling, logprobs
            )
            seconds = (time.perf_counter() - started) / len(members)
            texts = self.chat.tokenizer.batch_decode(
                [ids[:-1] if stopped else ids for ids, _, stopped in answers],
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
            ends = [cut(text, sampling.stop) for text in texts]
            yield [
                (
                    index,
                    Completion(
                        text=text,
                        token_ids=ids,
                        finish_reason="stop" if stopped or ended else "length",
                        prompt_tokens=len(asked[index]),
                        completion_tokens=len(ids),
                        logprobs=scores if logprobs else None,
                        seconds=seconds,
                        prompt_ids=asked[index],
                    ),
                )
                for index, (text, ended), (ids, scores, stopped) in zip(
                    members, ends, answers, strict=True
                )
            ]

        if full:
            none: list[float] | None = [] if logprobs else None
            yield [
                (i, Completion("", [], NO_ROOM, len(asked[i]), 0, none, 0.0, asked[i]))
                for i in full
            ]

    def stream(self, request: Request, sampling: Sampling) -> Iterator[int]:
        """The token ids of one completion as they are drawn, the stop token left out."""
        (prompt,) = prompts([request], self.chat)
        room = self._room(prompt, sampling)
        numbers = uniforms([request_key(request, self.model_version, sampling, self.chat)], room)
        for step in decode(self.model, [prompt], [room], numbers, sampling, self.stop):
            token = int(step.tokens[0])
            if token not in self.stop:
                yield token

    def _decode(
        self,
        prompts: Sequence[list[int]],
        keys: Sequence[bytes],
        sampling: Sampling,
        logprobs: bool,
    ) -> list[tuple[list[int], list[float], bool]]:
        """Token ids, log-probabilities and whether the stop token came, for each prompt."""
        limits = [self._room(prompt, sampling) for prompt in prompts]
        over = StopTexts(sampling.stop, self.chat.decode).over if sampling.stop else None
        numbers = uniforms(keys, max(limits))
        tokens = np.zeros(numbers.shape, dtype=np.int64)
        scores = np.zeros(numbers.shape, dtype=np.float32)
        lengths = np.zeros(len(prompts), dtype=np.int64)
        threads, training = torch.get_num_threads(), self.model.training
        self.model.eval()
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        try:
            steps = decode(
                self.model,
                prompts,
                limits,
                numbers,
                sampling,
                self.stop,
                logprobs=logprobs,
                over=over,
            )
            for index, step in enumerate(steps):
                tokens[step.rows, index] = step.tokens
                lengths[step.rows] = index + 1
                if step.logprobs is not None:
                    scores[step.rows, index] = step.logprobs
        finally:
            torch.set_num_threads(threads)
            self.model.train(training)
        answers = []
        for row, length in enumerate(lengths.tolist()):
            ids = tokens[row, :length].tolist()
            answers.append((ids, scores[row, :length].tolist(), ids[-1] in self.stop))
        return answers

    def _room(self, prompt: Sequence[int], sampling: Sampling) -> int:
        """New tokens a prompt may have: `max_new_tokens`, or what the model's context leaves."""
        if len(prompt) >= self._context:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens leaves no room in the model's context of "
                f"{self._context}: shorten the question or use a model with a longer context"
            )
        return min(sampling.max_new_tokens, self._context - len(prompt))

    @property
    def _context(self) -> int:
        return int(self.model.config.max_position_embeddings)
