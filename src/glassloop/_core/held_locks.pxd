# The C side of held_locks.py: none, it is imported when somebody asks.
