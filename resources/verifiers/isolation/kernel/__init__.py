"""What the kernel takes from a process: namespaces, Landlock, seccomp, rights and limits."""
