"""What the report says, read from artifacts: sizes, architectures, scores along the line, data.

Plain values out; knows nothing of HTML.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.evaluation.compared import Compared, gathered
from assets.evaluation.page import published
from assets.evaluation.page.exhibits import Exhibit, exhibits
from assets.evaluation.page.recovered import Course, courses
from assets.evaluation.paired import change
from resources.pretrained.headers import header
from warehouse.store import Artifact

OVERALL = "overall"
MODES = ("on", "off")  # of thinking
Score = dict[str, Any]  # one row of a `benchmarks` table


@dataclass(frozen=True)
class Layer:
    """What a layer keeps of the parent's: shares in [0, …]; 0 is a no-op, above 1 is fused."""

    attention: float
    ffn: float
    attention_name: str
    ffn_name: str


@dataclass(frozen=True)
class Stage:
    """A checkpoint in a model's line, with its scores and how it compares to the one before.

    `change[mode]` is (difference of accuracy, half-width of its 95 % interval) over the same
    problems; None for the first stage. `scores` are empty where held-out problems did not measure;
    `stored` are the bytes of the weights on disk.
    """

    model: str
    key: str
    label: str
    parameters: int
    stored: int
    layers: list[Layer]
    scores: list[Score]
    change: dict[str, tuple[float, float]] | None

    def score(self, mode: str, benchmark: str = OVERALL, depth: int | None = None) -> Score:
        """The score of a benchmark in a mode at a depth (None: all depths)."""
        for row in self.scores:
            if (row["benchmark"], row["reasoning"], row["difficulty"]) == (benchmark, mode, depth):
                return row
        raise ValueError(f"{self.key} has no score for {benchmark}, thinking {mode}, depth {depth}")

    def depths(self) -> list[int]:
        """The depths that were measured."""
        return sorted({row["difficulty"] for row in self.scores} - {None})

    def worse(self, mode: str) -> str:
        """`worse`: accuracy fell by more than the interval; `lower`: by less; else empty."""
        if self.change is None:
            return ""
        change, half = self.change[mode]
        return "" if change >= 0 else "worse" if -change > half else "lower"


@dataclass
class Facts:
    """Everything the report shows.

    `given`: models whose parent is a user's own, so that its role is its name and not what it
    stands for; `self_distilled`: by source of the corpus, whose parent wrote it and how many
    prompts it answered; `declared`: scores on declared benchmarks, by the models of a parent;
    `padded`: models that only the padded form holds, which saves nothing.
    """

    family: str
    roles: dict[str, str]
    lines: dict[str, list[Stage]]
    teacher: Stage | None = None
    samples: list[tuple[str, str, int, float]] = field(default_factory=list)
    verdicts: dict[str, Counter[str]] = field(default_factory=dict)
    agreement: list[dict[str, Any]] = field(default_factory=list)  # rows of judge_agreement
    edited: list[dict[str, Any]] = field(default_factory=list)  # rows of feedback_edit_gain
    unjudged: bool = False  # programs were not run
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)
    pass_rates: list[float] = field(default_factory=list)
    discard_at: float = 1.0
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    puzzle: dict[str, list[Exhibit]] = field(default_factory=dict)
    compared: list[Compared] = field(default_factory=list)
    recovered: dict[str, dict[str, Course]] = field(default_factory=dict)
    self_distilled: dict[str, tuple[str, int]] = field(default_factory=dict)
    declared: dict[str, list[Score]] = field(default_factory=dict)
    padded: list[str] = field(default_factory=list)
    given: list[str] = field(default_factory=list)


def parameters(folder: Path) -> int:
    """Number of weights in a checkpoint folder, from the headers of its safetensors files."""
    total = sum(math.prod(tensor.shape) for file in _weights(folder) for tensor in header(file))
    if not total:
        raise ValueError(f"{folder} holds no safetensors weights")
    return total


