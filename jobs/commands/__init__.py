"""The commands of `heirloom`, one file each."""
