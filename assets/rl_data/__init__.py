"""Prompts, pass rates, curricula, preference pairs and the reward model that RL learns from."""
