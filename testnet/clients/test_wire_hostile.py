"""HTTP that is oversized, slow, cut off or nonsense: the right error in bounded time, and nothing stored."""

import base64
import hashlib
import threading
import time

import pytest

from compare import keys_in
from wire import Request, connect, exchange, read_answer, send

MIB = 1 << 20
# The longest the server may wait for a head, or between two pieces of a body.
PATIENCE_SECONDS = 90


def put_head(server, bucket, length, **headers):
    return Request("PUT", f"/{bucket}/k", headers={"content-length": str(length), **headers}).signed(server).head()


def refused_or_cut(server, sent):
    """Whether a head got 400, 414 or 431, or a closed connection: closing on unread bytes may swallow the answer."""
    try:
        return exchange(server, sent).status in (400, 414, 431)
    except ConnectionError:
        return True


def test_headers_without_end_are_refused(server, bucket):
    head = f"GET /{bucket} HTTP/1.1\r\nhost: x\r\nx-long: ".encode() + b"a" * MIB + b"\r\n\r\n"
    assert refused_or_cut(server, head)


def test_thousands_of_headers_are_refused(server, bucket):
    many = b"".join(b"x-%d: y\r\n" % number for number in range(5000))
    assert refused_or_cut(server, f"GET /{bucket} HTTP/1.1\r\nhost: x\r\n".encode() + many + b"\r\n")


def test_a_path_without_end_is_refused(server, bucket):
    assert refused_or_cut(server, b"GET /" + b"a" * MIB + b" HTTP/1.1\r\nhost: x\r\n\r\n")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x00" * 100 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # The first bytes of TLS.
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\nhost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
)
def test_what_is_not_http_is_refused_or_cut(server, sent):
    with connect(server) as connection:
        connection.sendall(sent)
        first = connection.recv(4096)
    assert first == b"" or first.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4", b"HTTP/1.1 505"))


@pytest.mark.parametrize("path", [b"/%zz", b"/%", b"/bucket-of-none/%ff%fe", b"/bucket-of-none/%00", b"//", b"/..", b"*", b"http://x/y"])
def test_odd_paths_get_an_error_and_no_panic(server, path):
    answer = exchange(server, b"GET " + path + b" HTTP/1.1\r\nhost: x\r\n\r\n")
    assert 400 <= answer.status < 500


def test_lengths_that_contradict_each_other_are_refused(server, s3, bucket):
    head = put_head(server, bucket, 5)[:-2] + b"transfer-encoding: chunked\r\n\r\n"
    assert exchange(server, head + b"5\r\nabcde\r\n0\r\n\r\n").status >= 400
    assert keys_in(s3, bucket) == []


def test_a_put_without_a_length_is_refused(server, s3, bucket):
    head = Request("PUT", f"/{bucket}/k").signed(server).head()
    answer = exchange(server, head[:-2] + b"transfer-encoding: chunked\r\n\r\n" + b"3\r\nabc\r\n0\r\n\r\n", "PUT")
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    assert keys_in(s3, bucket) == []


def test_a_body_that_ends_early_is_refused(server, s3, bucket):
    with connect(server) as connection:
        connection.sendall(put_head(server, bucket, 1000) + b"only this")
        connection.shutdown(1)
        try:
            answer = read_answer(connection, "PUT")
            assert (answer.status, answer.code) == (400, "IncompleteBody")
        except ConnectionError:
            # Nobody to answer to is a right answer as well.
            pass
    assert keys_in(s3, bucket) == []


def test_a_body_cut_in_the_middle_of_a_block_leaves_nothing(server, s3, bucket):
    for length in (5 * MIB, 12 * MIB):
        with connect(server) as connection:
            connection.sendall(put_head(server, bucket, 16 * MIB) + b"x" * length)
    assert keys_in(s3, bucket) == []


def test_a_body_longer_than_announced_is_not_stored_as_longer(server, s3, bucket):
    with connect(server) as connection:
        connection.sendall(put_head(server, bucket, 3) + b"abcdefg\r\n\r\n")
        try:
            assert read_answer(connection, "PUT").status == 200
        except ConnectionError:
            # What follows the body is no request: closing on it may swallow the answer before it.
            pass
    stored = [s3.get_object(Bucket=bucket, Key=key)["Body"].read() for key in keys_in(s3, bucket)]
    assert stored in ([], [b"abc"])


def test_a_client_that_leaves_while_reading_harms_nobody(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 20 * MIB)
    head = Request("GET", f"/{bucket}/k").signed(server).head()
    for _ in range(20):
        with connect(server) as connection:
            connection.sendall(head)
            connection.recv(1000)
    assert s3.head_object(Bucket=bucket, Key="k")["ContentLength"] == 20 * MIB