def _weights(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.safetensors"))


def layers(folder: Path, parent: Path) -> list[Layer]:
    """Each layer's share of the parent's key-value heads and of its FFN width."""
    config = json.loads((folder / "config.json").read_text())
    whole = json.loads((parent / "config.json").read_text())
    heads = whole.get("num_key_value_heads") or whole["num_attention_heads"]
    width = whole["intermediate_size"]
    blocks = config.get("block_configs")
    if not blocks:
        full = Layer(1.0, 1.0, f"{heads} kv heads", f"width {width}")
        return [full] * config["num_hidden_layers"]
    found = []
    for block in blocks:
        attention, ffn = block["attention"], block["ffn"]
        kept_heads = attention.get("num_key_value_heads") or heads
        kept_width = ffn.get("intermediate_size") or width
        found.append(
            Layer(
                _share(attention["kind"], kept_heads / heads),
                _share(ffn["kind"], kept_width / width),
                attention["kind"] if attention["kind"] != "full" else f"{kept_heads} kv heads",
                ffn["kind"] if ffn["kind"] != "full" else f"width {kept_width}",
            )
        )
    return found


def _share(kind: str, kept: float) -> float:
    return {"noop": 0.0, "linear": 0.15}.get(kind, kept)


def only_padded(folder: Path) -> bool:
    """Whether a checkpoint leaves in no form but the padded one, which saves nothing."""
    from resources.models.errors import ExportError
    from resources.models.export.targets import PADDED, suited
    from resources.models.loading import read_config

    config = read_config(folder)
    try:
        form, _ = suited(config.to_dict(), str(config.dtype).removeprefix("torch."))
    except ExportError:
        return False
    return form.name == PADDED


def stage(
    model: str,
    label: str,
    checkpoint: Artifact,
    parent: Artifact,
    benchmarks: Artifact | None,
    before: Artifact | None,
) -> Stage:
    """A checkpoint's facts; `before` is the benchmarks artifact of the stage it came from."""
    compared = (before, benchmarks) if before is not None and benchmarks is not None else None
    return Stage(
        model,
        checkpoint.key,
        label,
        parameters(checkpoint.path()),
        sum(file.stat().st_size for file in _weights(checkpoint.path())),
        layers(checkpoint.path(), parent.path()),
        [] if benchmarks is None else benchmarks.table("benchmarks").to_pylist(),
        None if compared is None else {m: change(*compared, m) for m in MODES},
    )


def count_samples(artifacts: Sequence[Artifact]) -> list[tuple[str, str, int, float]]:
    """(domain, mode, rows, mean tokens) of SFT data, by domain and mode."""
    counts: dict[tuple[str, str], list[int]] = {}
    for artifact in artifacts:
        for row in artifact.table("sft_samples", ["domain", "reasoning", "tokens"]).to_pylist():
            counts.setdefault((row["domain"], row["reasoning"]), []).append(row["tokens"])
    return [
        (domain, mode, len(tokens), sum(tokens) / len(tokens))
        for (domain, mode), tokens in sorted(counts.items())
    ]


def count_dropped(artifacts: Sequence[Artifact]) -> Counter[tuple[str, str]]:
    """Dropped rows by (asset key, reason)."""
    found: Counter[tuple[str, str]] = Counter()
    for artifact in artifacts:
        if "dropped" in artifact.manifest["tables"]:
            for row in artifact.table("dropped", ["reason"]).to_pylist():
                found[artifact.key, row["reason"]] += 1
    return found


def reward_curve(checkpoint: Artifact) -> list[tuple[float, float]]:
    """(step, mean reward) of an RL checkpoint, from its rollouts."""
    rewards: dict[int, list[float]] = {}
    for row in checkpoint.table("rollouts", ["step", "reward"]).to_pylist():
        if row["reward"] is not None:
            rewards.setdefault(row["step"], []).append(row["reward"])
    return [(step, sum(values) / len(values)) for step, values in sorted(rewards.items())]


def gather(inputs: Mapping[str, Artifact], recipe: Mapping[str, Any]) -> Facts:
    """Collect the facts; `recipe["line"]` lists (model, artifact key, stage label) in order."""
    by_key = {artifact.key: artifact for artifact in inputs.values()}
    lines: dict[str, list[Stage]] = {}
    parents: dict[str, Artifact] = {}
    before: dict[str, Artifact | None] = {}
    for model, key, label in recipe["line"]:
        checkpoint, scores = by_key[key], by_key.get(f"{key}_benchmarks")
        parent = parents.setdefault(model, checkpoint)
        lines.setdefault(model, []).append(
            stage(model, label, checkpoint, parent, scores, before.get(model))
        )
        before[model] = scores
    facts = Facts(recipe["family"], dict(recipe["roles"]), lines)
    facts.given = list(recipe.get("given", []))
    teacher = recipe.get("teacher")
    if teacher:
        checkpoint = by_key[teacher]
        scores = by_key.get(f"{teacher}_benchmarks")
        facts.teacher = stage("teacher", "teacher", checkpoint, checkpoint, scores, None)
    data = [artifact for key, artifact in sorted(by_key.items()) if key.startswith("sft_data/")]
    facts.samples = count_samples([a for a in data if "sft_samples" in a.manifest["tables"]])
    facts.dropped = count_dropped([artifact for _, artifact in sorted(by_key.items())])
    for artifact in (a for a in data if "verdicts" in a.manifest["tables"]):
        column = artifact.table("verdicts", ["verdict"])["verdict"].to_pylist()
        facts.verdicts[artifact.key] = Counter(column)
        facts.unjudged |= artifact.manifest["recipe"].get("programs", "run") != "run"
    if "sft_data/judge_agreement" in by_key:
        facts.agreement = by_key["sft_data/judge_agreement"].table("judge_agreement").to_pylist()
    if "sft_data/feedback_edit_gain" in by_key:
        gain = by_key["sft_data/feedback_edit_gain"].table("feedback_edit_gain")
        facts.edited = gain.to_pylist()
    if "rl_data/pass_rates" in by_key:
        rates = by_key["rl_data/pass_rates"].table("pass_rates", ["pass_rate"])["pass_rate"]
        facts.discard_at = recipe["discard_at"]
        facts.pass_rates = [rate for rate in rates.to_pylist() if rate is not None]
    for _, key, _ in recipe["line"]:
        if "rollouts" in by_key[key].manifest["tables"]:
            facts.curves[key] = reward_curve(by_key[key])
    facts.puzzle = exhibits(by_key, lines)
    facts.padded = [
        model for model, line in lines.items() if only_padded(by_key[line[-1].key].path())
    ]
    facts.compared = gathered(by_key, {model: line[0].key for model, line in lines.items()})
    facts.recovered = courses(by_key, [key for _, key, _ in recipe["line"]])
    facts.declared = published.gathered(by_key, recipe["line"], recipe.get("declared", []))
    for name, (model, prompts) in recipe.get("self_distilled", {}).items():
        facts.self_distilled[name] = model, prompts
    return facts
