"""The tests; one folder per package, mirrored module by module."""
