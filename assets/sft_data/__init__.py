"""SFT data: teacher answers, verdicts on them, and the samples selected for training."""
