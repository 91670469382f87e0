"""What assets work with: recipes, tasks, verifiers, models, engines, training, the store."""
