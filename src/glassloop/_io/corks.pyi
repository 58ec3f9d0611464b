# What Python sees of corks.py: nothing.
