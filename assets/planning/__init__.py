"""Planning: what the training stages of each model take, before any of them runs."""
