"""restic against the real server: a repository's whole life, from a bucket that restic makes itself."""

import json
import shutil
import signal
import subprocess
import time

import pytest

from compare import assert_same_folder, refused


@pytest.fixture
def repository(server, bucket_name):
    """What tells restic where its repository is."""
    return {"RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket_name}/backups", "RESTIC_PASSWORD": "a test's"}


@pytest.fixture
def restic(program, repository):
    return program("restic", "--no-cache", **repository)


@pytest.fixture
def slow_check(restic, environment, repository, s3, bucket_name):
    """Starts a restic that locks the repository for itself and takes minutes; gives the process once it has its lock."""
    begun = []

    def begin():
        command = ["restic", "--no-cache", "check", "--read-data", "--limit-download", "16"]
        process = subprocess.Popen(
            command, env={**environment, **repository}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        begun.append(process)
        deadline = time.monotonic() + 30
        while "Contents" not in s3.list_objects_v2(Bucket=bucket_name, Prefix="backups/locks/"):
            assert process.poll() is None and time.monotonic() < deadline, "it does not lock"
            time.sleep(0.05)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.wait()


def test_a_backup_is_checked_restored_forgotten_and_pruned(restic, files, large_file, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(files, here)
    shutil.copy(large_file, here / "large.bin")

    restic("init")
    restic("backup", here)
    (here / "large.bin").unlink()
    (here / "added.txt").write_text("added later")
    restic("backup", here)
    restic("check", "--read-data")
    first, second = json.loads(restic("snapshots", "--json"))

    restic("restore", first["id"], "--target", tmp_path / "first")
    restored = tmp_path / "first" / here.relative_to("/")
    assert (restored / "large.bin").stat().st_size == large_file.stat().st_size
    restic("restore", second["id"], "--target", tmp_path / "second")
    assert_same_folder(here, tmp_path / "second" / here.relative_to("/"))
    assert b"added.txt" in restic("diff", first["id"], second["id"])
    assert restic("dump", "latest", here / "added.txt") == b"added later"
    assert restic("find", "added.txt")
    assert restic("ls", "latest")
    assert restic("stats", "--mode", "raw-data")

    restic("tag", "--set", "kept", second["id"])
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    (remaining,) = json.loads(restic("snapshots", "--json"))
    assert remaining["tags"] == ["kept"]


def test_a_second_init_is_refused_and_locks_come_and_go(restic):
    restic("init")
    assert b"already" in restic("init", status=1)
    restic("unlock")
    assert restic("list", "locks") == b""
    restic("key", "list")
    restic("rebuild-index")


def test_a_backup_from_a_pipe_dumps_the_same(restic, files):
    content = (files / "many parts.bin").read_bytes()
    restic("init")
    restic("backup", "--stdin", "--stdin-filename", "piped", input=content)
    assert restic("dump", "latest", "/piped") == content


def test_what_one_process_locks_for_itself_is_refused_to_another(restic, slow_check, files):
    restic("init")
    restic("backup", files)
    checking = slow_check()
    for contender in (("prune",), ("backup", files)):
        assert b"already locked exclusively" in restic(*contender, status=1)
    # A lock is not stale as long as its process lives.
    restic("unlock")
    assert b"already locked exclusively" in restic("prune", status=1)
    assert checking.poll() is None
    checking.send_signal(signal.SIGINT)
    assert checking.wait(30) != 0
    # It took its lock with it.
    assert restic("list", "locks", "--no-lock") == b""
    restic("prune")


def test_the_lock_of_a_process_that_died_is_removed_by_unlock(restic, slow_check, files):
    restic("init")
    restic("backup", files)
    checking = slow_check()
    checking.kill()
    checking.wait()
    assert b"already locked" in restic("prune", status=1)
    assert len(restic("list", "locks", "--no-lock").split()) == 1
    restic("unlock")
    assert restic("list", "locks", "--no-lock") == b""
    restic("prune")


def test_a_repository_under_retention_is_pruned_and_keeps_every_version(restic, s3, bucket_name, files, tmp_path):
    s3.create_bucket(Bucket=bucket_name, ObjectLockEnabledForBucket=True)
    default = {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}
    s3.put_object_lock_configuration(
        Bucket=bucket_name, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", "Rule": default}
    )

    def versions():
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket_name)
        return {(entry["Key"], entry["VersionId"]) for page in pages for entry in page.get("Versions", [])}

    here = tmp_path / "here"
    shutil.copytree(files, here)
    restic("init")
    restic("backup", here)
    gone = next(here.rglob("many parts.bin"))
    content = gone.read_bytes()
    gone.unlink()
    restic("backup", here)
    first, second = json.loads(restic("snapshots", "--json"))
    before = versions()
    restic("forget", first["id"], "--prune", "--max-unused", "0")
    restic("check", "--read-data")
    (remaining,) = json.loads(restic("snapshots", "--json"))
    assert remaining["id"] == second["id"]
    restic("restore", "latest", "--target", tmp_path / "restored")
    assert_same_folder(here, tmp_path / "restored" / here.relative_to("/"))

    # What was pruned is hidden, and nothing of it is gone: the first snapshot comes back with its markers removed.
    assert before <= versions()
    listed = s3.list_object_versions(Bucket=bucket_name, Prefix="backups/data/")["DeleteMarkers"]
    assert listed, "prune deleted nothing"
    for key, version in sorted(before):
        if key.startswith("backups/snapshots/"):
            with refused(403, "AccessDenied"):
                s3.delete_object(Bucket=bucket_name, Key=key, VersionId=version)
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket_name):
        for marker in page.get("DeleteMarkers", []):
            if "/locks/" not in marker["Key"]:
                s3.delete_object(Bucket=bucket_name, Key=marker["Key"], VersionId=marker["VersionId"])
    restic("restore", first["id"], "--target", tmp_path / "first")
    restored = tmp_path / "first" / gone.relative_to("/")
    assert restored.read_bytes() == content
