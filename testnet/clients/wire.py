"""Writes S3 requests byte by byte, signed or deliberately wrong, where a client library would not let us."""

import base64
import hashlib
import hmac
import http.client
import socket
import uuid
import zlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

UNSIGNED = "UNSIGNED-PAYLOAD"
CHUNK = 64 * 1024


@dataclass
class Answer:
    """What came back: all of it."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The error code in the body, or nothing."""
        return self.body.decode().partition("<Code>")[2].partition("</Code>")[0]


@dataclass
class Request:
    """One request to be signed; what is left out takes the value an honest client would send."""

    method: str
    path: str
    query: list[tuple[str, str]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)
    payload: str = UNSIGNED
    age: timedelta = timedelta(0)
    region: str = "us-east-1"
    unsigned: tuple[str, ...] = ()

    def signed(self, server, key=None) -> "Signed":
        """The head of this request, signed with the server's key or another."""
        key = key or server.key
        time = (datetime.now(timezone.utc) - self.age).strftime("%Y%m%dT%H%M%SZ")
        headers = {
            "host": f"127.0.0.1:{server.port}",
            "x-amz-date": time,
            "x-amz-content-sha256": self.payload,
            **self.headers,
        }
        names = sorted(name for name in headers if name not in self.unsigned)
        query = "&".join(sorted(f"{quote(name, safe='~')}={quote(value, safe='~')}" for name, value in self.query))
        path = quote(self.path, safe="/~")
        canonical = [self.method, path, query, *(f"{name}:{headers[name].strip()}" for name in names)]
        canonical += ["", ";".join(names), self.payload]
        scope = f"{time[:8]}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256("\n".join(canonical).encode()).hexdigest()
        signing = signing_key(key.secret, scope)
        signature = mac(signing, "\n".join(["AWS4-HMAC-SHA256", time, scope, digest])).hex()
        headers["authorization"] = (
            f"AWS4-HMAC-SHA256 Credential={key.id}/{scope},SignedHeaders={';'.join(names)},Signature={signature}"
        )
        target = f"{path}?{query}" if query else path
        return Signed(self.method, target, headers, signing, scope, time, signature)


@dataclass
class Signed:
    """A signed head, and what the signatures of its chunks build on."""

    method: str
    target: str
    headers: dict[str, str]
    signing: bytes
    scope: str
    time: str
    signature: str

    def head(self) -> bytes:
        """The head as it goes over the wire, the empty line included."""
        lines = [f"{self.method} {self.target} HTTP/1.1", *(f"{name}: {value}" for name, value in self.headers.items())]
        return "\r\n".join([*lines, "", ""]).encode()

    def chunks(self, content: bytes, size: int = CHUNK, trailer: dict[str, str] | None = None, sign: bool = True) -> bytes:
        """The body as aws-chunked, each chunk signed or none, with or without a trailer."""
        out, previous = [], self.signature
        pieces = [content[start : start + size] for start in range(0, len(content), size)]
        for piece in [*pieces, b""]:
            if sign:
                hashes = [hashlib.sha256(b"").hexdigest(), hashlib.sha256(piece).hexdigest()]
                text = ["AWS4-HMAC-SHA256-PAYLOAD", self.time, self.scope, previous, *hashes]
                previous = mac(self.signing, "\n".join(text)).hex()
                out.append(f"{len(piece):x};chunk-signature={previous}\r\n".encode())
            else:
                out.append(f"{len(piece):x}\r\n".encode())
            out.append(piece + b"\r\n" if piece else b"")
        if trailer is None:
            return b"".join([*out, b"\r\n"])
        lines = "".join(f"{name}:{value}\n" for name, value in trailer.items())
        out.append(lines.replace("\n", "\r\n").encode())
        if sign:
            text = ["AWS4-HMAC-SHA256-TRAILER", self.time, self.scope, previous, hashlib.sha256(lines.encode()).hexdigest()]
            out.append(f"x-amz-trailer-signature:{mac(self.signing, chr(10).join(text)).hex()}\r\n".encode())
        return b"".join([*out, b"\r\n"])


def mac(key: bytes, text: str) -> bytes:
    """HMAC-SHA256."""
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def signing_key(secret: str, scope: str) -> bytes:
    """The key of one day, region and service."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = mac(key, part)
    return key


def crc32(content: bytes) -> str:
    """A CRC32 as S3 writes it."""
    return base64.b64encode(zlib.crc32(content).to_bytes(4, "big")).decode()


def connect(server, seconds: float = 30) -> socket.socket:
    """A connection on which no wait is longer than this."""
    return socket.create_connection(("127.0.0.1", server.port), timeout=seconds)


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """Reads one answer, body included."""
    response = http.client.HTTPResponse(connection, method=method)
    response.begin()
    body = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


def exchange(server, sent: bytes, method: str = "GET", seconds: float = 30) -> Answer:
    """Sends these bytes on a connection of their own; gives the answer."""
    with connect(server, seconds) as connection:
        try:
            connection.sendall(sent)
        except (BrokenPipeError, ConnectionResetError):
            # A server may refuse before it has read all; its answer is there to be read.
            pass
        return read_answer(connection, method)


def submit(server, bucket, form, content: bytes, filename="holiday.jpg", **more) -> Answer:
    """Sends a form that boto3 signed, with a file, as a browser does."""
    boundary = uuid.uuid4().hex
    body = b""
    for name, value in {**form["fields"], **more}.items():
        body += f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'.encode()
    body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n'.encode()
    body += b"Content-Type: image/jpeg\r\n\r\n" + content + f"\r\n--{boundary}--\r\n".encode()
    head = [
        f"POST /{bucket} HTTP/1.1",
        f"host: 127.0.0.1:{server.port}",
        f"content-type: multipart/form-data; boundary={boundary}",
        f"content-length: {len(body)}",
        "connection: close",
    ]
    return exchange(server, "\r\n".join([*head, "", ""]).encode() + body, "POST")


def send(server, request: Request, body: bytes = b"", key=None) -> Answer:
    """Signs and sends a request with its body and the length of it."""
    if "content-length" not in request.headers and (body or request.method in ("PUT", "POST")):
        request.headers["content-length"] = str(len(body))
    return exchange(server, request.signed(server, key).head() + body, request.method)
