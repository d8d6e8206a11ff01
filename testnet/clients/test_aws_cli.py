"""aws-cli against the real server: every `aws s3` verb."""

import shutil
import subprocess
import urllib.request

import pytest

from compare import assert_bucket_holds, assert_same_file, assert_same_folder, keys_in


@pytest.fixture
def aws(aws_cli):
    return aws_cli("s3")


def test_the_lines_that_a_first_start_prints_work_as_they_are(server, environment, bucket_name):
    lines = [line.replace("s3://photos", f"s3://{bucket_name}") for line in server.snippet("aws-cli")]
    home = {name: environment[name] for name in ("PATH", "HOME", "LC_ALL", "NO_PROXY")}
    done = subprocess.run(["sh", "-ec", "\n".join(lines)], env=home, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert bucket_name in done.stdout


def test_a_bucket_is_made_listed_and_removed(aws, s3, bucket_name):
    aws("mb", f"s3://{bucket_name}")
    assert bucket_name in aws("ls").decode()
    aws("rb", f"s3://{bucket_name}")
    assert bucket_name not in aws("ls").decode()


def test_a_bucket_with_objects_is_removed_only_by_force(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="in the way", Body=b"x")
    assert b"BucketNotEmpty" in aws("rb", f"s3://{bucket}", status=1)
    aws("rb", f"s3://{bucket}", "--force")
    assert bucket not in aws("ls").decode()


def test_a_folder_copied_up_and_down_is_the_same(aws, s3, bucket, files, tmp_path):
    aws("cp", files, f"s3://{bucket}/all/", "--recursive", "--quiet")
    assert_bucket_holds(s3, bucket, files, "all/")
    aws("cp", f"s3://{bucket}/all/", tmp_path, "--recursive", "--quiet")
    assert_same_folder(files, tmp_path)


def test_a_large_file_goes_up_over_and_down_unchanged(aws, bucket, large_file, tmp_path):
    aws("cp", large_file, f"s3://{bucket}/large", "--quiet")
    aws("cp", f"s3://{bucket}/large", f"s3://{bucket}/copy of large", "--quiet")
    aws("cp", f"s3://{bucket}/copy of large", tmp_path / "back", "--quiet")
    assert_same_file(large_file, tmp_path / "back")


def test_cp_streams_from_standard_input_and_to_standard_output(aws, bucket, files):
    content = (files / "many parts.bin").read_bytes()
    aws("cp", "-", f"s3://{bucket}/from a pipe", input=content)
    assert aws("cp", f"s3://{bucket}/from a pipe", "-") == content


def test_sync_moves_only_differences_and_deletes_on_request(aws, s3, bucket, files, tmp_path):
    here = tmp_path / "here"
    shutil.copytree(files, here)
    aws("sync", here, f"s3://{bucket}/")
    assert aws("sync", here, f"s3://{bucket}/") == b""

    (here / "inline.bin").unlink()
    (here / "added.txt").write_text("added")
    aws("sync", here, f"s3://{bucket}/", "--delete")
    assert_bucket_holds(s3, bucket, here)

    there = tmp_path / "there"
    aws("sync", f"s3://{bucket}/", there, "--quiet")
    assert_same_folder(here, there)
    assert aws("sync", f"s3://{bucket}/", there) == b""


def test_mv_leaves_the_source_empty(aws, s3, bucket, files, tmp_path):
    local = tmp_path / "local.bin"
    shutil.copy(files / "inline.bin", local)
    aws("mv", local, f"s3://{bucket}/a")
    assert not local.exists()
    aws("mv", f"s3://{bucket}/a", f"s3://{bucket}/b")
    assert keys_in(s3, bucket) == ["b"]
    aws("mv", f"s3://{bucket}/b", local)
    assert keys_in(s3, bucket) == []
    assert_same_file(local, files / "inline.bin")


def test_ls_shows_folders_sizes_and_a_summary(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="top", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="folder/below", Body=b"123")
    plain = aws("ls", f"s3://{bucket}").decode()
    assert "PRE folder/" in plain and " 5 top" in plain and "below" not in plain
    whole = aws("ls", f"s3://{bucket}", "--recursive", "--summarize").decode()
    assert "3 folder/below" in whole and "Total Objects: 2" in whole and "Total Size: 8" in whole


def test_rm_deletes_one_key_or_a_whole_prefix(aws, s3, bucket):
    for key in ["a/1", "a/2", "b/1", "c"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    aws("rm", f"s3://{bucket}/c")
    aws("rm", f"s3://{bucket}/a/", "--recursive")
    assert keys_in(s3, bucket) == ["b/1"]


def test_a_presigned_link_downloads_without_a_key(aws, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a b+ü", Body=b"shared")
    link = aws("presign", f"s3://{bucket}/a b+ü", "--expires-in", "60").decode().strip()
    assert urllib.request.urlopen(link, timeout=10).read() == b"shared"
