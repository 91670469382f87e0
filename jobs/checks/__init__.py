"""What `heirloom check` looks at, one file a group: each check takes what was asked and yields
findings. A new check is a function here and an entry in `jobs/checks/command.py`."""
