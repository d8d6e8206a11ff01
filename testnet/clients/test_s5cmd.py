"""s5cmd against the real server: each of its verbs."""

import shutil
import urllib.request

import pytest

from compare import assert_bucket_holds, assert_same_file, assert_same_folder, keys_in


@pytest.fixture
def s5cmd(program, server):
    return program("s5cmd", "--endpoint-url", server.endpoint, "-r", "0")


def test_a_bucket_is_made_listed_and_removed(s5cmd, bucket_name):
    s5cmd("mb", f"s3://{bucket_name}")
    assert bucket_name in s5cmd("ls").decode()
    s5cmd("rb", f"s3://{bucket_name}")
    assert bucket_name not in s5cmd("ls").decode()


def test_a_folder_copied_up_and_down_is_the_same(s5cmd, s3, bucket, files, tmp_path):
    s5cmd("cp", f"{files}/", f"s3://{bucket}/all/")
    assert_bucket_holds(s3, bucket, files, "all/")
    s5cmd("cp", f"s3://{bucket}/all/*", f"{tmp_path}/")
    assert_same_folder(files, tmp_path)


def test_a_large_file_goes_up_over_and_down_unchanged(s5cmd, bucket, large_file, tmp_path):
    s5cmd("cp", large_file, f"s3://{bucket}/large")
    s5cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copied")
    s5cmd("cp", "--concurrency", "8", f"s3://{bucket}/copied", tmp_path / "back")
    assert_same_file(large_file, tmp_path / "back")


def test_many_small_files_go_up_and_are_deleted_together(s5cmd, s3, bucket, tmp_path):
    for number in range(1200):
        (tmp_path / f"{number:04}").write_text(str(number))
    s5cmd("cp", f"{tmp_path}/", f"s3://{bucket}/many/")
    assert_bucket_holds(s3, bucket, tmp_path, "many/")
    s5cmd("rm", f"s3://{bucket}/many/*")
    assert keys_in(s3, bucket) == []


def test_mv_leaves_the_source_empty(s5cmd, s3, bucket, files, tmp_path):
    local = tmp_path / "local.bin"
    shutil.copy(files / "inline.bin", local)
    s5cmd("mv", local, f"s3://{bucket}/a")
    s5cmd("mv", f"s3://{bucket}/a", f"s3://{bucket}/b")
    assert not local.exists() and keys_in(s3, bucket) == ["b"]


def test_ls_du_and_head_show_what_is_there(s5cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="folder/below", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="top", Body=b"123")
    listed = s5cmd("ls", f"s3://{bucket}").decode()
    assert "DIR  folder/" in listed and "top" in listed and "below" not in listed
    assert "folder/below" in s5cmd("ls", f"s3://{bucket}/*").decode()
    assert b"8 bytes in 2 objects" in s5cmd("du", f"s3://{bucket}/*")
    assert b'"size":5' in s5cmd("head", f"s3://{bucket}/folder/below")


def test_cat_and_pipe_stream(s5cmd, bucket, files):
    content = (files / "many parts.bin").read_bytes()
    s5cmd("pipe", f"s3://{bucket}/piped", input=content)
    assert s5cmd("cat", f"s3://{bucket}/piped") == content


def test_sync_goes_both_ways_and_deletes(s5cmd, s3, bucket, files, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(files, here)
    s5cmd("sync", f"{here}/", f"s3://{bucket}/")
    (here / "inline.bin").unlink()
    (here / "one-byte.bin").write_text("longer")
    s5cmd("sync", "--delete", f"{here}/", f"s3://{bucket}/")
    assert_bucket_holds(s3, bucket, here)
    s5cmd("sync", f"s3://{bucket}/*", f"{there}/")
    assert_same_folder(here, there)


def test_run_executes_a_list_of_commands(s5cmd, s3, bucket, tmp_path):
    (tmp_path / "x").write_text("x")
    commands = "\n".join(f"cp {tmp_path}/x s3://{bucket}/{number}" for number in range(20))
    s5cmd("run", input=commands.encode())
    assert len(keys_in(s3, bucket)) == 20


def test_presigned_links_download_without_a_key(s5cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b", Body=b"shared")
    link = s5cmd("presign", f"s3://{bucket}/a b").decode().strip()
    assert urllib.request.urlopen(link, timeout=10).read() == b"shared"
