"""What is made: one folder a stage, in the order in which data flows; stages meet only through artifacts."""
