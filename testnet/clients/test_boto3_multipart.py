"""boto3 against the real server: multipart uploads, what they refuse and what they leave."""

import hashlib
import time

import pytest

from compare import keys_in, refused
from wire import Request, read_answer
from wire import connect as connect_to

MIB = 1 << 20
FIRST = hashlib.shake_128(b"first").digest(5 * MIB)
SECOND = hashlib.shake_128(b"second").digest(5 * MIB)
LAST = b"last"


class Upload:
    """One multipart upload, told in few words."""

    def __init__(self, s3, bucket, key="joined", **given):
        self.s3, self.bucket = s3, bucket
        self.at = {"Bucket": bucket, "Key": key}
        self.at["UploadId"] = s3.create_multipart_upload(**self.at, **given)["UploadId"]

    def part(self, number, content, **given):
        return self.s3.upload_part(**self.at, PartNumber=number, Body=content, **given)["ETag"]

    def complete(self, *parts, **given):
        listed = [{"PartNumber": number, "ETag": tag} for number, tag in parts]
        return self.s3.complete_multipart_upload(**self.at, MultipartUpload={"Parts": listed}, **given)


@pytest.fixture
def upload(s3, bucket):
    return Upload(s3, bucket)


def test_parts_are_joined_in_order_with_gaps(s3, bucket, upload):
    last = upload.part(10000, LAST)
    first = upload.part(1, FIRST)
    second = upload.part(7, SECOND)
    done = upload.complete((1, first), (7, second), (10000, last))

    digests = b"".join(hashlib.md5(part).digest() for part in (FIRST, SECOND, LAST))
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == FIRST + SECOND + LAST


def test_a_retried_completion_answers_the_same(upload):
    parts = [(1, upload.part(1, LAST))]
    assert upload.complete(*parts)["ETag"] == upload.complete(*parts)["ETag"]


def test_a_part_uploaded_again_replaces_the_first(s3, bucket, upload):
    upload.part(1, b"old")
    upload.complete((1, upload.part(1, b"new")))
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == b"new"


def test_what_a_completion_must_not_contain_is_refused_and_changes_nothing(s3, bucket, upload):
    small, last = upload.part(1, b"small"), upload.part(2, LAST)
    with refused(400, "InvalidPartOrder"):
        upload.complete((2, last), (1, small))
    with refused(400, "InvalidPart"):
        upload.complete((1, small), (3, last))
    with refused(400, "InvalidPart"):
        upload.complete((1, last))
    with refused(400, "EntityTooSmall"):
        upload.complete((1, small), (2, last))
    with refused(400, "MalformedXML"):
        upload.complete()
    assert keys_in(s3, bucket) == []
    upload.complete((1, small))
    assert keys_in(s3, bucket) == ["joined"]


@pytest.mark.parametrize("number", [0, 10001])
def test_a_part_number_out_of_range_is_refused(upload, number):
    with refused(400, "InvalidArgument"):
        upload.part(number, b"x")


def test_an_aborted_upload_takes_no_parts(s3, bucket, upload):
    upload.part(1, b"x")
    assert s3.abort_multipart_upload(**upload.at)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with refused(404, "NoSuchUpload"):
        upload.part(2, b"x")
    with refused(404, "NoSuchUpload"):
        s3.list_parts(**upload.at)
    with refused(404, "NoSuchUpload"):
        s3.abort_multipart_upload(**upload.at)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_parts_are_listed_page_by_page(s3, upload):
    for number in range(1, 6):
        upload.part(number, b"x" * number)
    found, marker = [], {}
    while True:
        page = s3.list_parts(**upload.at, MaxParts=2, **marker)
        found += [(part["PartNumber"], part["Size"]) for part in page["Parts"]]
        if not page["IsTruncated"]:
            break
        marker = {"PartNumberMarker": page["NextPartNumberMarker"]}
    assert found == [(number, number) for number in range(1, 6)]


def test_an_unfinished_upload_is_not_an_object(s3, bucket, upload):
    upload.part(1, b"x")
    assert keys_in(s3, bucket) == []
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="joined")


def test_parts_are_read_by_number(s3, bucket, upload):
    upload.complete((1, upload.part(1, FIRST)), (2, upload.part(2, LAST)))
    at = {"Bucket": bucket, "Key": "joined"}
    for number, content in [(1, FIRST), (2, LAST)]:
        got = s3.get_object(**at, PartNumber=number)
        assert (got["ResponseMetadata"]["HTTPStatusCode"], got["PartsCount"]) == (206, 2)
        assert got["Body"].read() == content
        assert s3.head_object(**at, PartNumber=number)["ContentLength"] == len(content)
    with refused(400, "InvalidPart"):
        s3.get_object(**at, PartNumber=3)


