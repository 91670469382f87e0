"""Programs as answers: their published tests, drivers for them, and the sandbox that runs them."""
