"""Whether two answers that have been read say the same."""
