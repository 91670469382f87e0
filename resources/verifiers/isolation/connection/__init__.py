"""What crosses between tester and program: values, handles, calls. Standard library only."""
