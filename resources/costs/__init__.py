"""What a recipe costs before anything runs: tokens, seconds, memory and devices of every stage."""
