"""What texts are compared by, and which of them say the same. Knows texts, not rows and recipes."""
