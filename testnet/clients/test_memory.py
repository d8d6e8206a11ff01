"""How much memory many large requests at a time may take: no more than a request is promised, whatever clients do."""

import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from wire import Request, connect, send

MIB = 1 << 20
SIZE = 64 * MIB
AT_ONCE = 32
# What the server's limits count on for each request; a box of 1 GiB serves 16 of them in half of its memory.
REQUEST_BYTES_MAX = 32 * MIB
PATIENCE_SECONDS = 300


@pytest.fixture(scope="module")
def content():
    """Enough bytes that do not compress for every writer to begin elsewhere, so that no two store the same block."""
    return memoryview(random.Random(64).randbytes(SIZE + AT_ONCE * MIB))


@pytest.fixture
def growth(server):
    """Says how much more memory the server has held since than it held at first."""
    if not hasattr(server, "peak_resident_bytes"):
        pytest.skip("memory is measured only of a server of our own")
    server.forget_peak()
    before = server.resident_bytes()
    return lambda: server.peak_resident_bytes() - before


def put(server, bucket, number, content):
    start = number * (MIB - 4096)
    head = Request("PUT", f"/{bucket}/{number}", headers={"content-length": str(SIZE)}).signed(server).head()
    with connect(server, PATIENCE_SECONDS) as connection:
        connection.sendall(head)
        connection.sendall(content[start : start + SIZE])
        return connection.recv(12)


def get(server, bucket, number, all_asked):
    """Takes nothing before all have asked, and then all of it; gives how much that was."""
    with connect(server, PATIENCE_SECONDS) as connection:
        connection.sendall(Request("GET", f"/{bucket}/{number}", headers={"connection": "close"}).signed(server).head())
        first = connection.recv(1)
        all_asked.wait(PATIENCE_SECONDS)
        taken, buffer = len(first), bytearray(MIB)
        while read := connection.recv_into(buffer):
            taken += read
        return taken


def test_many_large_uploads_take_a_bounded_share_of_memory(server, bucket, content, growth):
    with ThreadPoolExecutor(AT_ONCE) as clients:
        answers = list(clients.map(lambda number: put(server, bucket, number, content), range(AT_ONCE)))
    assert answers == [b"HTTP/1.1 200"] * AT_ONCE
    assert growth() < AT_ONCE * REQUEST_BYTES_MAX


def test_many_slow_readers_of_large_objects_take_a_bounded_share_of_memory(server, bucket, content, growth):
    objects = 2
    for number in range(objects):
        assert put(server, bucket, number, content) == b"HTTP/1.1 200"
    all_asked = Barrier(AT_ONCE)
    with ThreadPoolExecutor(AT_ONCE) as clients:
        taken = list(clients.map(lambda reader: get(server, bucket, reader % objects, all_asked), range(AT_ONCE)))
    assert all(SIZE < bytes_taken < SIZE + 4096 for bytes_taken in taken)
    # What was read lately stays in memory for the next reader; beside it a reader holds two steps of a MiB.
    assert growth() < objects * SIZE + AT_ONCE * REQUEST_BYTES_MAX / 4
    assert send(server, Request("HEAD", f"/{bucket}/0")).status == 200
