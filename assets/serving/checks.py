"""Checks of an export: the files are what vLLM will look for, and vLLM computes what we do."""

from __future__ import annotations

from collections.abc import Mapping

from warehouse.store import Artifact, CheckResult


def layout_sound(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Every tensor that the configuration demands is there, with its shape and type, and no other.

    The server's own tokenizer and template also give the token ids that the model was trained on.
    """
    from transformers import PreTrainedTokenizerFast

    from assets.serving.export import prompts, questions
    from resources.chat.chat import Chat
    from resources.models.errors import CheckpointError
    from resources.models.export.targets import sound

    folder = artifact.path()
    try:
        found = sound(folder)
    except CheckpointError as error:
        return CheckResult("layout_sound", False, str(error))
    seed = artifact.manifest["seed"]
    # Not AutoTokenizer: it opens config.json, whose class may be the folder's own code.
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder, local_files_only=True)
    chat = Chat.load(inputs["model"].path())
    theirs = []
    for index, question in enumerate(questions(8, seed)):
        told, arguments = chat.told(question, ("on", "off")[index % 2])
        theirs.append(
            tokenizer.apply_chat_template(
                list(told), add_generation_prompt=True, return_dict=False, **arguments
            )
        )
    same = theirs == prompts(inputs["model"].path(), 8, seed)
    return CheckResult(
        "layout_sound",
        same,
        f"{found['tensors']} tensors, {found['parameters']:,} parameters; chat template "
        + ("gives our token ids" if same else "gives other token ids than ours"),
        {**found},
    )


def equal_in_vllm(artifact: Artifact, inputs: Mapping[str, Artifact]) -> CheckResult:
    """Greedy tokens and log-probabilities in vLLM equal ours in float32.

    Blocks where vLLM ran; where it is not installed this says that nothing was verified.
    """
    from assets.serving.export import prompts
    from resources.engines.verification.compare import VerificationError, verify

    recipe, source = artifact.manifest["recipe"], inputs["model"].path()
    asked = prompts(source, recipe["prompts"], artifact.manifest["seed"])
    try:
        found = verify(artifact.path(), source, asked, recipe["tokens"])
    except VerificationError as error:
        return CheckResult("equal_in_vllm", False, str(error))
    return CheckResult(
        "equal_in_vllm", found.equal, found.describe(), found.record(), blocking=found.verified
    )
