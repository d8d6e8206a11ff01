"""s3cmd against the real server: each verb that a store of the first level answers."""

import shutil
import urllib.error
import urllib.request

import pytest

from compare import assert_bucket_holds, assert_same_file, assert_same_folder, keys_in

MIB = 1 << 20


@pytest.fixture
def s3cmd(program, server, tmp_path):
    config = tmp_path / "s3cfg"
    config.write_text(
        f"""[default]
access_key = {server.key.id}
secret_key = {server.key.secret}
host_base = 127.0.0.1:{server.port}
host_bucket = 127.0.0.1:{server.port}
use_https = False
max_retries = 1
progress_meter = False
"""
    )
    return program("s3cmd", "-c", str(config))


def test_a_bucket_is_made_listed_and_removed(s3cmd, bucket_name):
    s3cmd("mb", f"s3://{bucket_name}")
    assert bucket_name in s3cmd("ls").decode()
    s3cmd("rb", f"s3://{bucket_name}")
    assert bucket_name not in s3cmd("ls").decode()


def test_a_full_bucket_is_removed_only_by_force(s3cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="in the way", Body=b"x")
    assert b"BucketNotEmpty" in s3cmd("rb", f"s3://{bucket}", status=1)
    s3cmd("rb", "--recursive", "--force", f"s3://{bucket}")
    assert bucket not in s3cmd("ls").decode()


def test_put_and_get_keep_every_size(s3cmd, s3, bucket, files, tmp_path):
    back = tmp_path / "back"
    back.mkdir()
    s3cmd("put", "--recursive", f"{files}/", f"s3://{bucket}/all/")
    assert_bucket_holds(s3, bucket, files, "all/")
    s3cmd("get", "--recursive", f"s3://{bucket}/all/", f"{back}/")
    assert_same_folder(files, back)


def test_a_large_file_goes_up_over_and_down_unchanged(s3cmd, bucket, large_file, tmp_path):
    s3cmd("put", "--multipart-chunk-size-mb=15", large_file, f"s3://{bucket}/large")
    s3cmd("cp", f"s3://{bucket}/large", f"s3://{bucket}/copied")
    s3cmd("get", f"s3://{bucket}/copied", tmp_path / "back")
    assert_same_file(large_file, tmp_path / "back")


def test_put_and_get_stream_through_pipes(s3cmd, bucket, files):
    content = (files / "many parts.bin").read_bytes()
    s3cmd("put", "-", f"s3://{bucket}/piped", input=content)
    assert s3cmd("get", f"s3://{bucket}/piped", "-") == content


def test_an_interrupted_get_continues(s3cmd, s3, bucket, files, tmp_path):
    (whole,) = files.rglob("part-and-one.bin")
    s3.put_object(Bucket=bucket, Key="whole", Body=whole.read_bytes())
    part = tmp_path / "part"
    part.write_bytes(whole.read_bytes()[: 3 * MIB])
    s3cmd("get", "--continue", f"s3://{bucket}/whole", part)
    assert_same_file(whole, part)


def test_sync_goes_both_ways_and_deletes(s3cmd, s3, bucket, files, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(files, here)
    there.mkdir()
    s3cmd("sync", f"{here}/", f"s3://{bucket}/")
    (here / "inline.bin").unlink()
    (here / "one-byte.bin").write_text("!")
    s3cmd("sync", "--delete-removed", f"{here}/", f"s3://{bucket}/")
    assert_bucket_holds(s3, bucket, here)
    s3cmd("sync", f"s3://{bucket}/", f"{there}/")
    assert_same_folder(here, there)


def test_ls_la_and_du_show_what_is_there(s3cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="folder/below", Body=b"12345")
    s3.put_object(Bucket=bucket, Key="top ü", Body=b"123")
    listed = s3cmd("ls", f"s3://{bucket}").decode()
    assert "DIR" in listed and f"s3://{bucket}/top ü" in listed and "below" not in listed
    assert f"s3://{bucket}/folder/below" in s3cmd("ls", "--recursive", f"s3://{bucket}").decode()
    assert f"s3://{bucket}/top ü" in s3cmd("la").decode()
    assert s3cmd("du", f"s3://{bucket}").split()[:2] == [b"8", b"2"]


def test_cp_mv_and_modify_change_one_object(s3cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"content")
    s3cmd("cp", f"s3://{bucket}/a", f"s3://{bucket}/b")
    s3cmd("mv", f"s3://{bucket}/a", f"s3://{bucket}/c")
    s3cmd("modify", "--mime-type=text/x-new", f"s3://{bucket}/b")
    assert keys_in(s3, bucket) == ["b", "c"]
    assert s3.head_object(Bucket=bucket, Key="b")["ContentType"] == "text/x-new"


def test_info_shows_a_bucket_and_an_object(s3cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"content", ContentType="text/x-test")
    assert b"Location" in s3cmd("info", f"s3://{bucket}")
    shown = s3cmd("info", f"s3://{bucket}/a").decode()
    assert "text/x-test" in shown and "9a0364b9e99bb480dd25e1f0284c8555" in shown


def test_del_removes_one_key_or_a_prefix(s3cmd, s3, bucket):
    for key in ["a/1", "a/2", "b", "c"]:
        s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3cmd("del", f"s3://{bucket}/b")
    s3cmd("del", "--recursive", f"s3://{bucket}/a/")
    assert keys_in(s3, bucket) == ["c"]


def test_setacl_public_opens_a_bucket_and_private_closes_it(s3cmd, server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"content")
    link = f"{server.endpoint}/{bucket}/a"
    s3cmd("setacl", "--acl-public", f"s3://{bucket}")
    assert urllib.request.urlopen(link, timeout=10).read() == b"content"
    assert b"READ" in s3cmd("info", f"s3://{bucket}")
    s3cmd("setacl", "--acl-private", f"s3://{bucket}")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link, timeout=10)


