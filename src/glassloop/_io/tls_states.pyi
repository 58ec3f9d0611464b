# What Python sees of tls_states.py.
STATES: tuple[str, ...]
EVENTS: tuple[str, ...]
TOLD: tuple[str, ...]
TRANSITIONS: dict[str, dict[str, str]]
TELLING: dict[str, set[str]]
