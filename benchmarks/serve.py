"""Load on `coalm serve`: many clients that stream, half of which leave at random.

    python benchmarks/serve.py --clients 200 --seconds 180

The server runs in a process of its own, in front of the scripted engine, which says a word of
every answer each `--delay` seconds. A word says which it is and when it was given: `12.7@63.25` is
word 7 of request 12, given by the engine at 63.25 s on the machine's clock; the first one also says
when the engine got the job. So one that is lost, doubled or mixed up shows, and the overhead of the
server is known for each: what lies between engine and client, and between request and engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import random
import re
import socket
import statistics
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from coalm.engines.answers import Answer
from coalm.engines.base import Completion
from coalm.engines.scripted import ScriptedEngine
from coalm.engines.streams import Job, Piece
from coalm.types import Prompt

WORDS = 40
HEAD = (
    "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    "Content-Length: {}\r\n\r\n"
)


def reply(prompt: Prompt) -> str:
    """The words of a request, which its prompt ends with."""
    number = prompt[-1].content.rpartition("request ")[2]
    return " ".join(f"{number}.{place}" for place in range(WORDS))


class StampingEngine(ScriptedEngine):
    """Puts the time into each word."""

    def stream(self, jobs: Iterable[Job | None]) -> Iterator[Piece | Answer]:
        """See `TokenEngine.stream`."""
        started: list[float] = []
        said: dict[int, str] = {}

        def noted() -> Iterator[Job | None]:
            for job in jobs:
                if job:
                    started.append(time.monotonic())
                yield job

        for event in super().stream(noted()):
            self.prompts.clear()  # the engine keeps them for tests
            if isinstance(event, Piece):
                before = said.get(event.place, "")
                stamp = f"{event.text}@{time.monotonic():.6f}"
                stamp += "" if before else f"@{started[event.place]:.6f}"
                said[event.place] = before + stamp
                yield Piece(event.place, stamp)
            else:
                text = said.pop(event.place, "")
                if isinstance(event.outcome, Completion):
                    event = Answer(event.place, event.outcome._replace(text=text))
                yield event


def serve(listener: socket.socket, delay: float, clients: int, pipe: Connection) -> None:
    """The server's process; it ends when it is told to."""
    import threading

    import uvicorn

    from coalm.server.app import create_app
    from coalm.server.settings import ServerSettings

    engine = StampingEngine(reply, delay=delay)
    # a client that leaves gives its place away at the next word only: nobody shall wait for that
    app = create_app(engine, ServerSettings(places=2 * clients, queue_length=clients))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))

    def end() -> None:
        pipe.recv()
        server.should_exit = True

    threading.Thread(target=end, daemon=True).start()
    server.run([listener])


@dataclass
class Tally:
    """What the clients saw."""

    requests: int = 0
    words: list[float] = field(default_factory=list)
    """Seconds from the engine to the client."""
    starts: list[float] = field(default_factory=list)
    """Seconds from the request to the engine."""
    whole: int = 0
    left: int = 0
    wrong: list[str] = field(default_factory=list)
    memory: list[float] = field(default_factory=list)


async def client(port: int, numbers: Iterator[int], end: float, seed: int, tally: Tally) -> None:
    """Ask one question after the other; leave every second answer at a random word."""
    noise = random.Random(seed)
    await asyncio.sleep(noise.random())
    while time.monotonic() < end:
        number = next(numbers)
        leaves = noise.randrange(WORDS) if noise.random() < 0.5 else None
        body = json.dumps(
            {
                "model": "coalm",
                "stream": True,
                "messages": [{"role": "user", "content": f"request {number}"}],
            }
        )
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        tally.requests += 1
        sent = time.monotonic()
        writer.write((HEAD.format(len(body)) + body).encode())
        try:
            await read(reader, f"{number}", sent, leaves, tally)
        finally:
            writer.close()


async def read(
    reader: asyncio.StreamReader, number: str, sent: float, leaves: int | None, tally: Tally
) -> None:
    """Read an answer, up to word `leaves`."""
    place = 0
    async for line in reader:
        if not line.startswith(b"data: "):
            continue
        if line.startswith(b"data: [DONE]"):
            break
        now = time.monotonic()
        delta = json.loads(line[6:])["choices"][0]["delta"]
        for word in delta.get("content", "").split():
            name, given, *started = word.split("@")
            if name != f"{number}.{place}":
                tally.wrong.append(f"{name} in place of {number}.{place}")
            tally.words.append(now - float(given))
            tally.starts += [float(at) - sent for at in started]
            place += 1
        if leaves is not None and place > leaves:
            tally.left += 1
            return
    tally.whole += 1
    if place != WORDS:
        tally.wrong.append(f"request {number} ended after {place} words")


async def watch_memory(process: int, end: float, tally: Tally) -> None:
    """Note the server's memory in MiB every second."""
    status = Path(f"/proc/{process}/status")
    while time.monotonic() < end:
        found = re.search(r"VmRSS:\s+(\d+)", status.read_text(encoding="utf-8"))
        tally.memory.append(int(found.group(1)) / 1024 if found else 0.0)
        await asyncio.sleep(1.0)


async def figure(port: int, name: str) -> float:
    """A figure of /metrics."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    text = (await reader.read()).decode()
    writer.close()
    found = re.search(rf"^{name} (\S+)", text, re.MULTILINE)
    return float(found.group(1)) if found else -1.0


async def load(port: int, process: int, clients: int, seconds: float) -> tuple[Tally, float]:
    """All clients; and how many answers the server still has under way a second later."""
    tally, numbers = Tally(), iter(range(10**9))
    await client(port, numbers, time.monotonic() + 2.0, 0, Tally())  # warms up, not counted
    end = time.monotonic() + seconds
    work = [client(port, numbers, end, seed, tally) for seed in range(clients)]
    await asyncio.gather(watch_memory(process, end, tally), *work)
    await asyncio.sleep(1.0)
    return tally, await figure(port, "coalm_running") + await figure(port, "coalm_waiting")


def shares(values: list[float]) -> str:
    """Median, p99 and the most, in ms."""
    cuts = statistics.quantiles(values, n=100)
    return f"median {cuts[49] * 1e3:.2f}  p99 {cuts[98] * 1e3:.2f}  most {max(values) * 1e3:.2f} ms"


def report(tally: Tally, slots: float) -> dict[str, Any]:
    """What it came to."""
    parts = [tally.memory[len(tally.memory) * at // 6 - 1] for at in range(1, 7)]
    return {
        "requests": tally.requests,
        "whole answers": tally.whole,
        "clients that left": tally.left,
        "words read": len(tally.words),
        "lost, doubled or mixed words": len(tally.wrong),
        "engine to client": shares(tally.words),
        "request to engine": shares(tally.starts),
        "places taken after the end": slots,
        "memory after each sixth": f"{' '.join(f'{part:.1f}' for part in parts)} MiB",
    }


def main() -> None:
    """Run the load and print what it came to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--delay", type=float, default=0.25, help="seconds between two words")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(
        target=serve, args=(listener, options.delay, options.clients, theirs)
    )
    process.start()
    time.sleep(3.0)  # the listener takes connections before the server is up
    port = listener.getsockname()[1]
    tally, slots = asyncio.run(load(port, process.pid or 0, options.clients, options.seconds))
    mine.send("end")
    process.join()
    for name, value in report(tally, slots).items():
        print(f"{name:30} {value}")
    for line in tally.wrong[:5]:
        print("wrong:", line)


if __name__ == "__main__":
    main()
