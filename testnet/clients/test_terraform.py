"""Terraform against the real server: a state in a bucket with a lock file beside it, which two applies never hold at once.

Only what is built into Terraform is used, so that no registry is asked. Where Terraform is missing, nothing of this is tried:
conditional writes, on which the lock rests, have tests of their own beside this one.
"""

import json
import re
import shutil
import subprocess

import pytest

from compare import becomes_true, keys_in

STATE = "home/terraform.tfstate"
LOCK = f"{STATE}.tflock"
# Each apply makes the resource anew, which takes a while and says when it begins and ends.
CONFIGURATION = """
terraform {
  backend "s3" {
    bucket                      = "%s"
    key                         = "%s"
    region                      = "warren"
    endpoints                   = { s3 = "%s" }
    use_path_style              = true
    use_lockfile                = true
    skip_credentials_validation = true
    skip_metadata_api_check     = true
    skip_region_validation      = true
    skip_requesting_account_id  = true
  }
}

variable "seconds" {
  default = 1
}

resource "terraform_data" "slow" {
  triggers_replace = timestamp()

  provisioner "local-exec" {
    command = "echo begin >> '%s'; sleep ${var.seconds}; echo end >> '%s'"
  }
}
"""


class Workspace:
    """A folder from which somebody applies; all of one bucket share their state."""

    def __init__(self, folder, configuration, environment):
        path = shutil.which("terraform", path=environment["PATH"])
        if path is None:
            pytest.skip("terraform is not installed: its tests did NOT run")
        folder.mkdir()
        (folder / "main.tf").write_text(configuration)
        self.path, self.folder = path, folder
        self.environment = {**environment, "CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        self.finished(self.begin("init", "-input=false"))

    def begin(self, *arguments):
        return subprocess.Popen(
            [self.path, f"-chdir={self.folder}", *arguments, "-no-color"],
            env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )

    def apply(self, seconds=1, patience="0s"):
        return self.begin("apply", "-auto-approve", f"-lock-timeout={patience}", f"-var=seconds={seconds}")

    def finished(self, process, succeeds=True):
        said, _ = process.communicate(timeout=120)
        assert (process.returncode == 0) == succeeds, said
        return said


@pytest.fixture
def told(tmp_path):
    """The file to which applies say when they begin and end."""
    path = tmp_path / "told"
    path.touch()
    return path


@pytest.fixture
def homes(server, bucket, environment, tmp_path, told):
    """Two folders with the same state."""
    configuration = CONFIGURATION % (bucket, STATE, server.endpoint, told, told)
    return [Workspace(tmp_path / name, configuration, environment) for name in ("one", "other")]


def test_an_apply_that_finds_the_state_locked_changes_nothing(s3, bucket, homes, told):
    one, other = homes
    applying = one.apply(seconds=8)
    becomes_true(lambda: told.read_text() == "begin\n", 60)
    held = json.loads(s3.get_object(Bucket=bucket, Key=LOCK)["Body"].read())
    said = other.finished(other.apply(), succeeds=False)
    assert "Error acquiring the state lock" in said and held["ID"] in said
    assert told.read_text() == "begin\n" and applying.poll() is None
    one.finished(applying)
    assert keys_in(s3, bucket) == [STATE]
    # Now it is free.
    other.finished(other.apply())
    assert told.read_text() == "begin\nend\n" * 2
    state = json.loads(s3.get_object(Bucket=bucket, Key=STATE)["Body"].read())
    assert [resource["type"] for resource in state["resources"]] == ["terraform_data"]


def test_of_two_applies_at_once_exactly_one_holds_the_lock(s3, bucket, homes, told):
    for _ in range(3):
        told.write_text("")
        both = [home.apply(seconds=4) for home in homes]
        said = [process.communicate(timeout=120)[0] for process in both]
        assert sorted(process.returncode for process in both) == [0, 1], said
        assert sum("Error acquiring the state lock" in text for text in said) == 1
        assert told.read_text() == "begin\nend\n"
        assert keys_in(s3, bucket) == [STATE]


def test_whoever_waits_for_the_lock_comes_after_whoever_had_it(s3, bucket, homes, told):
    both = [home.apply(patience="90s") for home in homes]
    for home, process in zip(homes, both):
        home.finished(process)
    assert told.read_text() == "begin\nend\n" * 2
    serial = json.loads(s3.get_object(Bucket=bucket, Key=STATE)["Body"].read())["serial"]
    assert serial >= 2 and keys_in(s3, bucket) == [STATE]


def test_the_lock_of_an_apply_that_died_is_removed_by_its_id_and_no_other(s3, bucket, homes, told):
    one, other = homes
    applying = one.apply(seconds=5)
    becomes_true(lambda: told.read_text() == "begin\n", 60)
    applying.kill()
    applying.communicate(timeout=60)
    said = other.finished(other.apply(), succeeds=False)
    held = re.search(r"^\W*ID: +(\S+)", said, re.MULTILINE)[1]
    other.finished(other.begin("force-unlock", "-force", "00000000-0000-0000-0000-000000000000"), succeeds=False)
    assert LOCK in keys_in(s3, bucket)
    other.finished(other.begin("force-unlock", "-force", held))
    assert LOCK not in keys_in(s3, bucket)
    other.finished(other.apply())
