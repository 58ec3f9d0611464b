"""GlassWorker: a gunicorn worker that serves ASGI programs with uvicorn on glassloop.

    gunicorn -k glassloop.gunicorn.GlassWorker module:app

Needs gunicorn, uvicorn (0.36 or later) and uvicorn-worker: ``pip install glassloop[gunicorn]``.
"""

from typing import Any, ClassVar

try:
    from uvicorn_worker import UvicornWorker  # type: ignore[import-untyped]  # it has no types
except ImportError as error:
    raise ImportError(
        f"glassloop.gunicorn needs gunicorn, uvicorn and uvicorn-worker ({error}): "
        "pip install 'glassloop[gunicorn]'",
        name=error.name,
    ) from error


class GlassWorker(UvicornWorker):  # type: ignore[misc]  # so its base is Any
    """uvicorn's worker for gunicorn, with glassloop's event loop."""

    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        **UvicornWorker.CONFIG_KWARGS,
        "loop": "glassloop:new_event_loop",
    }
