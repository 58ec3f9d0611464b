"""Marks what holds for glassloop's own tasks only; under ``GLASSLOOP_TASKS=stock`` asyncio's are in use."""

import pytest

from glassloop._core import native_status

OWN_TASKS = native_status()[0] == "native"
needs_own_tasks = pytest.mark.skipif(not OWN_TASKS, reason="asyncio's own tasks, which this run uses, differ")
