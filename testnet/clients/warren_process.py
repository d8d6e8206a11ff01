"""Runs the real `warren server` as a process with a temporary state, and reads its log."""

import json
import os
import re
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

# Below it host names name buckets, as `--s3-domain` says.
DOMAIN = "s3.example"
# Below it host names name buckets that are websites.
WEBSITE_DOMAIN = "web.example"
START_SECONDS_MAX = 20
STOP_SECONDS_MAX = 20


@dataclass(frozen=True)
class Key:
    """An access key: what a client signs with."""

    id: str
    secret: str


class Server:
    """One running server on a free port of 127.0.0.1, with a key that may create buckets."""

    def __init__(self, binary: Path, folder: Path, **environment: str):
        """`environment`: settings beside those that every test server has."""
        self.folder = folder
        self.environment = environment
        self.binary = binary
        self.state = folder / "state"
        self.log = folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        """Starts it, again if it was stopped or killed."""
        command = [self.binary, "server", "--state", self.state, "--data", self.folder / "data"]
        # A box that is alone, whoever else is on this network.
        alone = {"WARREN_PAGE": "127.0.0.1:0", "WARREN_MESH": "127.0.0.1:0", "WARREN_MESH_MDNS": "off", "WARREN_MESH_UPNP": "off"}
        self.offset = self.log.stat().st_size if self.log.exists() else 0
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                [*command, "--s3", f"127.0.0.1:{self.port}", "--s3-domain", DOMAIN, "--s3-website-domain", WEBSITE_DOMAIN],
                env={**os.environ, **alone, **self.environment}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )
        try:
            self._await_ready()
            self.first_start = (self.state / "first-start.txt").read_text()
            self.key = Key(*(re.search(rf"{name} +(\S+)", self.first_start)[1] for name in ("Access key", "Secret key")))
        except BaseException:
            # Nobody else knows of the process yet.
            self.process.kill()
            raise

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < deadline:
            assert self.process.poll() is None, f"the server ended at start:\n{self.log.read_text()}"
            # Said after the first start's secrets have been written; the port is open a little earlier.
            if " Ready " in self.logged(self.offset):
                return
            time.sleep(0.02)
        raise AssertionError(f"the server is not ready after {START_SECONDS_MAX} s:\n{self.log.read_text()}")

    def command(self, *arguments: str) -> str:
        """Runs another `warren` command against this server; gives what it printed."""
        done = subprocess.run(
            [self.binary, *arguments, "--state", self.state], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, f"warren {' '.join(arguments)}: {done.returncode}\n{done.stderr}"
        return done.stdout

    def snippet(self, program: str) -> list[str]:
        """The lines that a first start prints for a program, as a person would paste them."""
        section = re.search(rf"^{program}\n((?:  .+\n)+)", self.first_start, re.MULTILINE)[1]
        return [line.strip() for line in section.replace("\\\n", " ").splitlines()]

    def create_key(self, name: str, create_buckets: bool = True) -> Key:
        """Creates an access key that may create buckets, or nothing yet."""
        created = json.loads(self.command("key", "create", name, *["--create-buckets"] * create_buckets, "--json"))
        return Key(created["id"], created["secret"])

    def logged(self, offset: int) -> str:
        """What the server wrote to its log from this byte on."""
        with open(self.log, "rb") as log:
            log.seek(offset)
            return log.read().decode(errors="replace")

    def resident_bytes(self) -> int:
        """The memory the process holds now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_resident_bytes(self) -> int:
        """The most memory the process has held, since `forget_peak`."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"^VmHWM:\s+(\d+) kB$", status, re.MULTILINE)[1]) * 1024

    def forget_peak(self) -> None:
        """Counts the peak anew from the memory the process holds now."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self) -> int:
        """Asks the server to end; gives its exit status."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise


class RunningElsewhere:
    """A server that somebody else started, named by `--endpoint`, with the key in `AWS_*`."""

    def __init__(self, endpoint: str):
        self.endpoint = endpoint
        self.port = int(endpoint.rsplit(":", 1)[1])
        self.key = Key(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])

    def snippet(self, program: str) -> list[str]:
        """What its first start printed for aws-cli; for other programs nothing is known."""
        exports = {"AWS_ACCESS_KEY_ID": self.key.id, "AWS_SECRET_ACCESS_KEY": self.key.secret, "AWS_DEFAULT_REGION": "warren"}
        exports = [f"export {name}={value}" for name, value in exports.items()]
        remote = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": self.endpoint, "ACCESS_KEY_ID": self.key.id}
        remote["SECRET_ACCESS_KEY"] = self.key.secret
        return {
            "aws-cli": [*exports, f"aws --endpoint-url {self.endpoint} s3 ls"],
            "rclone": [
                *(f"export RCLONE_CONFIG_WARREN_{name}={value}" for name, value in remote.items()),
                "rclone lsd warren:",
            ],
        }[program]
