# What Python sees of address.py: nothing. It serves compiled modules only.
