"""Problems with ground truth a domain, the held-out ones, and the corpus for recovery."""
