#!/usr/bin/env python3
"""Writes a signed update of the image's system; the format is described in appliance/src/update/bundle.rs.

    bundle.py OUTPUT KEY.pem SYSTEM BUILD VERSION NAME=FILE...
    bundle.py --public KEY.pem                            # prints the public key as a box wants it

KEY.pem is an ed25519 key as `openssl genpkey -algorithm ed25519` makes it. The same input gives the same bytes.
"""

import hashlib
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

MAGIC = b"WRNUPD\0\x01"
SIGNED_FOR = b"warren update manifest\0"


def sign(key: str, message: bytes) -> bytes:
    with tempfile.NamedTemporaryFile() as file:
        file.write(message)
        file.flush()
        return openssl("pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", file.name)


def public(key: str) -> str:
    # A public key in DER ends with the 32 bytes of the point.
    return openssl("pkey", "-in", key, "-pubout", "-outform", "DER")[-32:].hex()


def openssl(*arguments: str) -> bytes:
    return subprocess.run(["openssl", *arguments], stdout=subprocess.PIPE, check=True).stdout


def part(name: str, path: Path) -> dict:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": name, "bytes": path.stat().st_size, "sha256": digest}


def main(output: str, key: str, system: str, build: str, version: str, *named: str) -> None:
    files = [(name, Path(path)) for name, path in (one.split("=", 1) for one in named)]
    parts = [part(name, path) for name, path in files]
    manifest = {"system": system, "build": int(build), "version": version, "parts": parts}
    text = json.dumps(manifest, separators=(",", ":")).encode()
    with open(output, "wb") as bundle:
        bundle.write(MAGIC + struct.pack("<I", len(text)) + sign(key, SIGNED_FOR + text) + text)
        for _, path in files:
            with open(path, "rb") as content:
                shutil.copyfileobj(content, bundle)


if __name__ == "__main__":
    if len(sys.argv) == 3 and sys.argv[1] == "--public":
        print(public(sys.argv[2]))
    elif len(sys.argv) >= 7:
        main(*sys.argv[1:])
    else:
        sys.exit(__doc__)
