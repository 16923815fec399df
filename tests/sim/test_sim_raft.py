"""The real engine in the simulated world; the controls prove that the simulation can fail."""