def test_a_policy_is_set_shown_and_removed(s3cmd, server, s3, bucket, tmp_path):
    s3.put_object(Bucket=bucket, Key="a", Body=b"content")
    policy = tmp_path / "policy.json"
    policy.write_text(
        '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":"*",'
        f'"Action":"s3:GetObject","Resource":"arn:aws:s3:::{bucket}/*"}}]}}'
    )
    link = f"{server.endpoint}/{bucket}/a"
    s3cmd("setpolicy", policy, f"s3://{bucket}")
    assert urllib.request.urlopen(link, timeout=10).read() == b"content"
    s3cmd("delpolicy", f"s3://{bucket}")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(link, timeout=10)


def test_unfinished_uploads_are_listed_and_aborted(s3cmd, s3, bucket):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="unfinished")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="unfinished", UploadId=upload, PartNumber=1, Body=b"part")
    assert upload in s3cmd("multipart", f"s3://{bucket}").decode()
    assert b"1" in s3cmd("listmp", f"s3://{bucket}/unfinished", upload)
    s3cmd("abortmp", f"s3://{bucket}/unfinished", upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_link_signed_with_the_old_version_is_refused(s3cmd, s3, bucket):
    s3.put_object(Bucket=bucket, Key="to share", Body=b"shared")
    # s3cmd signs such links with version 2 of the signature, which nobody should use any more.
    link = s3cmd("signurl", f"s3://{bucket}/to share", "+60").decode().strip()
    with pytest.raises(urllib.error.HTTPError) as refusal:
        urllib.request.urlopen(link, timeout=10)
    assert refusal.value.code == 501


def test_setacl_grants_one_key_and_revokes_it(s3cmd, server, connect, s3, bucket):
    friend = server.create_key("friend of s3cmd")
    friends = connect(friend)
    s3.put_object(Bucket=bucket, Key="a", Body=b"content")
    s3cmd("setacl", f"--acl-grant=read:{friend.id}", f"s3://{bucket}/a")
    assert friends.get_object(Bucket=bucket, Key="a")["Body"].read() == b"content"
    assert b"friend of s3cmd: READ" in s3cmd("info", f"s3://{bucket}/a")
    s3cmd("setacl", f"--acl-revoke=read:{friend.id}", f"s3://{bucket}/a")
    with pytest.raises(friends.exceptions.ClientError, match="AccessDenied"):
        friends.get_object(Bucket=bucket, Key="a")


def test_cors_is_set_and_removed(s3cmd, s3, bucket, tmp_path):
    cors = tmp_path / "cors.xml"
    cors.write_text(
        "<CORSConfiguration><CORSRule><AllowedOrigin>https://a.example</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>"
        "</CORSRule></CORSConfiguration>"
    )
    s3cmd("setcors", cors, f"s3://{bucket}")
    assert b"https://a.example" in s3cmd("info", f"s3://{bucket}")
    s3cmd("delcors", f"s3://{bucket}")
    assert b"https://a.example" not in s3cmd("info", f"s3://{bucket}")


def test_a_website_is_created_shown_and_removed(s3cmd, bucket):
    s3cmd("ws-create", "--ws-index=home.html", "--ws-error=lost.html", f"s3://{bucket}")
    shown = s3cmd("ws-info", f"s3://{bucket}")
    assert b"home.html" in shown and b"lost.html" in shown
    s3cmd("ws-delete", f"s3://{bucket}")
    assert b"home.html" not in s3cmd("ws-info", f"s3://{bucket}")


def test_expire_and_lifecycle_rules_are_set_shown_and_removed(s3cmd, s3, bucket):
    s3cmd("expire", "--expiry-days=30", "--expiry-prefix=logs/", f"s3://{bucket}")
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]
    assert rule["Expiration"]["Days"] == 30 and rule["Status"] == "Enabled"
    assert b"logs/" in s3cmd("getlifecycle", f"s3://{bucket}")
    s3cmd("dellifecycle", f"s3://{bucket}")
    with pytest.raises(s3.exceptions.ClientError, match="NoSuchLifecycleConfiguration"):
        s3.get_bucket_lifecycle_configuration(Bucket=bucket)
