"""What lm-eval says of a checkpoint against what we say, on the same local files.

    python benchmarks/against_lm_eval.py MODEL DATA [--only gsm8k mmlu ifeval] [--problems N]

One task of each kind: GSM8K (generate, five worked examples, plain), MMLU (log-likelihood of four
letters), IFEval (generate, chat). Prints the scores, the shares of equal raw texts and of equal
verdicts, and every disagreement. Needs lm-eval 0.4.13, which is no dependency of the project.
IFEval's prompts whose instructions need a sentence or word splitter that nltk downloads are left
out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resources.benchmarks.answers import Asked, Subject
from resources.benchmarks.methods import method
from resources.benchmarks.problems import examples, problems, where
from resources.execution import Execution
from resources.recipe.declared import bundled
from resources.recipe.sections.benchmark import Benchmark
from resources.recipe.tree import plain

SPLITTERS = ("length_constraints:number_sentences", "change_case:capital_word_frequency")
GSM8K = """task: gsm8k_local
dataset_path: json
dataset_kwargs: {{data_files: {{test: {test}, train: {train}}}}}
output_type: generate_until
fewshot_split: train
test_split: test
doc_to_text: "Question: {{{{question}}}}\\nAnswer:"
doc_to_target: "{{{{answer}}}}"
num_fewshot: 5
fewshot_config: {{sampler: first_n}}
generation_kwargs: {{until: ["Question:", "</s>", "<|im_end|>"], do_sample: false, \
temperature: 0.0, max_gen_toks: {tokens}}}
metric_list:
  - {{metric: exact_match, aggregation: mean, higher_is_better: true, ignore_case: true, \
regexes_to_ignore: [",", "\\\\$", "(?s).*#### ", "\\\\.$"]}}
filter_list:
  - name: flexible-extract
    filter:
      - {{function: regex, group_select: -1, regex_pattern: "(-?[$0-9.,]{{2,}})|(-?[0-9]+)"}}
      - function: take_first
"""
MMLU = """task: mmlu_local
dataset_path: json
dataset_kwargs: {{data_files: {{test: {test}}}}}
output_type: multiple_choice
test_split: test
doc_to_text: "{{{{question.strip()}}}}\\nA. {{{{choices[0]}}}}\\nB. {{{{choices[1]}}}}\\nC. \
{{{{choices[2]}}}}\\nD. {{{{choices[3]}}}}\\nAnswer:"
doc_to_choice: ["A", "B", "C", "D"]
doc_to_target: answer
metric_list: [{{metric: acc, aggregation: mean, higher_is_better: true}}]
"""
IFEVAL = """task: ifeval_local
dataset_path: json
dataset_kwargs: {{data_files: {{test: {test}}}}}
output_type: generate_until
test_split: test
doc_to_text: prompt
doc_to_target: 0
generation_kwargs: {{until: [], do_sample: false, temperature: 0.0, max_gen_toks: {tokens}}}
process_results: !function checkers.process_results
metric_list: [{{metric: prompt_level_strict_acc, aggregation: mean, higher_is_better: true}}]
"""
CHECKERS = """from lm_eval.tasks.ifeval.utils import process_results as scored


def process_results(doc, results):
    return {"prompt_level_strict_acc": scored(doc, results)["prompt_level_strict_acc"]}
"""


@dataclass(frozen=True)
class Comparison:
    """A task on both sides: lm-eval's task file, its metric, ours, and where the data lie."""

    name: str
    task: str
    metric: str
    files: dict[str, str]
    tokens: int = 0


@dataclass(frozen=True)
class Result:
    """One problem on one side: the raw text (of choices: the log-likelihoods) and the verdict."""

    raw: Any
    correct: bool


COMPARISONS = (
    Comparison(
        "gsm8k",
        GSM8K,
        "exact_match",
        {"test": "gsm8k/test.jsonl", "train": "gsm8k/train.jsonl"},
        256,
    ),
    Comparison("mmlu", MMLU, "acc", {"test": "mmlu_stem/test.jsonl"}),
    Comparison(
        "ifeval", IFEVAL, "prompt_level_strict_acc", {"test": "ifeval/input_data.jsonl"}, 300
    ),
)


