"""The replicated catalog: commands change it, queries ask it, Raft keeps it alike everywhere."""
