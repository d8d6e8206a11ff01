"""A person with a browser at the page of a box: the same requests, with cookies, forms and where they came from."""

import html
import http.client
import re
import sys
import time
import urllib.parse
from dataclasses import dataclass

from box import Failed, wait_until

PASSWORD = "four quiet words"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    text: str

    @property
    def title(self) -> str:
        found = re.search(r"<h1>(.*?)</h1>", self.text, re.S)
        return html.unescape(found[1]) if found else ""

    @property
    def words(self) -> str:
        return html.unescape(self.text)

    def by_id(self, name: str) -> str:
        found = re.search(rf'id="{name}"[^>]*>([^<]*)<', self.text)
        if not found:
            raise Failed(f"no {name} on the page {self.title!r}")
        return html.unescape(found[1])


class Person:
    """Somebody whose browser came to a port of this machine; by another name where the network knows the box by one."""

    def __init__(self, port: int, host: str | None = None):
        self.port, self.host = port, host or f"127.0.0.1:{port}"
        self.cookies: dict[str, str] = {}
        self.token = ""

    def get(self, path: str = "/") -> Answer:
        return self._ask("GET", path, None)

    def send(self, path: str, **fields: str) -> Answer:
        return self._ask("POST", path, urllib.parse.urlencode({**fields, "token": self.token}))

    def sees(self, title: str) -> Answer | None:
        """The page at the door, once it has that title."""
        try:
            answer = self.get()
        except (OSError, http.client.HTTPException):
            return None
        return answer if title in answer.title else None

    def log_in(self, code: str | None = None) -> Answer:
        fields = {"password": PASSWORD, **({"code": code} if code else {})}
        return self.send("/login", **fields)

    def _ask(self, method: str, path: str, body: str | None, hops: int = 5) -> Answer:
        headers = {"Host": self.host, "Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if body is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{self.host}", "Sec-Fetch-Site": "same-origin"}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers)
            reply = connection.getresponse()
            text = reply.read().decode()
        finally:
            connection.close()
        for name, value in reply.getheaders():
            if name.lower() == "set-cookie":
                key, _, kept = value.split(";", 1)[0].partition("=")
                self.cookies[key] = kept
        answer = Answer(reply.status, {name.lower(): value for name, value in reply.getheaders()}, text)
        if found := re.search(r'name="token" value="([^"]*)"', text):
            self.token = found[1]
        if answer.status in (302, 303) and hops:
            return self._ask("GET", answer.headers["location"], None, hops - 1)
        return answer


def begin_mesh(person: Person, code: str | None, zone: str = "Anna's house") -> tuple[str, str]:
    """Walks through the wizard of a fresh box, to its first access key. Without a code, by a password that was set before."""
    wait_until("wizard", lambda: person.sees("Welcome") or person.sees("Log in"))
    if code:
        refused = Person(person.port, person.host).log_in("0000-0000-0000")
        if refused.status != 401:
            raise Failed(f"a wrong code was answered with {refused.status}")
    if (answer := person.log_in(code)).title != "Set up this box":
        raise Failed(f"not let in: {answer.status} {answer.title!r}")
    person.send("/setup/new", name="Maple family", zone=zone, give="")
    made = wait_until("mesh made", lambda: person.sees("Write this down"), 120)
    words = re.search(r'<ol class="phrase">(.*?)</ol>', made.text, re.S)
    if not words or words[1].count("<li>") != 24:
        raise Failed("the recovery phrase is not shown")
    return made.by_id("key-id"), made.by_id("key-secret")


def start_box(person: Person) -> Answer:
    """Has the box start, once what is shown once is written down."""
    return person.send("/setup/done", noted="on")


def open_console(person: Person, code: str | None = None) -> Answer:
    """Logs in to the console of a box that serves; gives its overview."""
    wait_until("console", lambda: person.sees("Log in") or person.sees("Welcome"))
    deadline = time.monotonic() + 30
    while (answer := person.log_in(code)).title in ("Log in", "Welcome"):
        if time.monotonic() > deadline:
            raise Failed(f"not let in to the console: {answer.status}")
        time.sleep(1)
    return answer


if __name__ == "__main__":
    sys.exit(__doc__)
