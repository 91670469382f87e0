"""What vLLM loads of this package when it starts (entry point `vllm.general_plugins`).

Makes checkpoints of ours known to it, so that no code of a folder is ever needed or run. Imports
nothing heavy: vLLM asks for the model's class by name, in whichever process needs it.
"""

from __future__ import annotations

MODEL = "resources.engines.vllm_model:HeterogeneousDecoderForVLLM"


def register() -> None:
    """Tell vLLM of our configurations and our model; harmless when repeated."""
    from vllm import ModelRegistry

    from resources.models.loading import ARCHITECTURE

    configurations()
    ModelRegistry.register_model(ARCHITECTURE, MODEL)


def configurations() -> None:
    """Tell transformers, with which vLLM reads config.json, of our two model types.

    vLLM computes the nemotron-nas layout with a class of its own but has no configuration for it:
    registered here, the one that the published layout keeps in the folder stays unread.
    """
    from transformers import AutoConfig

    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.export.nemotron_nas_config import DeciLMConfig

    for known in (HeterogeneousDecoderConfig, DeciLMConfig):
        AutoConfig.register(known.model_type, known, exist_ok=True)
