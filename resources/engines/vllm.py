"""vLLM as another process: whether it is there, and with what settings it runs on this machine.

Imports nothing of vLLM, whose import takes seconds and changes torch's settings.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import sys
from pathlib import Path

KV_CACHE_BYTES = 64 << 20
PLUGINS = "vllm.general_plugins"  # the entry points that vLLM looks through as it starts


def missing() -> str | None:
    """Why vLLM cannot be used here, or None when it can."""
    if importlib.util.find_spec("vllm") is not None:
        return None
    return (
        f"vLLM is not installed beside {sys.executable}: on x86-64 Linux without a GPU `make` "
        "installs its CPU build; with a GPU, `pip install '.[gpu]'` does"
    )


def version() -> str:
    """The installed vLLM's version, such as "0.32.0+cpu"; "unknown" for a source tree."""
    try:
        return importlib.metadata.version("vllm")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"


def on_cpu() -> bool:
    """Whether the installed vLLM is a CPU build; it goes by its version itself."""
    return "cpu" in version()


def plugin_missing(folder: str | Path) -> str | None:
    """Why a folder that needs our plugin cannot be served here, or None when it can."""
    from resources.models.config import HeterogeneousDecoderConfig
    from resources.models.families.nemotron_nas import MODEL_TYPE

    values = json.loads((Path(folder) / "config.json").read_text())
    if values.get("model_type") not in (HeterogeneousDecoderConfig.model_type, MODEL_TYPE):
        return None
    if any(each.name == "heirloom" for each in importlib.metadata.entry_points(group=PLUGINS)):
        return None
    return "this installation is older than its vLLM plugin: `make` installs it again"


def environment() -> dict[str, str]:
    """What a vLLM process of ours gets: no network, no statistics; on a CPU no compilation.

    One OpenMP thread: with more, threads that wait for each other take the cores from the rest.
    """
    chosen = {
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }
    if on_cpu():
        chosen |= {"OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1"}
    return chosen
