# What Python sees of stream_feed.py: nothing.
