# What Python sees of established.py: nothing.
