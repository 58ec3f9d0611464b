# What Python sees of peers.py: nothing. It serves compiled modules only.
