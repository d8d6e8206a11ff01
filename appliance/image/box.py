"""A virtual box in QEMU, with a disk, a boot partition as a computer sees it, and a screen; and how tales wait for it."""

import functools
import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / "target/image"
DISK_BYTES = 4 << 30
BOOT_PARTITION_AT = 1 << 20
START_SECONDS_MAX = 900
MACHINES = {"arm64": "aarch64", "amd64": "x86_64"}
# What may listen beside Warren: what asks for an address of the box.
CLIENTS_OF_DHCP = {"systemd-network/udp/68", "systemd-network/udp/546"}


class Failed(Exception):
    """What was promised is not so."""


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def wait_until(what: str, is_so, seconds: float = START_SECONDS_MAX):
    """Waits for something to be so; gives it, and says how long it took."""
    began = time.monotonic()
    while not (so := is_so()):
        if time.monotonic() - began > seconds:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.5)
    print(f"  {time.monotonic() - began:6.1f} s  {what}", flush=True)
    return so


@functools.cache
def has_kvm(arch: str) -> bool:
    """Whether guests of this architecture run on the processor itself: a firmware is started to see. In a machine that is a
    guest itself /dev/kvm may be there and fail."""
    if platform.machine() != MACHINES[arch] or not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    # Unpacked first, which takes longer than a firmware needs to start.
    subprocess.run([HERE / "qemu", arch, "--version"], check=True, capture_output=True)
    command = [HERE / "qemu", arch, *accelerated(arch), "-m", "256", "-bios", "edk2", "-display", "none", "-monitor", "none"]
    try:
        subprocess.run(command, capture_output=True, timeout=5)
    except subprocess.TimeoutExpired as still:
        return b"KVM internal error" not in (still.stderr or b"")
    return False


def accelerated(arch: str) -> list[str]:
    # Not all that the host tells may be told to a guest where the host is one itself.
    cpu = "host,arch-capabilities=off" if arch == "amd64" else "host"
    return ["-M", "q35" if arch == "amd64" else "virt", "-accel", "kvm", "-cpu", cpu]


