"""Every loss this project minimises, as a pure function of tensors.

Nothing here knows models, recipes or optimizers. Each loss is a sum of per-token (or per-sequence)
terms divided by a *global* total that the caller counts over the whole optimizer step, so cutting
a step into micro-batches cannot change the number: the losses of the micro-batches add up to the
loss of the step, and so does every metric. Symbols: B sequences, T tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

IGNORE = -100
ADVANTAGE_METHODS = ("grpo", "rloo", "dr_grpo")


@dataclass(frozen=True)
class Loss:
    """A scalar to minimise and detached scalars to log.

    Both are terms of a global mean: added over the micro-batches of a step they give its value.
    """

    loss: Tensor
    metrics: dict[str, Tensor] = field(default_factory=dict)


def combine(*terms: tuple[float, Loss]) -> Loss:
    """Σ weight · loss over `(weight, loss)` pairs, with the metrics of all of them.

    A term of weight 0 is measured and adds nothing to the loss or the gradient.
    """
    counted = [weight * term.loss for weight, term in terms if weight]
    total = counted[0] if counted else torch.zeros(())
    for each in counted[1:]:
        total = total + each
    metrics: dict[str, Tensor] = {}
    for _, term in terms:
        metrics |= term.metrics
    return Loss(total, metrics)


def _choose(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} is {value!r}; it must be one of {', '.join(allowed)}")


def token_logprobs(logits: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    """log softmax(logits / temperature) at the labels: `[B,T,V]`, `[B,T]` -> `[B,T]` float32.

    Labels are already shifted (`labels[t]` is the token after position t). Ignored ones give 0.
    """
    scaled = logits.float().flatten(0, -2)
    if temperature != 1.0:
        scaled = scaled / temperature
    flat = F.cross_entropy(scaled, labels.flatten(), reduction="none", ignore_index=IGNORE)
    return -flat.view(labels.shape)


def cross_entropy(logits: Tensor, labels: Tensor, weights: Tensor, total: float) -> Loss:
    """Token cross-entropy, `sum_t w_t * -log p(label_t) / total`, in nats.

    `logits [B,T,V]`; `labels [B,T]` already shifted, -100 ignored; `weights [B,T]`; `total` the sum
    of weights over the whole step. Metrics: `cross_entropy`, `accuracy` (greedy, per token).
    """
    terms = -token_logprobs(logits, labels) * weights
    loss = terms.sum() / total
    with torch.no_grad():
        hits = (logits.argmax(-1) == labels) * weights
        accuracy = hits.sum() / total
    return Loss(loss, {"cross_entropy": loss.detach(), "accuracy": accuracy})


def distillation(
    student_logits: Tensor,
    teacher_logits: Tensor,
    weights: Tensor,
    total: float,
    temperature: float = 1.0,
    direction: str = "forward",
) -> Loss:
    """Divergence between teacher p and student q at a temperature, in nats, times temperature².

    `forward` is KL(p||q) = sum p (log p - log q), the true divergence, teacher entropy included;
    `reverse` is KL(q||p); `symmetric` is the mean of both. Logits `[B,T,V]`, `weights [B,T]`.
    The factor T² keeps gradients comparable between temperatures (Hinton et al. 2015, §2.1).
    Metrics: `kl_<direction>`, `teacher_entropy` (kl_forward + teacher_entropy = cross-entropy) and
    `agreement`, the share of tokens where both have the same most likely token.
    """
    _choose("direction", direction, ("forward", "reverse", "symmetric"))
    if temperature <= 0:
        raise ValueError(f"distillation temperature is {temperature}; it must be positive")
    log_q = F.log_softmax(student_logits.float() / temperature, dim=-1)
    with torch.no_grad():
        log_p = F.log_softmax(teacher_logits.float() / temperature, dim=-1)
        entropy = -(log_p.exp() * log_p).sum(-1)
        agreement = (student_logits.argmax(-1) == teacher_logits.argmax(-1)).float()

    divergence = torch.zeros_like(entropy)
    if direction != "reverse":
        divergence = divergence + F.kl_div(log_q, log_p, reduction="none", log_target=True).sum(-1)
    if direction != "forward":
        divergence = divergence + F.kl_div(log_p, log_q, reduction="none", log_target=True).sum(-1)
    if direction == "symmetric":
        divergence = divergence / 2

    def mean(terms: Tensor) -> Tensor:
        return (terms * weights).sum() / total

    kl = mean(divergence)
    metrics = {
        f"kl_{direction}": kl.detach(),
        "teacher_entropy": mean(entropy),
        "agreement": mean(agreement),
    }
    return Loss(kl * temperature**2, metrics)


def hidden_cosine(student: Tensor, teacher: Tensor, weights: Tensor, total: float) -> Loss:
    """Mean of 1 - cos(student, teacher) over tokens; hidden states `[B,T,H]`, `weights [B,T]`."""
    distance = 1 - F.cosine_similarity(student.float(), teacher.float().detach(), dim=-1)
    loss = (distance * weights).sum() / total
    return Loss(loss, {"hidden_cosine_distance": loss.detach()})


def advantages(
    rewards: Tensor, groups: Tensor, method: str = "grpo", epsilon: float = 1e-6
) -> Tensor:
    """How much better each response is than its group: `rewards [N]`, `groups [N]` ids -> `[N]`.

    `grpo`    (r - mean) / (std + epsilon), unbiased std; 0 where a group's rewards are all equal
              (Shao et al. 2024, §4.1.2);
    `dr_grpo` r - mean (Liu et al. 2025, §3.2);
    `rloo`    r - mean of the others = G/(G-1) (r - mean) (Ahmadian et al. 2024, eq. 7).
    Raises ValueError when a group has a single member: it has no baseline.
    """
    _choose("method", method, ADVANTAGE_METHODS)
    _, index, sizes = torch.unique(groups, return_inverse=True, return_counts=True)
    if rewards.numel() and int(sizes.min()) < 2:
        raise ValueError(
            f"{int((sizes < 2).sum())} of {len(sizes)} groups have one response; "
            "an advantage needs at least two responses to the same prompt"
        )
    rewards = rewards.double()
    count = sizes.double()
    zeros = torch.zeros(len(sizes), dtype=torch.float64, device=rewards.device)
    centred = rewards - (zeros.index_add(0, index, rewards) / count)[index]
    if method == "rloo":
        centred = centred * (count / (count - 1))[index]
    if method == "grpo":
        variance = zeros.index_add(0, index, centred**2) / (count - 1)
        centred = centred / (variance.sqrt()[index] + epsilon)
    return centred.float()


def _k3(difference: Tensor) -> Tensor:
    """An estimate of KL(pi ‖ pi_ref) from d = log pi_ref - log pi that is never negative."""
    return difference.exp() - difference - 1


def policy(
    logprobs: Tensor,
    old_logprobs: Tensor,
    advantages: Tensor,
    mask: Tensor,
    total: float,
    *,
    clip: tuple[float, float] = (0.2, 0.2),
    reference_logprobs: Tensor | None = None,
    beta: float = 0.0,
    aggregation: str = "sequence",
    engine_logprobs: Tensor | None = None,
    engine_cap: float = 2.0,
) -> Loss:
    """Clipped policy gradient with a KL penalty: the GRPO and RLOO update.

    Per token: -w min(rho A, clip(rho, 1 - lo, 1 + hi) A) + beta k3, where rho = pi / pi_old,
    k3 = e^d - d - 1 with d = log pi_ref - log pi, and w = min(pi_old / pi_engine, engine_cap)
    corrects for an engine whose log-probabilities differ from the trainer's (truncated importance
    sampling; 1 when `engine_logprobs` is not given).

    All log-probabilities and `mask` are `[B,T]`; `advantages` is `[B]` or `[B,T]`. Aggregation:
    `sequence` sums the token means of the sequences and divides by `total` = sequences in the step
    (GRPO); `token` sums all tokens and divides by `total`: tokens in the step (DAPO), sequences
    times maximal length (Dr. GRPO), or sequences (RLOO: the log-probability of a whole response).
    Metrics: `policy_loss`, `kl` (k3, when a reference is given), `clip_fraction`, `ratio`, and with
    engine log-probabilities `engine_error` = mean |log pi_old - log pi_engine|.
    """
    _choose("aggregation", aggregation, ("sequence", "token"))
    if beta and reference_logprobs is None:
        raise ValueError(f"beta is {beta}, so policy() needs reference_logprobs for the KL term")
    if advantages.dim() == 1:
        advantages = advantages[:, None]
    mask = mask.to(logprobs.dtype)
    lengths = mask.sum(-1, keepdim=True).clamp(min=1) if aggregation == "sequence" else 1.0

    def aggregate(terms: Tensor) -> Tensor:
        return (terms * mask / lengths).sum() / total

    # Padding may hold anything: zero the differences there so that exp() cannot overflow.
    inside = mask.bool()
    ratio = (logprobs - old_logprobs).masked_fill(~inside, 0.0).exp()
    clipped = ratio.clamp(1 - clip[0], 1 + clip[1])
    surrogate = torch.minimum(ratio * advantages, clipped * advantages)
    metrics: dict[str, Tensor] = {}
    if engine_logprobs is not None:
        mismatch = (old_logprobs - engine_logprobs).detach().masked_fill(~inside, 0.0)
        surrogate = surrogate * mismatch.exp().clamp(max=engine_cap)
        metrics["engine_error"] = aggregate(mismatch.abs())
    loss = aggregate(-surrogate)
    metrics["policy_loss"] = loss.detach()
    if reference_logprobs is not None:
        kl = aggregate(_k3((reference_logprobs - logprobs).masked_fill(~inside, 0.0)))
        metrics["kl"] = kl.detach()
        loss = loss + beta * kl if beta else loss
    with torch.no_grad():
        cut = ((ratio * advantages) > (clipped * advantages)).to(mask.dtype)
        metrics["clip_fraction"] = aggregate(cut)
        metrics["ratio"] = aggregate(ratio)
    return Loss(loss, metrics)


def rpo(
    chosen: Tensor,
    rejected: Tensor,
    chosen_reference: Tensor,
    rejected_reference: Tensor,
    chosen_reward: Tensor,
    rejected_reward: Tensor,
    *,
    beta: float,
    eta: float,
    form: str = "backward",
    total: float | None = None,
) -> Loss:
    """Reward-aware preference optimisation (arXiv 2406.11704 §3.3.2; arXiv 2505.00949 §6.2).

    With a = beta ((chosen - chosen_reference) - (rejected - rejected_reference)) and
    b = eta (chosen_reward - rejected_reward):
    `backward` KL(Bern(sigmoid b) || Bern(sigmoid a)), `forward` the same with arguments swapped,
    `squared` (a - b)². Sequence log-probabilities and rewards are `[B]`; `total` is the number of
    pairs in the step (default B). A tiny beta scales the gradient: Adam undoes that, its epsilon
    and the weight decay do not, so the caller may divide the loss by beta.
    Metrics: `rpo_loss`, `margin` (a / beta), `reward_gap` (b / eta), `preference_accuracy`.
    """
    _choose("form", form, ("backward", "forward", "squared"))
    if beta <= 0:
        raise ValueError(f"rpo needs a positive beta, got {beta}")
    total = float(chosen.numel()) if total is None else total
    margin = (chosen - chosen_reference) - (rejected - rejected_reference)
    gap = chosen_reward - rejected_reward
    a, b = beta * margin, eta * gap
    if form == "squared":
        terms = (a - b) ** 2
    else:
        target, other = (b, a) if form == "backward" else (a, b)
        # log sigmoid keeps both tails exact where log(1 - sigmoid) would lose every digit.
        terms = torch.sigmoid(target) * (F.logsigmoid(target) - F.logsigmoid(other))
        terms = terms + torch.sigmoid(-target) * (F.logsigmoid(-target) - F.logsigmoid(-other))
    loss = terms.sum() / total
    metrics = {
        "rpo_loss": loss.detach(),
        "margin": margin.detach().sum() / total,
        "reward_gap": gap.detach().sum() / total,
        "preference_accuracy": (margin.detach() > 0).float().sum() / total,
    }
    return Loss(loss, metrics)


def bradley_terry(chosen: Tensor, rejected: Tensor, total: float | None = None) -> Loss:
    """Reward-model loss, -log sigmoid(chosen - rejected); scores `[B]`, `total` pairs (default B).

    Metrics: `pair_accuracy` (chosen scored higher), `margin`.
    """
    total = float(chosen.numel()) if total is None else total
    margin = chosen - rejected
    loss = -F.logsigmoid(margin).sum() / total
    right = (margin.detach() > 0).float().sum() / total
    return Loss(loss, {"pair_accuracy": right, "margin": margin.detach().sum() / total})
