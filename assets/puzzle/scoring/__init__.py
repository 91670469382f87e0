"""Replace-1-block scores: what one replaced block does to the parent."""
