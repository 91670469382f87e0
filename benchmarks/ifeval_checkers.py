"""Our IFEval checkers against lm-eval's, on given texts: no model is asked.

    python benchmarks/ifeval_checkers.py DATA

Each prompt is judged on texts that were written for other prompts, dressed so that instructions
come out both ways: the checkers are compared, not a model. Prompts whose instructions need a
splitter that nltk downloads are left out. Needs lm-eval 0.4.13, which is no dependency.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from resources.verifiers.instructions import verify

SPLITTERS = {"length_constraints:number_sentences", "change_case:capital_word_frequency"}
TEXTS = ("alpaca_eval/gpt4_1106_preview.json", "alpaca_eval/alpaca-7b.json")
DRESSES = (
    lambda text: text,
    str.lower,
    str.upper,
    lambda text: text.replace(",", ""),
    lambda text: f'"{text}"',
    lambda text: f"<<T>>\n{text}\nP.S. *a* *b* *c* [x] [y]",
    lambda text: text[:60],
)


def pairs(data: Path, each: int) -> Iterator[tuple[dict[str, Any], str]]:
    """Prompts of IFEval, each with so many texts, the same ones every time."""
    texts = [row["output"] for file in TEXTS for row in json.loads((data / file).read_text())]
    drawn = random.Random(0)
    for line in (data / "ifeval/input_data.jsonl").read_text().splitlines():
        row = json.loads(line)
        if not SPLITTERS & set(row["instruction_id_list"]):
            for _ in range(each):
                text = drawn.choice(DRESSES)(drawn.choice(texts))
                yield row, drawn.choice([text, f"{row['prompt']}\n{text}"])


def main() -> None:
    """Print how many verdicts are equal, and every one that is not."""
    import langdetect
    import nltk

    nltk.download = lambda *_, **__: True  # its checkers fetch a splitter when they are imported
    langdetect.DetectorFactory.seed = 0
    from lm_eval.tasks.ifeval.utils import InputExample, test_instruction_following_strict

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--texts", type=int, default=2, help="texts a prompt")
    given = parser.parse_args()
    prompts = equal_prompts = followed = single = equal_single = 0
    for row, text in pairs(given.data, given.texts):
        names, kwargs, prompt = row["instruction_id_list"], row["kwargs"], row["prompt"]
        example = InputExample(row["key"], names, prompt, kwargs)
        theirs = test_instruction_following_strict(example, text).follow_instruction_list
        ours = verify(text, names, kwargs, prompt=prompt)
        prompts += 1
        followed += all(theirs)
        equal_prompts += all(theirs) == all(ours)
        for name, arguments, a, b in zip(names, kwargs, theirs, ours, strict=True):
            single += 1
            equal_single += a == b
            if a != b:
                print(f"{row['key']} {name} {arguments}: lm-eval {a}, ours {b}: {text[:100]!r}")
    print(f"{equal_prompts}/{prompts} verdicts on prompts equal ({followed} followed by lm-eval)")
    print(f"{equal_single}/{single} verdicts on instructions equal")


if __name__ == "__main__":
    main()
