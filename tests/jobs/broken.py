"""Recipes that cannot be run, each with what `heirloom check` must say of it.

`python -m tests.jobs.broken` prints what it says of all of them.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

SOURCE = "license: mit, kind: conversations"
GOOD = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@dataclass(frozen=True)
class Broken:
    """A recipe over `smoke`, files beside it, and parts of the lines that must be printed."""

    name: str
    text: str
    said: tuple[str, ...]
    files: Mapping[str, str] = field(default_factory=dict)
    base: str = "heirloom/smoke"

    def write(self, folder: Path) -> Path:
        """Write it and its files; the path of the recipe."""
        for name, content in self.files.items():
            file = folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
        recipe = folder / "mine.yaml"
        recipe.write_text(f"extends: {self.base}\n{self.text}")
        return recipe


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def config(**values: object) -> str:
    return json.dumps({"vocab_size": 128, "hidden_size": 64, "num_attention_heads": 2} | values)


BROKEN = (
    Broken(
        "many slips at once",
        "seeed: 1\nmodels: {super: {rloo: {steps: many, stepps: 2}}}\n",
        ("mine.yaml:2: seeed: unknown key", "did you mean 'seed'?",
         "mine.yaml:3: models.super.rloo.stepps", "models.super.rloo.steps: must be a whole number",
         "3 to mend"),
    ),
    Broken("no YAML", "models: {super: [\n", ("mine.yaml:3: column 1: not valid YAML",)),
    Broken("a key twice", "seed: 1\nseed: 2\n", ("mine.yaml:3: key 'seed' stands twice",)),
    Broken(
        "an amount that is none",
        "models: {super: {distillation: {tokens: 4Q}}}\n",
        ("models.super.distillation.tokens: must be a whole number", "found '4Q'"),
    ),
    Broken(
        "a domain without data",
        "sft_data: {tools: null}\n",
        ("models.nano.sft", "no SFT data for domain 'tools'"),
    ),
    Broken(
        "a domain without samples that the stage reads",
        "sft_data: {math: {samples_on: 0}}\n",
        ("models.nano.sft[0].domains.math: sft_data.math makes no samples of the stage's reasoning",
         "(samples_on 0); sample some, or leave the domain out"),
    ),
    Broken(
        "a setting that every section says itself",
        "optimizer: {learning_rate: 1e-4}\n",
        ("mine.yaml:2: optimizer.learning_rate: every section says its own, which goes before it",
         "reward_model.learning_rate (heirloom/"),
    ),
    Broken(
        "benchmarks under names that are nearly those of the package",
        "benchmarks: {gsm: {}, Math-500: {limit: 9}, mmlu: null}\n",
        ("mine.yaml:2: benchmarks.gsm: no bundled benchmark 'gsm'; did you mean 'gsm8k'?",
         "no bundled benchmark 'Math-500'; did you mean 'math_500'? Or write {path: …, fields: …",
         "benchmarks.mmlu: must be a section of keys, found null; write mmlu: {}"),
    ),
    Broken(
        "benchmarks as a list",
        "benchmarks: [gsm8k, mmlu]\n",
        ("found ['gsm8k', 'mmlu']; write {gsm8k: {}, mmlu: {}}",),
    ),
    Broken(
        "a parent that is not there",
        "models: {super: {parent: ./absent}}\n",
        ("mine.yaml:2: models.super.parent", "absent"),
    ),
    Broken(
        "a parent of an unknown family",
        "models: {super: {parent: ./parent}}\n",
        ("mine.yaml:2: models.super.parent", "mixtral"),
        {"parent/config.json": config(model_type="mixtral", num_local_experts=8)},
    ),
    Broken(
        "a parent with code of its own",
        "models: {super: {parent: ./parent}}\n",
        ("mine.yaml:2: models.super.parent", "code"),
        {"parent/config.json": config(model_type="llama", auto_map={"AutoModel": "x.Y"})},
    ),
    Broken(
        "a teacher of another chat",
        "models: {super: {distillation: {teacher: org/other}}}\n",
        ("mine.yaml:2: models.super.distillation.teacher: 'org/other' cannot teach here",
         "compares logits token by token", "its own parent, 'live' or 'cached'", "by SFT"),
    ),
    Broken(
        "a source that is not there",
        f"sources: {{c: {{{SOURCE}, path: ./none.jsonl}}}}\n",
        ("mine.yaml:2: sources.c", "none.jsonl"),
    ),
    Broken(
        "a glob that matches nothing",
        f'sources: {{c: {{{SOURCE}, path: "./data/*.jsonl"}}}}\n',
        ("mine.yaml:2: sources.c", "no file matches; there is no folder"),
    ),
    Broken(
        "a source that lies beside",
        f"sources: {{c: {{{SOURCE}, path: ./chat.jsonl}}}}\n",
        ("chat.jsonl: no such file or folder; did you mean chats.jsonl?",),
        {"chats.jsonl": lines(GOOD)},
    ),
    Broken(
        "a folder without data",
        f"sources: {{c: {{{SOURCE}, path: ./data}}}}\n",
        ("no file of a known format in the folder;", "data holds a.bin, b.bin"),
        {"data/a.bin": "", "data/b.bin": ""},
    ),
    Broken(
        "a file that is not compressed as it says",
        f"sources: {{c: {{{SOURCE}, path: ./c.jsonl.gz}}}}\n",
        ("mine.yaml:2: sources.c", "c.jsonl.gz: cannot be read to its end"),
        {"c.jsonl.gz": lines(GOOD)},
    ),
    Broken(
        "a file that is not of its format",
        f"sources: {{c: {{{SOURCE}, path: ./c.jsonl, format: parquet}}}}\n",
        ("mine.yaml:2: sources.c", "not readable Parquet", "; give a file of format parquet"),
        {"c.jsonl": lines(GOOD)},
    ),
    Broken(
        "rows that are no JSON",
        f"sources: {{c: {{{SOURCE}, path: ./c.jsonl}}}}\n",
        ("none of the 1 rows", "c.jsonl, line 1: not JSON"),
        {"c.jsonl": '{"messages": \n'},
    ),
    Broken(
        "a column that is absent",
        f"sources: {{c: {{{SOURCE}, path: ./c.jsonl, fields: {{messages: turns}}}}}}\n",
        ("mine.yaml:2: sources.c: none of the 1 rows", "turns: no such field; there are messages"),
        {"c.jsonl": lines(GOOD)},
    ),
    Broken(
        "rows that are no conversations",
        f"sources: {{c: {{{SOURCE}, path: ./c.jsonl}}}}\n",
        ("2 of the 4 rows", "more than max_drop 1%", "line 2"),
        {"c.jsonl": lines(GOOD, {"messages": "a"}, GOOD, {"messages": [{"role": "user"}]})},
    ),
    Broken(
        "a source that nothing draws from",
        f"sources: {{c: {{{SOURCE}, path: ./c.jsonl}}}}\n",
        ("used by nothing: 1 to mend", "mine.yaml:2: sources.c: no stage draws from it"),
        {"c.jsonl": lines(GOOD)},
    ),
    Broken(
        "questions declared as they once were",
        "problems:\n  math:\n    extra_sources:\n"
        "      - {format: jsonl, path: ./q.jsonl, license: mit, fields: {question: q}}\n",
        ("problems.math", "declare each under `sources`", "kind: problems"),
    ),
    Broken(
        "what comes with the next release",
        "sources: {p: {kind: conversations, path: ./p.jsonl, license: mit, verifier: math}}\n",
        ("not in this build: 1 to mend", "mine.yaml:2: sources.p"),
        {"p.jsonl": "{}\n"},
    ),
    Broken(
        "an engine that there is not",
        "execution: {engine: sglang}\n",
        ("mine.yaml:2: execution.engine: must be 'transformers', 'vllm' or 'replay'",),
    ),
    Broken(
        "settings of another engine",
        "execution: {tensor_parallel: 4}\n",
        ("execution.tensor_parallel: the engine vllm alone reads it",),
    ),
    Broken(
        "roles that cannot be",
        "roles:\n"
        "  evaluation: {model: m, engine: {openai: 'http://h/v1'}}\n"
        "  off: {model: m, engine: embedded}\n",
        ("mine.yaml:3: roles.evaluation.engine: what answers here is a checkpoint",
         "mine.yaml:4: roles.off.model: leave it out: off_generator names the checkpoint"),
    ),
    Broken(
        "a key in an address",
        "roles: {teacher: {model: m, engine: {openai: 'http://me:secret@h/v1'}}}\n",
        ("mine.yaml:2: roles.teacher.engine", "an address holds no key"),
    ),
    Broken(
        "a judge without an engine",
        "roles: {judge: {model: m}}\n",
        ("mine.yaml:2: roles.judge.engine: missing key 'engine'; add `engine: …` ({openai: URL}, "
         "or embedded or {vllm: {}} for a checkpoint)",),
    ),
    Broken(
        "an engine of no kind",
        "roles: {teacher: {model: m, engine: remote}}\n",
        ("mine.yaml:2: roles.teacher.engine: no engine 'remote'; write embedded, replay, ",),
    ),
    Broken(
        "arithmetic that the device does not have",
        "generation: {dtype: tf32}\nmodels:\n  super:\n    puzzle: {dtype: tf32}\n",
        ("mine.yaml:2: generation.dtype: tf32 is arithmetic of GPUs, the device is cpu",
         "mine.yaml:5: models.super.puzzle.dtype: tf32", "take float32 or bfloat16",
         "engines: 2 to mend"),
    ),
    Broken(
        "ranks that share more than train",
        "execution: {ranks: 2, sequence_parallel: 4}\n",
        ("mine.yaml:2: execution.sequence_parallel: 4 ranks are to share each micro-batch, and 2",
         "write 1 or 2, or a multiple of it as execution.ranks"),
    ),
    Broken(
        "ranks that share more heads than there are",
        "execution: {ranks: 4, sequence_parallel: 4}\n",
        ("execution.sequence_parallel: 4 ranks share whole heads, and super, the parent of super,",
         "write a number that divides 2"),
    ),
    Broken(
        "text longer than the parent reads",
        "sources: {c: {kind: text, path: 'python:docstrings', license: psf-2.0}}\n"
        "corpus: {mix: {c: 1}, tokens: 1K}\nside_by_side: {tokens: 9K, sequence_length: 4K}\n",
        ("mine.yaml:4: side_by_side.sequence_length: 4,000 tokens, and super reads 1,024",),
    ),
    Broken(
        "fewer heads than divide",
        "models: {super: {puzzle: {library: {attention: [full, kv_3, noop]}}}}\n",
        ("models.super.puzzle.library.attention: attention variant 'kv_3'",
         "it can be full, kv_1, linear, noop"),
    ),
    Broken(
        "a plan for more devices than are started",
        "execution:\n  hardware:\n"
        "    {name: H100, devices: 8, memory_bytes: 80B, flops: 1e15, mfu: 0.4}\n",
        ("mine.yaml:4: execution.hardware.devices: 8 devices are planned for", "started: 1"),
    ),
    Broken(
        "questions that are not there",
        "sources:\n"
        "  mine: {kind: problems, path: ./q.jsonl, verifier: math, license: mit, "
        "fields: {question: q}}\n",
        ("mine.yaml:3: sources.mine", "q.jsonl"),
    ),
    Broken(
        "questions in another column",
        "sources:\n"
        "  mine: {kind: problems, path: ./q.jsonl, verifier: math, license: mit, "
        "fields: {question: q}}\n",
        ("mine.yaml:3: sources.mine", "q.jsonl"),
        {"q.jsonl": lines({"question": "2 + 2?"})},
    ),
    Broken(
        "a section that no stage reads",
        "models: {ultra: null, super: null, nano: {preference: null}}\n"
        "reward_model: {base: nano, artifact: parent}\noff_generator: teacher\n",
        ("used by nothing: 1 to mend", "mine.yaml:3: reward_model: no model has preference"),
    ),
    Broken(
        "sequences beyond the parent's context",
        "models:\n  super:\n    distillation:\n      sequence_length: 65536\n"
        "      batch_tokens: 65536\n",
        ("models.super.distillation.sequence_length: 65,536 tokens, and",
         "(its max_position_embeddings)"),
    ),
    Broken(
        "thinking asked of sources alone",
        "sources: {c: {kind: conversations, path: ./c.jsonl, license: mit}}\n"
        "models:\n  super:\n    sft:\n"
        "      - {name: sft, mix: {c: 1}, reasoning: [\"off\"], samples: 2, packed: true,\n"
        "         epochs: 1, batch_tokens: 1024, sequence_length: 256, learning_rate: 1e-3,\n"
        "         min_learning_rate: 1e-4}\n",
        ("reasoning says how domains are answered, and 'mix' has sources alone: leave it out",),
        {"c.jsonl": lines(GOOD)},
    ),
    Broken(
        "a base that extends itself",
        "",
        ("extends: a circle",),
        {"base.yaml": "extends: ./mine.yaml\n"},
        base="./base.yaml",
    ),
)  # fmt: skip


def main() -> int:
    """Print what `heirloom check` says of each."""
    from jobs import cli

    for broken in BROKEN:
        print(f"\n== {broken.name}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            recipe = broken.write(Path(folder))
            cli.main(["check", str(recipe), "--offline"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