def main() -> None:
    """Compare on each task and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--only", nargs="+", default=[each.name for each in COMPARISONS])
    parser.add_argument("--problems", type=int, default=30)
    parser.add_argument("--tokens", type=int, help="new tokens at most, for both")
    parser.add_argument("--batch", type=int, default=8, help="problems at a time, on both sides")
    given = parser.parse_args()
    for each in COMPARISONS:
        if each.name in given.only:
            with tempfile.TemporaryDirectory() as scratch:
                compare(each, given, Path(scratch))


def compare(one: Comparison, given: argparse.Namespace, scratch: Path) -> None:
    """One task on both sides."""
    files = {key: (given.data / file).resolve() for key, file in one.files.items()}
    if one.name == "ifeval":
        files["test"] = without_splitters(files["test"], scratch)
    tokens = given.tokens or one.tokens
    started = time.perf_counter()
    theirs = list(lm_eval_results(one, files, given, tokens, scratch))
    between = time.perf_counter()
    ours = list(our_results(one, files, given, tokens, scratch))
    ended = time.perf_counter()
    assert len(theirs) == len(ours)
    show(one, theirs, ours)
    print(f"  seconds: lm-eval {between - started:.0f}, ours {ended - between:.0f}", flush=True)


def without_splitters(file: Path, scratch: Path) -> Path:
    """The prompts that need no splitter which is not at hand."""
    kept = [
        line
        for line in file.read_text().splitlines()
        if not set(json.loads(line)["instruction_id_list"]) & set(SPLITTERS)
    ]
    made = scratch / "ifeval.jsonl"
    made.write_text("\n".join(kept) + "\n")
    return made


def lm_eval_results(
    one: Comparison, files: dict[str, Path], given: argparse.Namespace, tokens: int, scratch: Path
) -> Iterator[Result]:
    """What lm-eval logs of each problem."""
    import langdetect
    import nltk
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM
    from lm_eval.tasks import TaskManager

    nltk.download = lambda *_, **__: True  # its checkers fetch a splitter when they are imported
    langdetect.DetectorFactory.seed = 0
    folder = scratch / "tasks"
    folder.mkdir()
    (folder / f"{one.name}.yaml").write_text(one.task.format(tokens=tokens, **files))
    (folder / "checkers.py").write_text(CHECKERS)
    found = simple_evaluate(
        model=HFLM(
            pretrained=str(given.model), dtype="float32", device="cpu", batch_size=given.batch
        ),
        tasks=[f"{one.name}_local"],
        task_manager=TaskManager(include_path=str(folder), include_defaults=False),
        limit=given.problems,
        apply_chat_template=one.name == "ifeval",
        bootstrap_iters=0,
        cache_requests=False,
    )
    for sample in sorted(found["samples"][f"{one.name}_local"], key=lambda each: each["doc_id"]):
        raw: Any = sample["resps"][0][0]
        if one.name == "mmlu":
            raw = [float(each[0][0]) for each in sample["resps"]]
        yield Result(raw, bool(sample[one.metric]))


def our_results(
    one: Comparison, files: dict[str, Path], given: argparse.Namespace, tokens: int, scratch: Path
) -> Iterator[Result]:
    """What we say of each problem."""
    said = plain(bundled(one.name)) | {"path": str(files["test"]), "limit": given.problems}
    if "train" in files:
        said["few_shot"]["path"] = str(files["train"])
    if tokens:
        said["max_new_tokens"] = tokens
    benchmark = Benchmark.model_validate(said)
    found, shown = where(benchmark, Path(), scratch)
    table, _ = problems(one.name, benchmark, found)
    shots = examples(one.name, benchmark, shown).to_pylist()
    execution = Execution(generation_batch=given.batch)
    asked = Asked(table.to_pylist(), shots, benchmark)
    subject = Subject(given.model, "compared", execution)
    for each in method(benchmark.method).answer(subject, asked, 0):
        yield Result(each.numbers.get("logprobs", each.response), each.verdict == "correct")


def same(left: Any, right: Any) -> bool:
    """Whether two raw results are equal: texts exactly, log-likelihoods to 1e-3 nats."""
    if isinstance(left, str):
        return bool(left == right)
    return all(abs(a - b) < 1e-3 for a, b in zip(left, right, strict=True))


def show(one: Comparison, theirs: list[Result], ours: list[Result]) -> None:
    """Scores, shares that are equal, and every problem where they are not."""
    pairs = list(zip(theirs, ours, strict=True))
    count = len(pairs)
    raw = sum(same(a.raw, b.raw) for a, b in pairs)
    verdicts = sum(a.correct == b.correct for a, b in pairs)
    score = [100 * sum(each.correct for each in side) / count for side in (theirs, ours)]
    print(f"{one.name}: {count} problems; lm-eval {score[0]:.1f} %, ours {score[1]:.1f} %")
    print(f"  equal raw results {raw}/{count}, equal verdicts {verdicts}/{count}")
    for number, (a, b) in enumerate(pairs):
        if same(a.raw, b.raw) and a.correct == b.correct:
            continue
        print(f"  problem {number}: lm-eval {a.correct}, ours {b.correct}")
        print(f"    lm-eval {shortened(a.raw, b.raw)!r}\n    ours    {shortened(b.raw, a.raw)!r}")


def shortened(raw: Any, other: Any) -> Any:
    """A text from shortly before where it differs from the other."""
    if not isinstance(raw, str):
        return raw
    place = next((i for i, (a, b) in enumerate(zip(raw, other, strict=False)) if a != b), 0)
    return raw[max(0, place - 30) : place + 120]


if __name__ == "__main__":
    main()
