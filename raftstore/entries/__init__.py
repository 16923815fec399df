"""Config entries: what each kind holds, what is refused, and the chain they make of a service.

Pure: bodies in, canonical content out; a set of entries in, a compiled chain out. The same
functions run where a body is read and where the replicated state applies it (mesh contract C).
"""
