#!/usr/bin/env python3
"""Runs a command as root of namespaces of its own, in which programs of another architecture run under QEMU's user emulation.

    emulated.py arm64|amd64 COMMAND ARGUMENT...

The table of foreign binary formats (binfmt_misc) belongs to a user namespace since Linux 6.7: this fills the one of a
namespace that ends with the command, so that the machine's own table stays as it is, and works where that may not be
written. Ids 0 to 65535 are mapped to themselves: the files that the command makes have the owners it gives them.
Needs root, and qemu-user-static where the architecture is not this machine's.
"""

import ctypes
import os
import platform
import shutil
import sys

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
IDS = "0 0 65536\n"
# Each architecture by its names in the kernel and in QEMU, and how the header of its ELF files names it.
ARCHITECTURES = {"arm64": ("aarch64", r"\xb7"), "amd64": ("x86_64", r"\x3e")}
# The header of an ELF file, and which of its bits count.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00{machine}\x00"
MASK = r"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff"
# F: the interpreter is opened now, so that it is found inside a chroot; P: the program learns its own name.
FLAGS = "FP"

libc = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result != 0:
        sys.exit(f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: str, target: str, kind: str | None, flags: int = 0) -> None:
    kind_bytes = kind.encode() if kind else None
    check(libc.mount(source.encode(), target.encode(), kind_bytes, flags, None), f"mount {target}")


def inside(foreign: str | None, command: list[str]) -> None:
    """The first process of the new process namespace; becomes the command."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc")
    if foreign:
        mount("binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc")
        with open("/proc/sys/fs/binfmt_misc/register", "w") as register:
            register.write(foreign)
    os.execvp(command[0], command)


def format_of(architecture: str) -> str | None:
    """How the kernel is told of a foreign architecture; None of this machine's own."""
    name, machine = ARCHITECTURES[architecture]
    if platform.machine() == name:
        return None
    emulator = shutil.which(f"qemu-{name}-static") or sys.exit("needs: apt install qemu-user-static")
    return f":qemu-{name}:M::{MAGIC.format(machine=machine)}:{MASK}:{emulator}:{FLAGS}"


def main(architecture: str, command: list[str]) -> int:
    foreign = format_of(architecture)
    entered, mapped = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        check(libc.unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID), "unshare")
        os.write(entered[1], b".")
        # Who maps the ids of a namespace has to stand outside it.
        os.read(mapped[0], 1)
        os.setgroups([])
        os.setgid(0)
        os.setuid(0)
        first = os.fork()
        if first == 0:
            inside(foreign, command)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
    os.close(entered[1])
    if os.read(entered[0], 1):
        for ids in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{ids}", "w") as file:
                file.write(IDS)
    os.write(mapped[1], b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if len(sys.argv) < 3 or sys.argv[1] not in ARCHITECTURES:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1], sys.argv[2:]))
