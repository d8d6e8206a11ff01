"""Forms that boto3 signs, sent as a browser sends them."""

import base64
import hashlib

import pytest

import wire
from compare import refused


@pytest.fixture
def submit(server, bucket):
    """Sends a form with a file; gives the answer."""

    def go(form, content, filename="holiday.jpg", to=bucket, **more):
        return wire.submit(server, to, form, content, filename, **more)

    return go


def test_a_form_uploads_a_file_below_its_prefix(s3, bucket, submit):
    form = s3.generate_presigned_post(
        bucket,
        "upload/${filename}",
        Fields={"acl": "bucket-owner-full-control", "Content-Type": "image/jpeg", "success_action_status": "201"},
        Conditions=[
            {"acl": "bucket-owner-full-control"},
            ["starts-with", "$Content-Type", "image/"],
            ["content-length-range", 1, 10_000_000],
            {"success_action_status": "201"},
        ],
    )
    content = bytes(range(256)) * 4096
    answer = submit(form, content)
    assert answer.status == 201
    assert b"<Key>upload/holiday.jpg</Key>" in answer.body
    stored = s3.get_object(Bucket=bucket, Key="upload/holiday.jpg")
    assert stored["ContentType"] == "image/jpeg"
    assert stored["Body"].read() == content
    assert answer.headers["etag"] == stored["ETag"]


def test_a_form_is_told_when_its_file_goes(s3, bucket, submit):
    form = s3.generate_presigned_post(bucket, "k")
    assert "x-amz-expiration" not in submit(form, b"x").headers
    rule = {"ID": "soon", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 3}}
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    assert submit(form, b"x").headers["x-amz-expiration"].endswith('rule-id="soon"')


def test_a_form_does_nothing_that_its_signer_did_not_permit(server, s3, bucket, submit):
    form = s3.generate_presigned_post(bucket, "k", Conditions=[["content-length-range", 2, 4]])
    assert (submit(form, b"x").status, submit(form, b"x").code) == (400, "EntityTooSmall")
    assert submit(form, b"xxxxx").code == "EntityTooLarge"
    assert submit(form, b"xxx", acl="public-read").code == "AccessDenied"
    assert submit({"fields": {**form["fields"], "key": "other"}}, b"xxx").code == "AccessDenied"
    assert submit({"fields": {**form["fields"], "x-amz-signature": "0" * 64}}, b"xxx").code == "SignatureDoesNotMatch"
    assert submit({"fields": {"key": "k"}}, b"xxx").code == "AccessDenied"
    expired = s3.generate_presigned_post(bucket, "k", ExpiresIn=-1)
    assert submit(expired, b"xxx").code == "AccessDenied"
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    assert submit(form, b"xxx").status == 204


def test_a_form_is_only_for_what_its_signer_may(server, s3, bucket, connect, submit):
    if not hasattr(server, "state"):
        pytest.skip("only for a server of our own, whose keys we can make")
    stranger = connect(server.create_key("stranger", create_buckets=False))
    form = stranger.generate_presigned_post(bucket, "k")
    assert submit(form, b"x").code == "AccessDenied"


def test_a_form_is_signed_for_the_name_that_it_is_sent_to(server, s3, bucket, submit):
    if not hasattr(server, "state"):
        pytest.skip("only for a server of our own, whose buckets we can name")
    alias = f"{bucket}-alias"
    server.command("bucket", "alias", bucket, alias)
    form = s3.generate_presigned_post(alias, "k")
    assert submit(form, b"content").code == "AccessDenied"
    assert submit(form, b"content", to=alias).status == 204
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"content"


def test_a_form_may_bring_the_checksum_of_its_file(s3, bucket, submit):
    content = b"checked" * 1000
    right, wrong = (base64.b64encode(hashlib.sha256(bytes_).digest()).decode() for bytes_ in (content, b"other"))
    condition = [["starts-with", "$x-amz-checksum-sha256", ""]]
    form = s3.generate_presigned_post(bucket, "k", Conditions=condition)
    answer = submit(form, content, **{"x-amz-checksum-sha256": wrong})
    assert (answer.status, answer.code) == (400, "BadDigest")
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)
    answer = submit(form, content, **{"x-amz-checksum-sha256": right})
    assert (answer.status, answer.headers["x-amz-checksum-sha256"]) == (204, right)
    assert s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumSHA256"] == right
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content


def test_a_form_may_bring_the_key_of_a_customer(s3, bucket, submit):
    key = bytes(range(32))
    name = "x-amz-server-side-encryption-customer"
    fields = {
        f"{name}-algorithm": "AES256",
        f"{name}-key": base64.b64encode(key).decode(),
        f"{name}-key-md5": base64.b64encode(hashlib.md5(key).digest()).decode(),
    }
    form = s3.generate_presigned_post(bucket, "k", Conditions=[["starts-with", f"${field}", ""] for field in fields])
    answer = submit(form, b"sealed", **fields)
    assert (answer.status, answer.headers[f"{name}-algorithm"]) == (204, "AES256")
    assert answer.headers[f"{name}-key-md5"] == fields[f"{name}-key-md5"]
    with refused(400, "InvalidRequest"):
        s3.get_object(Bucket=bucket, Key="k")
    got = s3.get_object(Bucket=bucket, Key="k", SSECustomerAlgorithm="AES256", SSECustomerKey=key)
    assert got["Body"].read() == b"sealed"
