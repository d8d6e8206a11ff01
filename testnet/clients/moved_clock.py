"""Moves the clock of a server, and slows its disk: a library that is loaded into the unchanged program."""

import mmap
import shutil
import struct
import subprocess
from datetime import timedelta
from pathlib import Path

import botocore.auth
import botocore.crt.auth
import pytest
from botocore.compat import get_current_datetime

SOURCE = Path(__file__).resolve().parents[1] / "src/namespaces/tamper.c"
# The words of the file by which the library is told; see its source.
AHEAD_MS, SYNC_MS, LOADED, WORDS = 0, 1, 3, 4


class MovedClock:
    """What is done to one server, and to whoever signs for it in this process."""

    def __init__(self, folder, patch):
        if shutil.which("cc") is None:
            pytest.skip("there is no C compiler: tests of a moved clock did NOT run")
        library, self.told = folder / "tamper.so", folder / "tamper"
        built = subprocess.run(
            ["cc", "-shared", "-fPIC", "-O2", "-o", library, SOURCE, "-ldl"], capture_output=True, text=True
        )
        assert built.returncode == 0, built.stderr
        self.told.write_bytes(bytes(8 * WORDS))
        with open(self.told, "r+b") as file:
            self.words = mmap.mmap(file.fileno(), 8 * WORDS)
        self.environment = {"LD_PRELOAD": str(library), "TESTNET_TAMPER": str(self.told)}
        # Signatures are of the time of the server.
        moved = lambda *arguments, **named: get_current_datetime(*arguments, **named) + self.ahead  # noqa: E731
        for signer in (botocore.auth, botocore.crt.auth):
            patch.setattr(signer, "get_current_datetime", moved)

    def must_be_loaded(self):
        """Skips where the program is linked statically, and loads no library."""
        if self._read(LOADED) != 1:
            pytest.skip("the program loads no library: tests of a moved clock did NOT run")

    @property
    def ahead(self):
        """How far it is ahead of this machine's."""
        return timedelta(milliseconds=self._read(AHEAD_MS))

    @ahead.setter
    def ahead(self, by):
        self._write(AHEAD_MS, by // timedelta(milliseconds=1))

    def slow_disk(self, by):
        """Has every sync take so much longer."""
        self._write(SYNC_MS, by // timedelta(milliseconds=1))

    def _read(self, word):
        return struct.unpack_from("=q", self.words, 8 * word)[0]

    def _write(self, word, value):
        struct.pack_into("=q", self.words, 8 * word, value)
