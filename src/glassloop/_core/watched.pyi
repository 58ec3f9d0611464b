# What Python sees of watched.py: nothing.
