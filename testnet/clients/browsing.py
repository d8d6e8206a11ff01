"""What tests of the page share: a browser, screenshots for people to look at, and boxes that a person sets up."""

import os
import re
import shutil
import socket
import struct
import subprocess
import time
import zlib
from pathlib import Path

import pytest

from conftest import REPOSITORY

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the console was NOT tested")
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: the console was NOT tested")

SCREENSHOTS = REPOSITORY / "target/screenshots"
PASSWORD = "four quiet words"
DEVICES = {"desk": {"width": 1280, "height": 800}, "phone": {"width": 390, "height": 844}}
LIGHT_AND_DARK = {"desk": ("light", "dark"), "phone": ("light", "dark")}
ONE_EACH = {"desk": ("light",), "phone": ("dark",)}


def photograph(tab, name, schemes=LIGHT_AND_DARK):
    """The page at both widths, light and dark."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    before = tab.viewport_size
    for device, size in DEVICES.items():
        for scheme in schemes[device]:
            tab.emulate_media(color_scheme=scheme, reduced_motion="reduce")
            tab.set_viewport_size(size)
            tab.screenshot(path=SCREENSHOTS / f"{name}-{device}-{scheme}.png", full_page=True)
            overflow = tab.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert overflow <= 0, f"{name} is {overflow} px too wide on a {device}"
    tab.emulate_media(color_scheme="light")
    tab.set_viewport_size(before)


@pytest.fixture(scope="module")
def browser():
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed: the console was NOT tested")
    with playwright.sync_playwright() as engine:
        # The sandbox needs rights that a root shell in a container lacks; the only page it opens is ours.
        # Nobody in this network is asked who is called something in `.local`: our boxes are here.
        args = ["--no-sandbox", "--host-resolver-rules=MAP *.local 127.0.0.1"]
        browser = engine.chromium.launch(executable_path=path, args=args)
        yield browser
        browser.close()


def picture(path: Path) -> Path:
    """A PNG that a browser really draws: a sunset, since people look at the screenshots."""
    width, height = 480, 300
    rows = b"".join(
        b"\0" + bytes(part for x in range(width) for part in (
            250 - y // 3, 170 - y // 2 + (40 if (x - 300) ** 2 + (y - 150) ** 2 < 1600 else 0), 90 + y // 3,
        )) for y in range(height)
    )
    chunk = lambda kind, data: struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))
    return path


class SecondHome:
    """A box of somebody else, who has only the line that an invite shows: another process, with a folder and ports of its own."""

    def __init__(self, binary: Path, folder: Path, line: str):
        words = line.split()
        assert words[:2] == ["warren", "join"]
        self.binary, self.folder, self.process = binary, folder, None
        self.env = {**os.environ, "WARREN_MESH": "127.0.0.1:0", "WARREN_MESH_MDNS": "off", "WARREN_MESH_UPNP": "off"}
        command = [binary, "join", words[2], "--zone", "Ben's flat", "--data", folder / "data", "--state", folder / "state"]
        joined = subprocess.run(command, env=self.env, capture_output=True, text=True, timeout=60)
        assert joined.returncode == 0, joined.stderr

    def start(self) -> None:
        """Starts it, again if it was killed."""
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(
                [self.binary, "server", "--state", self.folder / "state", "--s3", "127.0.0.1:0", "--page", "off"],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def kill(self) -> None:
        """Ends it with kill -9, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()


class FreshBox:
    """A box that is nothing yet, and waits on its page for somebody to say what it is to be."""

    def __init__(self, binary: Path, folder: Path):
        self.binary, self.state, self.log = binary, folder / "state", folder / "server.log"
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.env = {**os.environ, "WARREN_MESH": "127.0.0.1:0", "WARREN_MESH_MDNS": "off", "WARREN_MESH_UPNP": "off"}
        page, s3 = self.address.removeprefix("http://"), "127.0.0.1:0"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [binary, "server", "--wizard", "--state", self.state, "--s3", s3, "--page", page],
                env=self.env, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def code(self) -> str:
        """What the screen or the log of the box says."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if found := re.search(r"login code (\S+)", self.log.read_text()):
                return found[1]
            time.sleep(0.05)
        raise AssertionError(self.log.read_text())

    def enter(self, tab):
        tab.goto(self.address)
        tab.get_by_label("Login code").fill(self.code())
        tab.get_by_label("New password").fill(PASSWORD)
        tab.get_by_role("button", name="Open the console").click()

    def start(self, tab):
        """Has it start, and logs in to its console."""
        tab.get_by_role("button", name="Start the box").click()
        tab.get_by_role("heading", name="Log in").wait_for(timeout=30_000)
        tab.get_by_label("Password").fill(PASSWORD)
        tab.get_by_role("button", name="Log in").click()

    def command(self, *arguments: str) -> str:
        done = subprocess.run([self.binary, *arguments, "--state", self.state], env=self.env, capture_output=True, text=True, timeout=30)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self):
        self.process.terminate()
        assert self.process.wait(timeout=30) == 0, self.log.read_text()
        assert "panicked" not in self.log.read_text()