def test_an_object_put_at_once_is_its_own_first_part(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"whole")
    assert s3.get_object(Bucket=bucket, Key="k", PartNumber=1)["Body"].read() == b"whole"
    with refused(400, "InvalidPart"):
        s3.get_object(Bucket=bucket, Key="k", PartNumber=2)


def test_parts_are_copied_from_objects_and_ranges(s3, bucket, upload):
    s3.put_object(Bucket=bucket, Key="source", Body=FIRST + LAST)
    source = {"CopySource": f"{bucket}/source"}
    first = s3.upload_part_copy(**upload.at, PartNumber=1, **source)["CopyPartResult"]["ETag"]
    last = s3.upload_part_copy(
        **upload.at, PartNumber=2, **source, CopySourceRange=f"bytes={len(FIRST)}-{len(FIRST) + 3}"
    )["CopyPartResult"]["ETag"]
    upload.complete((1, first), (2, last))
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == FIRST + LAST + LAST


@pytest.mark.parametrize(
    "text, status, code",
    [
        ("bytes=0-", 400, "InvalidArgument"),
        ("0-3", 400, "InvalidArgument"),
        ("bytes=3-1", 400, "InvalidArgument"),
        ("bytes=-3", 400, "InvalidArgument"),
        ("bytes=0-1,3-4", 400, "InvalidArgument"),
        ("bytes=0-10", 416, "InvalidRange"),
        ("bytes=10-12", 416, "InvalidRange"),
    ],
)
def test_a_copy_range_is_strict(s3, bucket, upload, text, status, code):
    s3.put_object(Bucket=bucket, Key="source", Body=b"0123456789")
    with refused(status, code):
        s3.upload_part_copy(**upload.at, PartNumber=1, CopySource=f"{bucket}/source", CopySourceRange=text)


def test_a_completion_may_be_conditional(s3, bucket):
    first, second = Upload(s3, bucket), Upload(s3, bucket)
    first_part, second_part = first.part(1, b"first"), second.part(1, b"second")
    first.complete((1, first_part), IfNoneMatch="*")
    with refused(412, "PreconditionFailed"):
        second.complete((1, second_part), IfNoneMatch="*")
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == b"first"


def test_headers_given_at_the_start_are_those_of_the_object(s3, bucket):
    upload = Upload(s3, bucket, ContentType="text/x-test", Metadata={"a": "1"})
    upload.complete((1, upload.part(1, b"x")))
    head = s3.head_object(Bucket=bucket, Key="joined")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-test", {"a": "1"})


def test_the_last_part_may_be_empty(s3, bucket, upload):
    done = upload.complete((1, upload.part(1, FIRST)), (2, upload.part(2, b"")))
    digests = hashlib.md5(FIRST).digest() + hashlib.md5(b"").digest()
    assert done["ETag"] == f'"{hashlib.md5(digests).hexdigest()}-2"'
    assert s3.get_object(Bucket=bucket, Key="joined")["Body"].read() == FIRST
    assert s3.head_object(Bucket=bucket, Key="joined", PartNumber=2)["ContentLength"] == 0


def test_an_upload_of_one_empty_part_is_an_empty_object(s3, bucket, upload):
    upload.complete((1, upload.part(1, b"")))
    assert s3.head_object(Bucket=bucket, Key="joined")["ContentLength"] == 0


def test_a_part_that_is_on_its_way_does_not_bring_back_an_upload_that_was_aborted(server, s3, bucket, upload):
    query = [("partNumber", "1"), ("uploadId", upload.at["UploadId"])]
    headers = {"content-length": str(len(FIRST))}
    head = Request("PUT", f"/{bucket}/joined", query=query, headers=headers).signed(server).head()
    with connect_to(server) as connection:
        connection.sendall(head + FIRST[: len(FIRST) // 2])
        # What came so far is being stored.
        time.sleep(0.3)
        s3.abort_multipart_upload(**upload.at)
        connection.sendall(FIRST[len(FIRST) // 2 :])
        answer = read_answer(connection, "PUT")
    assert (answer.status, answer.code) == (404, "NoSuchUpload")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    with refused(404, "NoSuchUpload"):
        s3.list_parts(**upload.at)
    with refused(404, "NoSuchUpload"):
        upload.complete((1, hashlib.md5(FIRST).hexdigest()))
    s3.delete_bucket(Bucket=bucket)
