"""Math answers: their spelling, what they say, and whether two of them say the same."""
