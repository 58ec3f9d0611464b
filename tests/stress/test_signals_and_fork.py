"""Signal storms while tasks and connections run, and forks in the middle of a run."""

import pytest

from .support import run_program

STORM = """
    import asyncio, signal, sys
    import glassloop

    signals = 0
    handled = 0

    def by_the_loop():
        global handled
        handled += 1

    def by_python(number, frame):
        global signals
        signals += 1

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    async def client(address):
        reader, writer = await asyncio.open_connection(*address)
        for number in range(200):
            data = number.to_bytes(4, "big") * 500
            writer.write(data)
            assert await reader.readexactly(2000) == data
        writer.close()
        return 200

    async def ticks():
        loop = asyncio.get_running_loop()
        for _ in range(200):
            deadline = loop.time() + 0.0005
            await asyncio.sleep(0.0005)
            assert loop.time() >= deadline
        return 200

    async def main():
        loop = asyncio.get_running_loop()
        if sys.argv[1] == "loop":
            loop.add_signal_handler(signal.SIGALRM, by_the_loop)
        else:
            signal.signal(signal.SIGALRM, by_python)
        signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        try:
            async with asyncio.timeout(60):
                work = [*(client(address) for _ in range(8)), *(ticks() for _ in range(8))]
                results = await asyncio.gather(*work)
                while signals + handled < 50:
                    await asyncio.sleep(0.001)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        server.close()
        assert results == [200] * 16
        print("done")

    glassloop.run(main())
"""


def test_a_storm_of_signals_with_the_loop_s_handler() -> None:
    assert run_program(STORM, "loop") == "done\n"


def test_a_storm_of_signals_with_python_s_handler() -> None:
    assert run_program(STORM, "python") == "done\n"


RAISING = """
    import asyncio, signal
    import glassloop

    class Alarm(Exception):
        pass

    def ring(number, frame):
        raise Alarm

    signal.signal(signal.SIGALRM, ring)
    loop = glassloop.EventLoop()
    ran = 0

    def count():
        global ran
        ran += 1

    raised = 0
    while raised < 100:
        loop.call_later(0.002, count)
        signal.setitimer(signal.ITIMER_REAL, 0.0005)
        try:
            loop.run_until_complete(asyncio.sleep(10))
        except Alarm:
            raised += 1
        for task in asyncio.all_tasks(loop):
            task.cancel()
            task._log_destroy_pending = False
    try:
        loop.run_until_complete(asyncio.sleep(0.01))
    except Alarm:
        raised += 1
    loop.set_exception_handler(lambda loop, context: None)
    while ran < 100:
        loop.run_until_complete(asyncio.sleep(0.001))
    loop.close()
    print("done")
"""


def test_a_handler_that_raises_out_of_the_poll() -> None:
    """The exception leaves run_forever(), no timer is lost, and the loop goes on."""
    assert run_program(RAISING) == "done\n"


FORK = """
    import asyncio, os, sys
    import glassloop

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    async def in_the_child():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        writer.write(b"child")
        assert await reader.readexactly(5) == b"child"
        await asyncio.to_thread(int)
        await asyncio.gather(*(asyncio.sleep(0.001 * number) for number in range(5)))
        writer.close()
        server.close()

    async def main():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        streams = [await asyncio.open_connection(*address) for _ in range(5)]
        woken = loop.create_future()
        loop.call_later(0.01, woken.set_result, "woken")
        for _ in range(3):
            sys.stdout.flush()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    asyncio.set_event_loop(None)
                    runner = asyncio.Runner(loop_factory=MAKE)
                    runner.run(in_the_child())
                    runner.close()
                    code = 0
                except BaseException:
                    import traceback
                    traceback.print_exc()
                finally:
                    os._exit(code)
            for number, (reader, writer) in enumerate(streams):
                data = bytes([number]) * 50_000
                writer.write(data)
                assert await reader.readexactly(50_000) == data
            _, status = await asyncio.to_thread(os.waitpid, child, 0)
            print(os.waitstatus_to_exitcode(status))
        assert await woken == "woken"
        for reader, writer in streams:
            writer.write(b"still here")
            assert await reader.readexactly(10) == b"still here"
            writer.close()
        server.close()

    MAKE = getattr(glassloop, "new_event_loop") if sys.argv[1] == "glassloop" else asyncio.SelectorEventLoop
    asyncio.Runner(loop_factory=MAKE).run(main())
"""


def test_a_child_runs_a_loop_of_its_own_and_the_parent_s_connections_live_on() -> None:
    assert run_program(FORK, "glassloop") == run_program(FORK, "asyncio") == "0\n0\n0\n"


