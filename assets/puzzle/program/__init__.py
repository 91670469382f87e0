"""The search as a program: candidates, rules, and its solvers."""
