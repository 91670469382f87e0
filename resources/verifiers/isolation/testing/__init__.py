"""How tests are run against a program whose objects are elsewhere. Standard library only."""
