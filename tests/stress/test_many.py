"""Many at once: ten thousand connections with both ends alive, a million tasks, a hundred thousand timers."""

import asyncio
import resource
import subprocess
import sys

import pytest

import glassloop

from .support import SANITIZED, new_loop, raise_descriptor_limit, run_program

CONNECTIONS = 500 if SANITIZED else 10_000

CLIENTS = """
    import asyncio, resource, sys
    import glassloop

    async def main(host, port, count):
        gate = asyncio.Semaphore(400)  # so many connect at the same time: fewer than the server's backlog
        async def enter(number):
            async with gate:
                reader, writer = await asyncio.open_connection(host, port)
            data = number.to_bytes(4, "big") * 16
            writer.write(data)
            assert await reader.readexactly(64) == data
            # The server answers this when everybody has asked.
            writer.write(b"?")
            answer = int.from_bytes(await reader.readexactly(4), "big")
            writer.close()
            return answer
        answers = await asyncio.gather(*(enter(number) for number in range(count)))
        assert answers == [count] * count
        print("all answered")

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    glassloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


class Answer(asyncio.Protocol):
    """Echoes 64 bytes, and answers the one after them with the number of connections once all are there."""

    waiting: list[asyncio.Transport]
    all_lost: asyncio.Future[None]
    lost = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = 0

    def data_received(self, data: bytes) -> None:
        self.received += len(data)
        if self.received == 65:
            assert data.endswith(b"?")
            data = data[:-1]
            self.waiting.append(self.transport)
            if len(self.waiting) == CONNECTIONS:
                for transport in self.waiting:
                    transport.write(CONNECTIONS.to_bytes(4, "big"))
        if data:
            self.transport.write(data)

    def connection_lost(self, exc: Exception | None) -> None:
        type(self).lost += 1
        if self.lost == CONNECTIONS:
            self.all_lost.set_result(None)


def test_ten_thousand_connections_at_once() -> None:
    needed = CONNECTIONS + 200
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if raise_descriptor_limit(needed) < needed:
        pytest.skip(f"needs {needed} file descriptors, and the hard limit here is {hard}")

    async def main() -> None:
        loop = asyncio.get_running_loop()
        Answer.waiting, Answer.all_lost, Answer.lost = [], loop.create_future(), 0
        server = await loop.create_server(Answer, "127.0.0.1", 0, backlog=1000)
        host, port = server.sockets[0].getsockname()
        answer = await asyncio.to_thread(run_program, CLIENTS, host, port, CONNECTIONS)
        assert answer == "all answered\n"
        await asyncio.wait_for(Answer.all_lost, 60)
        server.close()

    glassloop.run(main())
    Answer.waiting = []


MILLION = """
    import asyncio, sys
    import glassloop

    async def child(gate, number):
        if number % 3 == 0:
            await asyncio.sleep(0)
        elif number % 3 == 1:
            await gate
        else:
            await asyncio.sleep(3600)
        return number

    async def main(count):
        gate = asyncio.get_running_loop().create_future()
        tasks = [asyncio.ensure_future(child(gate, number)) for number in range(count)]
        await asyncio.sleep(0)
        assert sum(task.done() for task in tasks) == 0
        assert len(asyncio.all_tasks()) == count + 1
        await asyncio.sleep(0)
        assert sum(task.done() for task in tasks) == (count + 2) // 3
        for task in tasks[2::3]:
            task.cancel()
        gate.set_result(None)
        done = cancelled = 0
        for number, task in enumerate(tasks):
            try:
                done += await task == number
            except asyncio.CancelledError:
                cancelled += 1
        assert cancelled == len(range(2, count, 3)) and done == count - cancelled
        print("all done")

    glassloop.run(main(int(sys.argv[1])))
"""


def available_memory() -> int:
    with open("/proc/meminfo") as meminfo:
        for line in meminfo:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0


@pytest.mark.slow
def test_a_million_tasks() -> None:
    if available_memory() < 2_500_000_000:
        pytest.skip("needs 2.5 GB of memory")
    assert run_program(MILLION, 1_000_000) == "all done\n"


def test_fifty_thousand_tasks() -> None:
    assert run_program(MILLION, 50_000) == "all done\n"


@pytest.mark.parametrize("kind", ["epoll", "select"])
def test_a_hundred_thousand_timers_of_which_most_are_cancelled(kind: str) -> None:
    loop = new_loop(kind)
    ran: list[int] = []
    timers = [loop.call_later(1e-6 * (number % 100), ran.append, number) for number in range(100_000)]
    for number, timer in enumerate(timers):
        if number % 10:
            timer.cancel()
    assert len(loop._scheduled) == 10_000
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    # By deadline, and among equal ones in the order of making; deadlines differ by the time that making took.
    assert sorted(ran) == list(range(0, 100_000, 10))
    assert [timers[number].when() for number in ran] == sorted(timers[number].when() for number in ran)
    loop.close()


def test_a_chain_of_ten_thousand_tasks_that_wait_for_one_another() -> None:
    async def link(before: asyncio.Future[int]) -> int:
        return await before + 1

    async def main() -> None:
        future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        last: asyncio.Future[int] = future
        for _ in range(10_000):
            last = asyncio.ensure_future(link(last))
        await asyncio.sleep(0)
        future.set_result(0)
        assert await last == 10_000

    glassloop.run(main())


def test_ten_thousand_tasks_that_wait_for_one_future() -> None:
    async def main() -> None:
        gate = asyncio.get_running_loop().create_future()
        order: list[int] = []

        async def wait(number: int) -> None:
            await gate
            order.append(number)

        tasks = [asyncio.ensure_future(wait(number)) for number in range(10_000)]
        await asyncio.sleep(0)
        gate.set_result(None)
        await asyncio.gather(*tasks)
        assert order == list(range(10_000))

    glassloop.run(main())


def test_the_interpreter_is_this_one() -> None:
    """What run_program runs is the Python and the glassloop of this run."""
    code = "import glassloop, sys; print(glassloop.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == glassloop.__file__
