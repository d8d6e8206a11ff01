#!/usr/bin/env python3
"""Runs a command as root of namespaces of its own, in which programs for arm64 run under QEMU's user emulation.

    emulated.py COMMAND ARGUMENT...

The table of foreign binary formats (binfmt_misc) belongs to a user namespace since Linux 6.7: this fills the one of a
namespace that ends with the command, so that the machine's own table stays as it is, and works where that may not be
written. Ids 0 to 65535 are mapped to themselves: the files that the command makes have the owners it gives them.
Needs root and qemu-user-static. On an arm64 machine it adds nothing and runs the command as it is.
"""

import ctypes
import os
import platform
import shutil
import sys

CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID = 0x20000, 0x10000000, 0x20000000
MS_REC, MS_PRIVATE = 0x4000, 1 << 18
IDS = "0 0 65536\n"
# The header of an ELF file for aarch64, and which of its bits count.
MAGIC = r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00"
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


def inside(emulator: str, command: list[str]) -> None:
    """The first process of the new process namespace; becomes the command."""
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("proc", "/proc", "proc")
    mount("binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc")
    with open("/proc/sys/fs/binfmt_misc/register", "w") as register:
        register.write(f":qemu-aarch64:M::{MAGIC}:{MASK}:{emulator}:{FLAGS}")
    os.execvp(command[0], command)


def main(command: list[str]) -> int:
    if platform.machine() == "aarch64":
        os.execvp(command[0], command)
    emulator = shutil.which("qemu-aarch64-static") or sys.exit("needs: apt install qemu-user-static")
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
            inside(emulator, command)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]))
    os.close(entered[1])
    if os.read(entered[0], 1):
        for ids in ("uid_map", "gid_map"):
            with open(f"/proc/{child}/{ids}", "w") as file:
                file.write(IDS)
    os.write(mapped[1], b".")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    sys.exit(main(sys.argv[1:]))
