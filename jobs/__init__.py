"""What runs and how a person starts it: the `heirloom` command line and the driver of `run`."""