class Box:
    """A virtual board with a disk of its own, and its boot partition as a computer would see it."""

    def __init__(self, name: str, arguments, disks: tuple[Path, ...] = ()):
        self.arch, self.emulates, self.disks = arguments.arch, arguments.emulate, list(disks)
        self.disk = WORK / f"{name}.disk"
        self.console = WORK / f"{name}.console"
        self.monitor = WORK / f"{name}.qmp"
        self.console.write_text("")
        # S3, the page at its own port, and where browsers look by themselves.
        self.s3, self.page, self.web = free_port(), free_port(), free_port()
        self.process = None
        subprocess.run(["cp", "--sparse=always", arguments.image, self.disk], check=True)
        os.truncate(self.disk, DISK_BYTES)

    def start(self) -> None:
        ports = ((self.s3, 3900), (self.page, 3980), (self.web, 80))
        network = ",".join(["user,id=net", *(f"hostfwd=tcp:127.0.0.1:{here}-:{there}" for here, there in ports)])
        if self.emulates:
            machine, cpu = ("virt", "cortex-a72") if self.arch == "arm64" else ("q35", "max")
            board = ["-M", machine, "-accel", "tcg,thread=multi", "-cpu", cpu]
        else:
            board = accelerated(self.arch)
        board += ["-device", "ramfb"] if self.arch == "arm64" else ["-vga", "std"]
        command = [
            HERE / "qemu", self.arch, *board, "-smp", "2", "-m", "1024", "-bios", "edk2", "-display", "none",
            "-monitor", "none", "-qmp", f"unix:{self.monitor},server=on,wait=off",
            "-chardev", f"file,id=console,path={self.console},append=on", "-serial", "chardev:console",
            "-drive", f"if=none,id=disk,file={self.disk},format=raw", "-device", "virtio-blk-pci,drive=disk,bootindex=0",
            "-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=", "-device", "virtio-rng-pci",
        ]
        for number, disk in enumerate(self.disks):
            command += ["-drive", f"if=none,id=more{number},file={disk},format=raw", "-device", f"virtio-blk-pci,drive=more{number},serial=MORE{number}"]
        self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL)

    def pull_the_plug(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
        if self.process:
            self.process.wait()

    def start_again(self) -> None:
        """The plug is pulled and put back; what the box said before is forgotten."""
        self.pull_the_plug()
        self.console.write_text("")
        self.start()

    def runs(self) -> bool:
        if self.process.poll() is not None:
            raise Failed(f"QEMU ended, see {self.console}")
        return True

    def card(self, program: str, *arguments: str, **options) -> subprocess.CompletedProcess:
        command = [program, "-i", f"{self.disk}@@{BOOT_PARTITION_AT}", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, **options)

    def put_on_card(self, name: str, content: bytes | str | Path) -> None:
        if not isinstance(content, Path):
            source = WORK / "for-the-card"
            source.write_bytes(content.encode() if isinstance(content, str) else content)
            content = source
        self.card("mcopy", "-o", content, f"::{name}", check=True)

    def on_card(self, name: str) -> str | None:
        """A file on the boot partition, also while the box runs: QEMU writes through this machine's page cache."""
        copied = self.card("mcopy", f"::{name}", "-")
        return copied.stdout.decode(errors="replace") if copied.returncode == 0 else None

    def entries(self) -> list[str]:
        listed = self.card("mdir", "-b", "::loader/entries").stdout.decode().split()
        return sorted(entry.rsplit("/", 1)[1] for entry in listed)

    def told(self) -> str:
        """What the serial line has said since the last start."""
        return self.console.read_text(errors="replace")

    def says(self, text: str) -> bool:
        return self.runs() and text in self.told()

    def login_code(self) -> str | None:
        """The code that is shown now."""
        self.runs()
        shown = re.findall(r"warren: login code (\S+)", self.told())
        return shown[-1] if shown else None

    def photograph(self, path: Path) -> tuple[int, int]:
        """Takes a picture of the screen; gives how many of its points are light, and how many there are."""
        answers = self._ask_qemu({"execute": "screendump", "arguments": {"filename": str(path.with_suffix(".ppm"))}})
        if any("error" in answer for answer in answers):
            raise Failed(f"no picture of the screen: {answers}")
        head, width, height, depth, points = re.match(rb"(P6)\s+(\d+)\s+(\d+)\s+(\d+)\s(.*)", path.with_suffix(".ppm").read_bytes(), re.S).groups()
        light = sum(1 for at in range(0, len(points), 3) if points[at] > 128)
        return light, int(width) * int(height)

    def _ask_qemu(self, command: dict) -> list[dict]:
        answers = []
        with socket.socket(socket.AF_UNIX) as monitor:
            monitor.settimeout(20)
            monitor.connect(str(self.monitor))
            lines = monitor.makefile("rw")
            lines.readline()
            for asked in ({"execute": "qmp_capabilities"}, command):
                lines.write(json.dumps(asked) + "\n")
                lines.flush()
                while "event" in (answer := json.loads(lines.readline())):
                    pass
                answers.append(answer)
        return answers


def facts(diagnosis: str) -> dict[str, str]:
    """What a box told of itself when somebody asked with a file DIAGNOSE."""
    lines = diagnosis.split("\n\n", 1)[0].splitlines()
    return dict(line.split(": ", 1) for line in lines)


def assert_safe(found: dict[str, str]) -> None:
    """Nothing listens but Warren, nobody can log in, and nothing of the system is ever written."""
    others = {one for one in found["listening"].split() if not one.startswith("warren/")}
    # Without the interface and address.
    others = {re.sub(r"/[^/]*:(\d+)$", r"/\1", one) for one in others} - CLIENTS_OF_DHCP
    expected = {"open-accounts": "none", "remote-logins": "none", "prompts": "none", "failed-units": "none", "journal": "in memory"}
    wrong = {name: found.get(name) for name, value in expected.items() if found.get(name) != value}
    if others or wrong:
        raise Failed(f"the box is not as closed as it should be: {others or ''} {wrong or ''}")
    if not found["root"].startswith("overlay ") or "lowerdir=/lower,upperdir=/run/layer/upper" not in found["root"]:
        raise Failed(f"the root is not a layer in memory: {found['root']}")
    if int(found["system-bytes"]) > 400 << 20:
        raise Failed(f"the system has {found['system-bytes']} bytes")
    print(f"            {int(found['system-bytes']) >> 20} MiB of system, {found['installed-megabytes']} MB unpacked; {found['listening']}", flush=True)


if __name__ == "__main__":
    sys.exit(__doc__)
