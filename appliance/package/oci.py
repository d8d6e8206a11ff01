#!/usr/bin/env python3
"""Writes an OCI image of the static binary, from scratch and without a container engine.

    oci.py OUTPUT.tar VERSION ARCH=BINARY...        # e.g. oci.py warren-oci.tar 0.1.0 amd64=warren arm64=warren-arm64

The result is an image layout (image-spec 1.1) in a tar file, as `podman load`, `skopeo copy oci-archive:` and
`docker load` (25 and later) take it:

    oci-layout              which version of the layout this is
    index.json              the manifest of each architecture
    blobs/sha256/DIGEST     manifests, configurations and layers, named by what they contain

An image has one layer: the binary at `/usr/bin/warren` and an empty `/var/lib/warren` that belongs to the user who runs
it. There is no shell, no C library and no root. The same binaries and SOURCE_DATE_EPOCH give the same bytes.
"""

import gzip
import hashlib
import io
import json
import os
import sys
import tarfile
import time
from pathlib import Path

# Nobody's id on any distribution; the one that images without root commonly use.
USER = 65532
STATE = "var/lib/warren"
# The mesh listens on a random port otherwise, which nobody could publish.
MESH_PORT = 4001
# S3, the page, and the mesh.
PORTS = ["3900/tcp", "3980/tcp", f"{MESH_PORT}/tcp", f"{MESH_PORT}/udp"]
VARIANTS = {"arm64": {"variant": "v8"}}


class Blobs:
    """What an image consists of, by digest."""

    def __init__(self):
        self.contents = {}

    def add(self, media_type: str, content: bytes) -> dict:
        """Keeps content; gives the descriptor by which others refer to it."""
        digest = hashlib.sha256(content).hexdigest()
        self.contents[digest] = content
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def add_json(self, media_type: str, document: dict) -> dict:
        return self.add(media_type, canonical(document))


def canonical(document: dict) -> bytes:
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def entry(name: str, mode: int, epoch: int, owner: int = 0) -> tarfile.TarInfo:
    """A member of a tar file without anything of the machine that writes it."""
    info = tarfile.TarInfo(name)
    info.mode, info.mtime, info.uid, info.gid = mode, epoch, owner, owner
    return info


def layer(binary: bytes, epoch: int) -> bytes:
    """The file system of the image as an uncompressed tar."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name in ("tmp", "usr", "usr/bin", "var", "var/lib", STATE):
            ours = name in ("tmp", STATE)
            folder = entry(name, 0o700 if ours else 0o755, epoch, USER if ours else 0)
            folder.type = tarfile.DIRTYPE
            tar.addfile(folder)
        program = entry("usr/bin/warren", 0o755, epoch)
        program.size = len(binary)
        tar.addfile(program, io.BytesIO(binary))
    return out.getvalue()


def image(blobs: Blobs, arch: str, binary: bytes, version: str, epoch: int) -> dict:
    """Adds the image of one architecture; gives its line in the index."""
    content = layer(binary, epoch)
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))
    platform = {"architecture": arch, "os": "linux", **VARIANTS.get(arch, {})}
    config = {
        **platform,
        "created": created,
        "config": {
            "User": f"{USER}:{USER}",
            "Entrypoint": ["/usr/bin/warren"],
            "Cmd": ["server"],
            "Env": ["PATH=/usr/bin", f"WARREN_STATE=/{STATE}", f"WARREN_MESH={MESH_PORT}"],
            "WorkingDir": f"/{STATE}",
            "Volumes": {f"/{STATE}": {}},
            "ExposedPorts": {port: {} for port in PORTS},
            "StopSignal": "SIGTERM",
            "Labels": {
                "org.opencontainers.image.title": "Warren",
                "org.opencontainers.image.description": "Private, encrypted, replicated S3 store",
                "org.opencontainers.image.version": version,
                "org.opencontainers.image.licenses": "AGPL-3.0-or-later",
            },
        },
        # Layers are named by their uncompressed content here, and by what is stored in the manifest.
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(content).hexdigest()}"]},
        "history": [{"created": created, "created_by": "appliance/package/oci.py"}],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": blobs.add_json("application/vnd.oci.image.config.v1+json", config),
        "layers": [blobs.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip.compress(content, mtime=0))],
    }
    return {**blobs.add_json(manifest["mediaType"], manifest), "platform": platform}


def main(output: str, version: str, *binaries: str) -> None:
    epoch = int(os.environ.get("SOURCE_DATE_EPOCH", 0))
    blobs = Blobs()
    named = [binary.split("=", 1) for binary in sorted(binaries)]
    index = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [
            {
                **image(blobs, arch, Path(path).read_bytes(), version, epoch),
                "annotations": {"org.opencontainers.image.ref.name": f"warren:{version}"},
            }
            for arch, path in named
        ],
    }
    files = {"oci-layout": canonical({"imageLayoutVersion": "1.0.0"}), "index.json": canonical(index)}
    files |= {f"blobs/sha256/{digest}": content for digest, content in sorted(blobs.contents.items())}
    with tarfile.open(output, "w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in files.items():
            info = entry(name, 0o644, epoch)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main(*sys.argv[1:])
