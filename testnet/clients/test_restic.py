"""restic against the real server: a repository's whole life, from a bucket that restic makes itself."""

import json
import shutil

import pytest

from compare import assert_same_folder


@pytest.fixture
def restic(program, server, bucket_name):
    extra = {"RESTIC_REPOSITORY": f"s3:{server.endpoint}/{bucket_name}/backups", "RESTIC_PASSWORD": "a test's"}
    return program("restic", "--no-cache", **extra)


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
