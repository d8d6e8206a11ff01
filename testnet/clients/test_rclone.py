"""rclone against the real server: each verb that moves, compares, lists or deletes."""

import shutil
import urllib.request

import pytest

from compare import assert_bucket_holds, assert_same_file, assert_same_folder, keys_in


@pytest.fixture
def rclone(program, server):
    remote = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_W_TYPE": "s3",
        "RCLONE_CONFIG_W_PROVIDER": "Other",
        "RCLONE_CONFIG_W_ENV_AUTH": "true",
        "RCLONE_CONFIG_W_ENDPOINT": server.endpoint,
        "RCLONE_RETRIES": "1",
        "RCLONE_LOW_LEVEL_RETRIES": "1",
    }
    return program("rclone", **remote)


def test_the_lines_that_a_first_start_prints_work_as_they_are(program, server, bucket):
    *exports, command = server.snippet("rclone")
    assert command.startswith("rclone ") and server.key.secret not in command
    told = dict(line.removeprefix("export ").split("=", 1) for line in exports)
    rclone = program("rclone", RCLONE_CONFIG="/dev/null", **told)
    assert bucket in rclone(*command.split()[1:]).decode()


def test_a_bucket_is_made_listed_and_removed(rclone, bucket_name):
    rclone("mkdir", f"w:{bucket_name}")
    assert bucket_name in rclone("lsd", "w:").decode()
    rclone("rmdir", f"w:{bucket_name}")
    assert bucket_name not in rclone("lsd", "w:").decode()


def test_a_folder_copied_up_checks_and_comes_back_the_same(rclone, s3, bucket, files, tmp_path):
    rclone("copy", files, f"w:{bucket}/all")
    assert_bucket_holds(s3, bucket, files, "all/")
    rclone("check", files, f"w:{bucket}/all")
    rclone("check", "--download", files, f"w:{bucket}/all")
    rclone("copy", f"w:{bucket}/all", tmp_path)
    assert_same_folder(files, tmp_path)


def test_check_sees_a_difference(rclone, s3, bucket, tmp_path):
    (tmp_path / "a").write_text("one")
    rclone("copy", tmp_path, f"w:{bucket}")
    s3.put_object(Bucket=bucket, Key="a", Body=b"two")
    assert b"differ" in rclone("check", tmp_path, f"w:{bucket}", status=1)


