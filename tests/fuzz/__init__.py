"""Coverage-guided fuzzing of everything that reads bytes from outside the ring."""
