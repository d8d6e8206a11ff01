"""A relay that loses the answers to what it is told to."""

import contextlib
import socket
import threading
from urllib.parse import urlsplit


class Forgetful:
    """Relays connections to an endpoint; of so many requests of a method it carries all there, and no answer back."""

    def __init__(self, endpoint: str, method: str, times: int):
        self.target = (urlsplit(endpoint).hostname, urlsplit(endpoint).port)
        self.method, self.left, self.lost = method.encode(), times, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.accepting = threading.Thread(target=self._accept, daemon=True)
        self.accepting.start()

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.accepting.join(timeout=10)

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._relay, args=(client,), daemon=True).start()

    def _relay(self, client: socket.socket):
        server = socket.create_connection(self.target)
        back = threading.Thread(target=self._answer, args=(server, client), daemon=True)
        back.start()
        try:
            while data := client.recv(1 << 16):
                if self.left > 0 and data.startswith(self.method + b" "):
                    self.left -= 1
                    self.lost.append(client)
                server.sendall(data)
        except OSError:
            pass
        finally:
            # Wakes whoever waits for its answer.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            back.join(timeout=10)
            server.close()

    def _answer(self, server: socket.socket, client: socket.socket):
        try:
            while data := server.recv(1 << 16):
                # "100 Continue" asks for the body; what follows is the answer.
                if client in self.lost and not data.startswith(b"HTTP/1.1 100"):
                    break
                client.sendall(data)
        except OSError:
            pass
        finally:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)
            client.close()