def test_sync_makes_the_bucket_equal_and_keeps_modification_times(rclone, s3, bucket, files, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(files, here)
    rclone("sync", here, f"w:{bucket}")
    (here / "inline.bin").unlink()
    (here / "one-byte.bin").touch()
    rclone("sync", here, f"w:{bucket}")
    assert_bucket_holds(s3, bucket, here)
    # A changed time alone is written by a copy onto itself; a second run then finds nothing to do.
    assert b"There was nothing to transfer" in rclone("sync", "-v", "--log-file", "/dev/stdout", here, f"w:{bucket}")


@pytest.mark.parametrize("streams", [1, 4])
def test_a_large_file_goes_up_over_and_down_unchanged(rclone, bucket, large_file, tmp_path, streams):
    parallel = ["--multi-thread-streams", streams, "--s3-upload-concurrency", streams]
    rclone("copyto", *parallel, large_file, f"w:{bucket}/large")
    rclone("copyto", "--s3-copy-cutoff", "64Mi", f"w:{bucket}/large", f"w:{bucket}/copied")
    rclone("copyto", *parallel, "--multi-thread-cutoff", "16Mi", f"w:{bucket}/copied", tmp_path / "back")
    assert_same_file(large_file, tmp_path / "back")


def test_moveto_renames(rclone, s3, bucket):
    s3.put_object(Bucket=bucket, Key="old name", Body=b"content")
    rclone("moveto", f"w:{bucket}/old name", f"w:{bucket}/new/näme")
    assert keys_in(s3, bucket) == ["new/näme"]


def test_move_takes_a_folder_away_from_the_disk(rclone, s3, bucket, files, tmp_path):
    shutil.copytree(files, tmp_path / "here")
    rclone("move", tmp_path / "here", f"w:{bucket}")
    assert_bucket_holds(s3, bucket, files)
    assert [path for path in (tmp_path / "here").rglob("*") if path.is_file()] == []


def test_lists_show_names_sizes_and_hashes(rclone, s3, bucket):
    s3.put_object(Bucket=bucket, Key="folder/a", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="b", Body=b"")
    assert rclone("lsf", f"w:{bucket}").decode().split() == ["b", "folder/"]
    assert sorted(rclone("lsf", "-R", "--files-only", "--format", "sp", f"w:{bucket}").decode().split()) == [
        "0;b",
        "5;folder/a",
    ]
    assert rclone("md5sum", f"w:{bucket}/b").split()[0] == b"d41d8cd98f00b204e9800998ecf8427e"
    assert b"Total objects: 2" in rclone("size", f"w:{bucket}")


def test_cat_and_rcat_stream(rclone, bucket, files):
    content = (files / "many parts.bin").read_bytes()
    rclone("rcat", f"w:{bucket}/piped", input=content)
    assert rclone("cat", f"w:{bucket}/piped") == content
    assert rclone("cat", "--offset", "4194300", "--count", "10", f"w:{bucket}/piped") == content[4194300:4194310]


def test_delete_deletefile_and_purge_remove(rclone, s3, bucket):
    for key in ["a/1", "a/2", "b", "c.tmp"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    rclone("deletefile", f"w:{bucket}/b")
    rclone("delete", "--include", "*.tmp", f"w:{bucket}")
    assert keys_in(s3, bucket) == ["a/1", "a/2"]
    rclone("purge", f"w:{bucket}/a")
    assert keys_in(s3, bucket) == []


def test_unfinished_uploads_are_listed_and_cleaned_up(rclone, s3, bucket):
    s3.create_multipart_upload(Bucket=bucket, Key="unfinished")
    assert b"unfinished" in rclone("backend", "list-multipart-uploads", f"w:{bucket}")
    rclone("backend", "cleanup", "-o", "max-age=0s", f"w:{bucket}")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_shared_link_downloads_without_a_key(rclone, s3, bucket):
    s3.put_object(Bucket=bucket, Key="to share", Body=b"shared")
    link = rclone("link", "--expire", "1m", f"w:{bucket}/to share").decode().strip()
    assert urllib.request.urlopen(link, timeout=10).read() == b"shared"


def test_bisync_brings_changes_both_ways(rclone, s3, bucket, tmp_path):
    here, workdir = tmp_path / "here", tmp_path / "bisync"
    here.mkdir()
    bisync = ["bisync", "--workdir", workdir, here, f"w:{bucket}"]
    for name in ("a", "b", "c"):
        (here / name).write_text(name)
    rclone(*bisync, "--resync")
    assert keys_in(s3, bucket) == ["a", "b", "c"]
    (here / "a").write_text("changed here")
    (here / "new here").write_text("x")
    s3.put_object(Bucket=bucket, Key="new there", Body=b"y")
    s3.delete_object(Bucket=bucket, Key="b")
    rclone(*bisync)
    assert_bucket_holds(s3, bucket, here)
    assert {path.name for path in here.iterdir()} == {"a", "c", "new here", "new there"}
    assert (here / "a").read_text() == "changed here"


def test_old_versions_are_listed_read_and_cleaned_up(rclone, s3, bucket):
    rclone("backend", "versioning", f"w:{bucket}", "Enabled")
    for text in (b"one", b"two"):
        rclone("rcat", f"w:{bucket}/a.txt", input=text)
    rclone("deletefile", f"w:{bucket}/a.txt")
    assert rclone("lsf", f"w:{bucket}") == b""
    listed = rclone("lsf", "--s3-versions", f"w:{bucket}").decode().splitlines()
    assert len(listed) == 2 and all(name.startswith("a-v") for name in listed)
    read = {rclone("cat", "--s3-versions", f"w:{bucket}/{name}") for name in listed}
    assert read == {b"one", b"two"}
    rclone("backend", "cleanup-hidden", f"w:{bucket}")
    assert rclone("lsf", "--s3-versions", f"w:{bucket}") == b""
