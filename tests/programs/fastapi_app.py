"""A FastAPI application with what real ones have: lifespan, streams, websockets, threads, background work."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import BackgroundTasks, FastAPI, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import StreamingResponse


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Start a worker, which lives as long as the application, and end it."""
    jobs: asyncio.Queue[str] = asyncio.Queue()
    done: list[str] = []

    async def work() -> None:
        while True:
            done.append((await jobs.get()).upper())
            jobs.task_done()

    worker = asyncio.create_task(work())
    app.state.jobs, app.state.done = jobs, done
    yield
    await jobs.join()
    worker.cancel()
    print(f"lifespan ended with {len(done)} jobs done", flush=True)


app = FastAPI(lifespan=lifespan)


@app.get("/loop")
async def loop() -> dict[str, str]:
    """Tell whose loop this runs on."""
    return {"loop": type(asyncio.get_running_loop()).__module__.split(".")[0]}


@app.get("/items/{number}")
async def item(number: int) -> dict[str, int]:
    """Answer from a coroutine."""
    await asyncio.sleep(0)
    return {"item": number}


@app.get("/threads/{number}")
def threaded(number: int) -> dict[str, int]:
    """Answer from a thread, as FastAPI runs plain functions."""
    return {"item": number}


@app.post("/sum")
async def checksum(request: Request) -> dict[str, Any]:
    """Tell the checksum of a body that is read as it comes."""
    found, length = hashlib.sha256(), 0
    async for piece in request.stream():
        found.update(piece)
        length += len(piece)
    return {"sha256": found.hexdigest(), "length": length}


@app.get("/stream/{count}")
async def stream(count: int) -> StreamingResponse:
    """Send as many lines, one after another."""

    async def lines() -> AsyncIterator[str]:
        for number in range(count):
            yield f"line {number}\n"
            await asyncio.sleep(0)

    return StreamingResponse(lines(), media_type="text/plain")


@app.post("/jobs/{name}")
async def add_job(name: str, request: Request, background: BackgroundTasks) -> dict[str, str]:
    """Give the worker a job, after the answer was sent."""
    background.add_task(request.app.state.jobs.put, name)
    return {"queued": name}


@app.get("/jobs")
async def finished_jobs(request: Request) -> list[str]:
    """The jobs that the worker has done."""
    await request.app.state.jobs.join()
    done: list[str] = request.app.state.done
    return done


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Send back every message."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text(await websocket.receive_text())
    except WebSocketDisconnect:
        pass


@app.websocket("/refuse")
async def refuse(websocket: WebSocket) -> None:
    """Close with a code of our own."""
    await websocket.accept()
    await websocket.close(code=4001, reason="not today")
