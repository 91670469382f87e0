"""Training on several ranks: launch, sharding, shared sequences."""
