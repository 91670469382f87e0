"""How the bundled tokenizer, parents and teacher are made, from nothing but seeds."""
