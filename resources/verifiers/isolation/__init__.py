"""The inside of the sandbox: what runs in the isolated server process, standard library only."""
