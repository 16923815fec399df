"""The event loop under watch: who held it, for how long, and with what."""
