"""What is made, one folder a stage, in the order data flows."""