def test_pipelined_requests_are_answered_in_order(server, s3, bucket):
    for number in range(10):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=str(number).encode())
    heads = [Request("GET", f"/{bucket}/k{number}").signed(server).head() for number in range(10)]
    with connect(server) as connection:
        connection.sendall(b"".join(heads))
        stream = connection.makefile("rb")
        assert [_next_body(stream) for _ in range(10)] == [str(number).encode() for number in range(10)]


def _next_body(stream):
    """Reads one answer with a length from a stream that holds several."""
    length = 0
    while (line := stream.readline().strip().lower()) != b"":
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return stream.read(length)


def test_expect_100_is_answered_only_when_the_body_is_wanted(server, s3, bucket):
    with connect(server) as connection:
        connection.sendall(put_head(server, bucket, 3, expect="100-continue"))
        assert connection.recv(100).startswith(b"HTTP/1.1 100")
        connection.sendall(b"abc")
        assert read_answer(connection, "PUT").status == 200
    with connect(server) as connection:
        connection.sendall(put_head(server, bucket, 3, expect="100-continue", **{"if-none-match": "*"}))
        assert connection.recv(100).startswith(b"HTTP/1.1 412")


@pytest.mark.parametrize(
    "body, code",
    [
        (b"", "MalformedXML"),
        (b"<Delete>", "MalformedXML"),
        (b"not xml", "MalformedXML"),
        (b"<Delete>" + b"<a>" * 100_000, "MalformedXML"),
        (b'<!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><Delete><Object><Key>&b;</Key></Object></Delete>', "MalformedXML"),
        (b'<!DOCTYPE d [<!ENTITY a SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&a;</Key></Object></Delete>', "MalformedXML"),
        (b"\xff\xfe<\x00D\x00e\x00", "MalformedXML"),
    ],
)  # fmt: skip
def test_hostile_xml_is_refused(server, s3, bucket, body, code):
    s3.put_object(Bucket=bucket, Key="k")
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = send(server, Request("POST", f"/{bucket}", query=[("delete", "")], headers={"content-md5": digest}), body)
    assert (answer.status, answer.code) == (400, code)
    assert keys_in(s3, bucket) == ["k"]


def test_a_document_of_many_megabytes_is_refused(server, bucket):
    body = b"<Delete>" + b"<Object><Key>k</Key></Object>" * 300_000 + b"</Delete>"
    digest = base64.b64encode(hashlib.md5(body).digest()).decode()
    answer = send(server, Request("POST", f"/{bucket}", query=[("delete", "")], headers={"content-md5": digest}), body)
    assert (answer.status, answer.code) == (400, "MaxMessageLengthExceeded")


def test_slow_heads_and_slow_bodies_are_cut_and_store_nothing(server, s3, bucket):
    """All slow clients at once, so that the test waits for the server's patience only once."""
    ended: dict[str, float] = {}

    def trickle(name, head, drip):
        began = time.monotonic()
        with connect(server, PATIENCE_SECONDS) as connection:
            connection.sendall(head)
            while time.monotonic() - began < PATIENCE_SECONDS:
                connection.settimeout(1)
                try:
                    if drip:
                        connection.sendall(drip)
                    if connection.recv(4096) == b"" or drip is None:
                        break
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
        ended[name] = time.monotonic() - began

    slow = [
        ("an unfinished head", f"GET /{bucket} HTTP/1.1\r\nhost: x\r\n".encode(), b""),
        ("a head byte by byte", f"GET /{bucket} HTTP/1.1\r\nhost: x\r\nx-slow: ".encode(), b"a"),
        ("a body that stops", put_head(server, bucket, 1000) + b"abc", b""),
    ]
    threads = [threading.Thread(target=trickle, args=client) for client in slow]
    for thread in threads:
        thread.start()
    # While they dawdle, others are served.
    for number in range(20):
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    for thread in threads:
        thread.join(PATIENCE_SECONDS + 5)
    assert {name for name, seconds in ended.items() if seconds < PATIENCE_SECONDS} == {name for name, *_ in slow}
    assert keys_in(s3, bucket) == []


def test_memory_stays_bounded_while_large_bodies_stream(server, s3, bucket, large_file):
    if not hasattr(server, "resident_bytes"):
        pytest.skip("only for a server of our own")
    before = server.resident_bytes()
    peak = before

    def upload(key):
        with open(large_file, "rb") as file:
            s3.put_object(Bucket=bucket, Key=key, Body=file)

    uploads = [threading.Thread(target=upload, args=(f"k{number}",)) for number in range(4)]
    for thread in uploads:
        thread.start()
    while any(thread.is_alive() for thread in uploads):
        peak = max(peak, server.resident_bytes())
        time.sleep(0.02)
    # Four requests at 32 MiB each, and as much again for what the allocator keeps.
    assert peak - before < 256 * MIB, f"{before >> 20} MiB grew to {peak >> 20} MiB"
