"""Reinforcement learning: GRPO, RLOO and reward-aware preference optimisation (RPO)."""
