"""What those who change the code run."""
