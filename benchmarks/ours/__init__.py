"""Our side of each benchmark: programs that print the same figures as their peer."""
