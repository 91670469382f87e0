"""What training reads: examples, packing, batches."""
