"""Gives every test the real server, a bucket and key of its own, and files of all sizes."""

import os
import random
import shutil
import subprocess
import sys
import uuid
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from warren_process import RunningElsewhere, Server

REPOSITORY = Path(__file__).resolve().parents[2]
MIB = 1 << 20

# Around every border the formats have: empty, inline, one block, one part, several of each.
SIZES = {
    "empty": 0,
    "one-byte": 1,
    "inline": 4096,
    "inline-and-one": 4097,
    "frame-and-one": 64 * 1024 + 1,
    "block": 4 * MIB,
    "block-and-one": 4 * MIB + 1,
    "part-and-one": 8 * MIB + 1,
    "many parts": 40 * MIB + 7,
}
LARGE = 200 * MIB


def pytest_addoption(parser):
    parser.addoption("--warren", type=Path, default=REPOSITORY / "target/release/warren", help="the binary to test")
    parser.addoption("--endpoint", help="test a server that runs already; its key is taken from AWS_*")


@pytest.fixture(scope="session")
def server(request, tmp_path_factory):
    endpoint = request.config.getoption("--endpoint")
    if endpoint:
        yield RunningElsewhere(endpoint)
        return
    running = Server(request.config.getoption("--warren"), tmp_path_factory.mktemp("warren"))
    yield running
    assert running.stop() == 0, f"the server did not stop in order:\n{running.log.read_text()[-4000:]}"


@pytest.fixture(autouse=True)
def no_panic(server):
    """Fails every test during which the server panicked or died, whatever the client saw."""
    if isinstance(server, RunningElsewhere):
        yield
        return
    offset = server.log.stat().st_size
    yield
    logged = server.logged(offset)
    assert "panicked" not in logged, logged
    assert server.process.poll() is None, logged


@pytest.fixture(scope="session")
def connect(server):
    """Makes boto3 clients; keyword arguments go to botocore's Config."""

    def make(key=server.key, endpoint=server.endpoint, region="warren", **config):
        return boto3.client(
            "s3",
            endpoint_url=endpoint,
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            region_name=region,
            config=Config(**{"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **config}),
        )

    return make


@pytest.fixture(scope="session")
def s3(connect):
    """A boto3 client that sends each request once."""
    return connect()


@pytest.fixture
def bucket_name():
    return f"test-{uuid.uuid4().hex[:16]}"


@pytest.fixture
def bucket(s3, bucket_name):
    """An empty bucket of the test's own."""
    s3.create_bucket(Bucket=bucket_name)
    return bucket_name


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    """A folder with one file of every size up to 40 MiB, some in folders below it; never changed."""
    folder = tmp_path_factory.mktemp("files")
    for seed, (name, size) in enumerate(SIZES.items()):
        path = folder / ("sub folder/below" if seed % 2 else ".") / f"{name}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(seed).randbytes(size))
    return folder


@pytest.fixture(scope="session")
def large_file(tmp_path_factory):
    """One file of 200 MiB; never changed."""
    path = tmp_path_factory.mktemp("large") / "large.bin"
    source = random.Random("large")
    with open(path, "wb") as file:
        for _ in range(LARGE // MIB):
            file.write(source.randbytes(MIB))
    return path


@pytest.fixture(scope="session")
def environment(server, tmp_path_factory):
    """What a first start tells people to export for their programs, and nothing of the machine's own settings."""
    home = tmp_path_factory.mktemp("home")
    kept = {name: os.environ[name] for name in ("LANG", "LC_ALL", "TMPDIR") if name in os.environ}
    return {
        "LC_ALL": "C.UTF-8",
        **kept,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(home),
        "AWS_MAX_ATTEMPTS": "1",
        "NO_PROXY": "127.0.0.1",
        **dict(line.removeprefix("export ").split("=", 1) for line in server.snippet("aws-cli") if "export" in line),
    }


@pytest.fixture(scope="session")
def aws_cli(program, server):
    """Finds aws-cli and gives a function that makes runners of its subcommands, told the endpoint as a first start says."""
    told = next(line for line in server.snippet("aws-cli") if line.startswith("aws ")).split()
    return lambda *before: program("aws", *told[1 : told.index("s3")], *before)


@pytest.fixture(scope="session")
def program(environment):
    """Finds a program and gives a function that runs it; skips the test, loudly, where it is missing."""

    def find(name, *before, **extra):
        path = shutil.which(name, path=environment["PATH"])
        if path is None:
            pytest.skip(f"{name} is not installed: its tests did NOT run")

        def run(*arguments, status=0, **options):
            done = subprocess.run(
                [path, *before, *map(str, arguments)],
                env={**environment, **extra},
                capture_output=True,
                timeout=180,
                **options,
            )
            said = done.stderr.decode(errors="replace") + done.stdout.decode(errors="replace")[-4000:]
            assert (done.returncode == 0) == (status == 0), f"{name} {arguments}: {done.returncode}\n{said}"
            return done.stdout if status == 0 else done.stderr + done.stdout

        return run

    return find