FORK_AND_DROP = """
    import asyncio, os, gc, socket
    import glassloop

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        transport, protocol = await loop.create_connection(asyncio.Protocol, sock=near)
        seen = loop.create_future()
        other, other_far = socket.socketpair()
        loop.add_reader(other, lambda: seen.done() or seen.set_result(other.recv(10)))
        child = os.fork()
        if child == 0:
            # The child takes apart all that it inherited.
            loop.remove_reader(other)
            other.close()
            transport.abort()
            gc.collect()
            os._exit(0)
        os.waitpid(child, 0)
        other_far.send(b"heard")
        print(await asyncio.wait_for(seen, 20))
        far.settimeout(20)
        transport.write(b"told")
        await asyncio.sleep(0)
        print(far.recv(10))
        transport.abort()
        loop.remove_reader(other)

    glassloop.run(main())
"""


def test_what_a_child_takes_apart_is_not_the_parent_s() -> None:
    """An epoll set is shared by a fork: the child must not take the parent's descriptors out of it."""
    assert run_program(FORK_AND_DROP) == "b'heard'\nb'told'\n"


FORK_AFTER_WRITE = """
    import asyncio, os, socket, sys
    import glassloop

    def write_and_fork(transport):
        transport.write(b"once ")
        transport.write(b"only ")
        child = os.fork()
        if child == 0:
            raise SystemExit(0)
        children.append(child)

    class Writes(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            write_and_fork(self.transport)

    async def main():
        loop = asyncio.get_running_loop()
        near, far = socket.socketpair()
        transport, protocol = await loop.create_connection(Writes, sock=near)
        if sys.argv[1] == "in a protocol's method":
            far.send(b"now")
        else:
            loop.call_soon(write_and_fork, transport)
        if sys.argv[1] == "on a busy loop":
            for _ in range(1000):
                loop.call_soon(int)
        while not children:
            await asyncio.sleep(0)
        await asyncio.to_thread(os.waitpid, children[0], 0)
        transport.write(b"end")
        transport.close()
        await asyncio.sleep(0.01)
        near.close()
        far.settimeout(20)
        received = b""
        while part := far.recv(100):
            received += part
        print(received)

    children = []
    asyncio.Runner(loop_factory=glassloop.new_event_loop).run(main())
"""


@pytest.mark.parametrize("where", ["on an idle loop", "on a busy loop", "in a protocol's method"])
def test_a_child_does_not_send_once_more_what_the_parent_wrote(where: str) -> None:
    assert run_program(FORK_AFTER_WRITE, where) == "b'once only end'\n"


WRITE_AND_LEAVE = """
    import asyncio, os, socket, sys
    import glassloop

    near, far = socket.socketpair()
    child = os.fork()
    if child:
        near.close()
        far.settimeout(20)
        received = b""
        while part := far.recv(100):
            received += part
        os.waitpid(child, 0)
        print(received)
    else:
        far.close()
        async def main():
            loop = asyncio.get_running_loop()
            transport, protocol = await loop.create_connection(asyncio.Protocol, sock=near)
            transport.write(b"the last words")
            os._exit(0)
        asyncio.Runner(loop_factory=glassloop.new_event_loop).run(main())
"""


def test_what_was_written_is_sent_though_the_process_ends_at_once() -> None:
    """As asyncio's write() does on an idle loop; programs that exec or _exit count on that."""
    assert run_program(WRITE_AND_LEAVE) == "b'the last words'\n"


FORK_BESIDE_A_METHOD = """
    import asyncio, os, socket, sys, threading, glassloop

    in_method, go_on = threading.Event(), threading.Event()

    class Waits(asyncio.Protocol):
        def data_received(self, data):
            in_method.set()
            go_on.wait()

    class Echo(asyncio.Protocol):
        def connection_made(self, transport):
            self.transport = transport
        def data_received(self, data):
            self.transport.write(data)

    def recurse(depth):
        return 1 + (max(map(recurse, [depth - 1])) if depth else 0)

    async def in_the_child():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(Echo, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        for _ in range(50):
            busy = asyncio.gather(*(asyncio.to_thread(recurse, 60) for _ in range(3)))
            writer.write(b"child")
            assert await reader.readexactly(5) == b"child"
            assert await busy == [61] * 3
        writer.close()
        server.close()

    def in_a_thread(near):
        async def main():
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(Waits, sock=near)
            while not in_method.is_set():
                await asyncio.sleep(0.001)
            transport.abort()
            await asyncio.sleep(0)
        glassloop.run(main())

    near, far = socket.socketpair()
    thread = threading.Thread(target=in_a_thread, args=(near,))
    thread.start()
    far.send(b"now")
    in_method.wait()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            glassloop.run(in_the_child())
            status = 0
        finally:
            os._exit(status)
    go_on.set()
    thread.join()
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status))
"""


def test_a_fork_while_a_protocol_s_method_runs_in_another_thread() -> None:
    """What the method's transport holds lies on a stack that the child's own threads will use."""
    assert run_program(FORK_BESIDE_A_METHOD) == "0\n"
