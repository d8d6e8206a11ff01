"""aws-cli's `s3api` against the real server: every operation of the first level."""

import json

import pytest

MIB = 1 << 20


@pytest.fixture
def api(aws_cli):
    """Runs one operation; gives its JSON answer, or with `status=1` the text of the refusal."""
    run = aws_cli("s3api")

    def call(operation, *arguments, status=0):
        printed = run(operation, *arguments, status=status)
        if status:
            return printed.decode()
        return json.loads(printed) if printed.strip() else {}

    return call


def test_the_life_of_a_bucket(api, bucket_name):
    api("create-bucket", "--bucket", bucket_name, "--create-bucket-configuration", "LocationConstraint=warren")
    api("head-bucket", "--bucket", bucket_name)
    assert bucket_name in [entry["Name"] for entry in api("list-buckets")["Buckets"]]
    assert api("get-bucket-location", "--bucket", bucket_name)["LocationConstraint"] == "warren"
    api("delete-bucket", "--bucket", bucket_name)
    assert "404" in api("head-bucket", "--bucket", bucket_name, status=1)


def test_the_life_of_an_object(api, s3, bucket, tmp_path):
    content, back = tmp_path / "content", tmp_path / "back"
    content.write_bytes(b"0123456789")
    at = ["--bucket", bucket, "--key", "folder/key"]

    put = api("put-object", *at, "--body", str(content), "--content-type", "text/x-test", "--metadata", "Who=me")
    head = api("head-object", *at)
    assert head["ETag"] == put["ETag"] == '"781e5e245d69b566979b86e28d23f2c7"'
    assert (head["ContentLength"], head["ContentType"], head["Metadata"]) == (10, "text/x-test", {"who": "me"})

    assert api("get-object", *at, str(back))["ContentLength"] == 10
    assert back.read_bytes() == b"0123456789"
    assert api("get-object", *at, "--range", "bytes=2-4", str(back))["ContentRange"] == "bytes 2-4/10"
    assert back.read_bytes() == b"234"
    assert api("get-object", *at, "--part-number", "1", str(back))["ContentLength"] == 10
    assert "Not Modified" in api("get-object", *at, "--if-none-match", put["ETag"], str(back), status=1)
    assert "PreconditionFailed" in api("put-object", *at, "--if-none-match", "*", status=1)

    copy = api("copy-object", "--bucket", bucket, "--key", "copy", "--copy-source", f"{bucket}/folder/key")
    assert copy["CopyObjectResult"]["ETag"] == put["ETag"]

    assert [entry["Key"] for entry in api("list-objects", "--bucket", bucket)["Contents"]] == ["copy", "folder/key"]
    page = api("list-objects-v2", "--bucket", bucket, "--delimiter", "/")
    assert [entry["Prefix"] for entry in page["CommonPrefixes"]] == ["folder/"]
    versions = api("list-object-versions", "--bucket", bucket)["Versions"]
    assert [(v["Key"], v["VersionId"], v["IsLatest"]) for v in versions] == [
        ("copy", "null", True),
        ("folder/key", "null", True),
    ]

    api("delete-object", *at)
    deleted = api("delete-objects", "--bucket", bucket, "--delete", "Objects=[{Key=copy},{Key=never was}]")
    assert sorted(entry["Key"] for entry in deleted["Deleted"]) == ["copy", "never was"]
    assert "Contents" not in api("list-objects-v2", "--bucket", bucket)


def test_the_life_of_a_multipart_upload(api, bucket, tmp_path):
    first, last, back = tmp_path / "first", tmp_path / "last", tmp_path / "back"
    first.write_bytes(b"1" * 5 * MIB)
    last.write_bytes(b"2")
    at = ["--bucket", bucket, "--key", "joined"]

    upload = api("create-multipart-upload", *at)["UploadId"]
    this = [*at, "--upload-id", upload]
    tags = [
        api("upload-part", *this, "--part-number", number, "--body", str(body))["ETag"]
        for number, body in [("1", first), ("3", last)]
    ]
    assert [part["PartNumber"] for part in api("list-parts", *this)["Parts"]] == [1, 3]
    assert [u["UploadId"] for u in api("list-multipart-uploads", "--bucket", bucket)["Uploads"]] == [upload]
    parts = [{"PartNumber": number, "ETag": tag} for number, tag in zip([1, 3], tags)]
    done = api("complete-multipart-upload", *this, "--multipart-upload", json.dumps({"Parts": parts}))
    assert done["ETag"].endswith('-2"')
    api("get-object", *at, str(back))
    assert back.read_bytes() == first.read_bytes() + b"2"

    second = api("create-multipart-upload", "--bucket", bucket, "--key", "by copy")["UploadId"]
    copied = api(
        "upload-part-copy", "--bucket", bucket, "--key", "by copy", "--upload-id", second, "--part-number", "1",
        "--copy-source", f"{bucket}/joined", "--copy-source-range", "bytes=0-9",
    )  # fmt: skip
    parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
    api(
        "complete-multipart-upload", "--bucket", bucket, "--key", "by copy", "--upload-id", second,
        "--multipart-upload", json.dumps({"Parts": parts}),
    )  # fmt: skip
    assert api("head-object", "--bucket", bucket, "--key", "by copy")["ContentLength"] == 10


def test_an_aborted_upload_is_gone(api, bucket):
    at = ["--bucket", bucket, "--key", "never"]
    this = [*at, "--upload-id", api("create-multipart-upload", *at)["UploadId"]]
    api("abort-multipart-upload", *this)
    assert "NoSuchUpload" in api("list-parts", *this, status=1)


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_checksum_is_stored_and_given_back(api, bucket, tmp_path, algorithm):
    content = tmp_path / "content"
    content.write_bytes(b"checked")
    at = ["--bucket", bucket, "--key", "checked"]
    put = api("put-object", *at, "--body", str(content), "--checksum-algorithm", algorithm)
    head = api("head-object", *at, "--checksum-mode", "ENABLED")
    assert head[f"Checksum{algorithm}"] == put[f"Checksum{algorithm}"]


def test_an_operation_that_does_not_exist_here_says_so(api, bucket, tmp_path):
    said = api("get-object-torrent", "--bucket", bucket, "--key", "x", str(tmp_path / "out"), status=1)
    assert "NotImplemented" in said
