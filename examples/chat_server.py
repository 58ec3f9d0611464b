"""A chat server for `nc`: nicknames, everybody hears everybody, and who reads too slowly is let go.

    glassloop run examples/chat_server.py [--host 127.0.0.1] [--port 8888]
    nc 127.0.0.1 8888

Each person has a queue of lines and one task that writes them out. Whoever speaks only fills queues and
never waits for a slow reader; whose queue is full has not read for long and is disconnected.
"""

import argparse
import asyncio
import contextlib
import signal

LINES_BEHIND_MAX = 1000
LINE_BYTES_MAX = 4096


class Person:
    """Somebody in the room: a nickname and the lines that are still to be written to them."""

    def __init__(self, nickname: str, writer: asyncio.StreamWriter) -> None:
        self.nickname = nickname
        self.writer = writer
        self.lines: asyncio.Queue[str] = asyncio.Queue(LINES_BEHIND_MAX)

    async def write_lines(self) -> None:
        """Write what is in the queue, as fast as this person reads, until cancelled."""
        with contextlib.suppress(ConnectionError):
            while True:
                self.writer.write(f"{await self.lines.get()}\n".encode())
                await self.writer.drain()


class Room:
    """The people who hear each other."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}

    def say(self, line: str, *, but: Person | None = None) -> None:
        """Hand a line to everybody (but one); never waits."""
        for person in list(self.people.values()):
            if person is but:
                continue
            try:
                person.lines.put_nowait(line)
            except asyncio.QueueFull:
                self.leave(person, "reads too slowly")
                person.writer.transport.abort()

    def join(self, person: Person) -> None:
        names = ", ".join(self.people) or "nobody yet"
        self.people[person.nickname] = person
        person.lines.put_nowait(f"* welcome, {person.nickname}; here: {names}")
        self.say(f"* {person.nickname} joins", but=person)

    def leave(self, person: Person, why: str) -> None:
        if self.people.pop(person.nickname, None) is not None:
            self.say(f"* {person.nickname} {why}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Look after one connection from its first line, the nickname, to its end."""
        try:
            nickname = await self.ask_nickname(reader, writer)
            if nickname is None:
                return
            person = Person(nickname, writer)
            self.join(person)
            writing = asyncio.create_task(person.write_lines())
            try:
                while line := await reader.readline():
                    if text := line.decode(errors="replace").strip():
                        self.say(f"{nickname}: {text}", but=person)
            finally:
                writing.cancel()
                self.leave(person, "leaves")
        except ConnectionError:
            pass
        except ValueError:  # from readline()
            writer.write(b"* that line was too long\n")
        finally:
            writer.close()

    async def ask_nickname(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> str | None:
        """Ask until the nickname is new and has letters; None if the connection ends first."""
        writer.write(b"* your nickname?\n")
        while line := await reader.readline():
            nickname = line.decode(errors="replace").strip()
            if not nickname.isprintable() or not nickname:
                writer.write(b"* a nickname needs letters; your nickname?\n")
            elif nickname in self.people:
                writer.write(f"* {nickname} is here already; your nickname?\n".encode())
            else:
                return nickname
        return None


async def main(host: str, port: int) -> None:
    room = Room()
    server = await asyncio.start_server(room.serve, host, port, limit=LINE_BYTES_MAX)
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    print(f"chat on {host} port {server.sockets[0].getsockname()[1]}; Ctrl-C ends it", flush=True)
    await stop.wait()
    server.close()
    room.say("* the server ends")
    await asyncio.sleep(0.1)  # for the last lines
    for person in list(room.people.values()):
        person.writer.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8888)
    arguments = parser.parse_args()
    asyncio.run(main(arguments.host, arguments.port))
