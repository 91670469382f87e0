"""The choice of an architecture: candidates, rules, solvers, and what true KL decides."""
