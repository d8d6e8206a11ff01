"""A receiver of events for tests, over HTTP or HTTPS, and what is read in what it was told."""

import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from compare import becomes_true

ARN = "arn:warren:sqs::hook:webhook"


class Hook:
    """A receiver that keeps what it is told, and can be told to refuse."""

    def __init__(self, tls=None, host="127.0.0.1"):
        """`tls`: the context of an HTTPS server."""
        self.messages, self.refused, self.handshakes_failed, self.status = [], 0, 0, 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.headers["Content-Type"] == "application/json" and self.path == "/secret"
                if hook.status == 200:
                    hook.messages.append(json.loads(body))
                else:
                    hook.refused += 1
                self.send_response(hook.status)
                self.end_headers()

            def log_message(self, *_):
                pass

        class Listener(ThreadingHTTPServer):
            def get_request(self):
                try:
                    return super().get_request()
                except OSError:
                    hook.handshakes_failed += 1
                    raise

        self.server = Listener(("127.0.0.1", 0), Handler)
        if tls is not None:
            self.server.socket = tls.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http{'s' if tls else ''}://{host}:{self.server.server_port}/secret"

    def records(self, bucket):
        """The events of a bucket, in the order in which they came."""
        records = (record for message in list(self.messages) for record in message.get("Records", []))
        return [record for record in records if record["s3"]["bucket"]["name"] == bucket]

    def told(self, bucket, count):
        """As many events of a bucket as are expected, and no more."""
        becomes_true(lambda: len(self.records(bucket)) >= count)
        time.sleep(0.2)
        records = self.records(bucket)
        assert len(records) == count, [short(record) for record in records]
        return records


def short(record):
    """What happened, and to which key."""
    return record["eventName"], urllib.parse.unquote_plus(record["s3"]["object"]["key"])
