"""The admin API is asked all that its description allows, and much that it does not: it never fails, and answers as described."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from warren_process import Server

HERE = Path(__file__).resolve().parent
# Answers that end only when the client goes away, for whom schemathesis would wait; browsers listen to them in test_console.py.
ENDLESS = "/api/v1/events"
# What no description can say is left out: whether a valid request also fits what is stored (409, 422), and that it has no
# token, since schemathesis sends ours with each request but those of `ignored_auth`.
CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance,"
    "response_schema_conformance,negative_data_rejection,unsupported_method,allow_header_conformance,ignored_auth"
)
# The description has a few operations more than this.
OPERATIONS_MIN = 55
# Twenty times what it takes on a machine that has nothing else to do.
SECONDS_MAX = 300


class Api:
    """The admin API of a box, over its page, with a token that may do all that a token may."""

    def __init__(self, box: Server):
        self.box = box
        self.address = json.loads(box.command("login-code", "--json"))["page"][0]
        self.token = json.loads(box.command("token", "create", "fuzz", "--scope", "admin", "--json"))["secret"]

    def ask(self, method: str, path: str, document: dict | None = None, content: bytes | None = None):
        body = content if document is None else json.dumps({"schema": 1, **document}).encode()
        asked = urllib.request.Request(f"{self.address}/api/v1{path}", body, {"Authorization": f"Bearer {self.token}"}, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.loads(answer.read() or "null")


@pytest.fixture(scope="module")
def api(request, tmp_path_factory):
    """A box of its own, since much is done to it."""
    if request.config.getoption("--endpoint"):
        pytest.skip("nobody's server is to be treated like this")
    box = Server(request.config.getoption("--warren"), tmp_path_factory.mktemp("fuzzed"))
    yield Api(box)
    assert box.stop() == 0, box.log.read_text()[-4000:]
    assert "panicked" not in box.log.read_text()


@pytest.fixture(scope="module")
def there(api):
    """Names of what is there: a bucket with versions and an upload, a key, the box, an invite."""
    bucket = "/buckets/fuzzed"
    api.ask("POST", "/buckets", {"name": "fuzzed"})
    api.ask("PUT", f"{bucket}/versioning", {"on": True})
    for content in (b"old", b"new"):
        api.ask("PUT", f"{bucket}/objects/content?key=picture.png", content=content)
    versions = api.ask("GET", f"{bucket}/objects/versions")["versions"]
    return {
        "path name": "fuzzed",
        "path key": api.ask("POST", "/keys", {"name": "fuzzed"})["id"],
        "path peer": str(api.ask("GET", "/peers")["peers"][0]["member"]),
        "path id": api.ask("POST", "/invites", {"role": "trusted", "valid_seconds": 3600})["id"],
        "query key": "picture.png",
        "query version": versions[1]["version"],
        "query upload": api.ask("POST", f"{bucket}/uploads", {"key": "picture.png"})["upload"],
    }


def fuzz(api, there, seed: int, *options: str) -> str:
    """Runs schemathesis; gives what it said. Its limits are in `options`."""
    program = shutil.which("schemathesis", path=Path(sys.executable).parent)
    if program is None:
        pytest.skip("schemathesis is not installed: the admin API was NOT fuzzed")
    command = [program, "--config-file", str(HERE / "schemathesis.toml"), "--no-color", "run", f"{api.address}/api/v1/openapi.json", "--seed", str(seed), "--exclude-path", ENDLESS]
    command += ["--checks", CHECKS, "--continue-on-failure", "--no-shrink", "--header", f"Authorization: Bearer {api.token}"]
    hooks = {"SCHEMATHESIS_HOOKS": "schemathesis_hooks", "PYTHONPATH": str(HERE), "WARREN_FUZZED": json.dumps(there)}
    done = subprocess.run(
        [*command, *options], env={**os.environ, **hooks, "NO_PROXY": "127.0.0.1"}, cwd=api.box.folder,
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS_MAX,
    )
    assert done.returncode == 0, f"seed {seed}:\n{done.stdout}{done.stderr}"
    # The box still answers, and what most of the requests were about is still there.
    assert api.ask("GET", "/status")["schema"] == 1 and api.ask("GET", "/buckets/fuzzed")["name"] == "fuzzed"
    return done.stdout


def test_every_operation_answers_as_described_at_the_borders_of_what_is_allowed(api, there):
    said = fuzz(api, there, 1, "--phases", "coverage,fuzzing", "--max-examples", "2")
    tested = re.search(r"Tested: +(\d+)", said)
    assert tested and int(tested[1]) >= OPERATIONS_MIN, said


def test_what_nobody_thought_of_is_answered_as_described(api, there):
    seed = random.SystemRandom().getrandbits(32)
    print(f"to repeat it: --seed {seed}")
    fuzz(api, there, seed, "--phases", "fuzzing,stateful", "--max-time", "12")
