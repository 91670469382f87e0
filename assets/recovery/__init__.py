"""Recovery after architecture search: distillation from the parent, continued pretraining."""
