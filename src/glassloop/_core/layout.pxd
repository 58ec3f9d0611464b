# layout.py needs no C of its own: it uses the layouts of glassloop._sys.asyncio_types.
