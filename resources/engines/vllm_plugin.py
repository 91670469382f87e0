"""What vLLM loads of this package when it starts (entry point `vllm.general_plugins`).

Makes checkpoints of ours known to it, without code in their folders. Imports nothing heavy: vLLM
asks for the model's class by name, in whichever process needs it.
"""

from __future__ import annotations

MODEL = "resources.engines.vllm_model:HeterogeneousDecoderForVLLM"


def register() -> None:
    """Tell vLLM and transformers of our configuration and our model; harmless when repeated."""
    from transformers import AutoConfig
    from vllm import ModelRegistry

    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.loading import ARCHITECTURE

    name = HeterogeneousDecoderConfig.model_type
    AutoConfig.register(name, HeterogeneousDecoderConfig, exist_ok=True)
    ModelRegistry.register_model(ARCHITECTURE, MODEL)
