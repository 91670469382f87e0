"""Whether vLLM computes on an export what is computed here."""
