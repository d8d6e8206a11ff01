"""boto3 against the real server: server access logs, in the words of AWS."""

import re
import urllib.error
import urllib.request

import boto3
import pytest
from botocore.config import Config
from compare import keys_in, refused
from warren_process import Server

# The fields of a line, quoted and bracketed ones as one.
FIELD = re.compile(r'\[[^\]]*\]|"[^"]*"|\S+')
NAMES = (
    "owner bucket time ip requester id operation key request status error sent size total turned referer agent version "
    "host_id signature cipher auth host tls access_point acl"
).split()
NAME = re.compile(r"logs/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}")


@pytest.fixture(scope="module")
def box(request, tmp_path_factory):
    if request.config.getoption("--endpoint"):
        pytest.skip("logs are waited for by stopping the server")
    running = Server(request.config.getoption("--warren"), tmp_path_factory.mktemp("logging"))
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]
    assert "panicked" not in running.log.read_text()


@pytest.fixture(scope="module")
def client(box):
    def make(key):
        return boto3.client(
            "s3", endpoint_url=box.endpoint, aws_access_key_id=key.id, aws_secret_access_key=key.secret, region_name="warren",
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )

    return make


@pytest.fixture(scope="module")
def s3(box, client):
    return client(box.key)


def log(s3, bucket, target, prefix="logs/"):
    enabled = {"TargetBucket": target, "TargetPrefix": prefix}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})


def written(box, s3, target):
    """All lines, once the server has stopped and written them."""
    assert box.stop() == 0
    box.start()
    text = ""
    for key in keys_in(s3, target):
        assert NAME.fullmatch(key), key
        text += s3.get_object(Bucket=target, Key=key)["Body"].read().decode()
    lines = [FIELD.findall(line) for line in text.splitlines()]
    assert all(len(line) == len(NAMES) for line in lines), text
    return [dict(zip(NAMES, line)) for line in lines]


def test_logging_reads_back_as_it_was_put(s3, bucket):
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    log(s3, bucket, bucket, "a/")
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == {"TargetBucket": bucket, "TargetPrefix": "a/"}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def test_logs_go_only_where_their_owner_may_see_them(box, client, s3, bucket):
    with refused(400, "InvalidTargetBucketForLogging"):
        log(s3, bucket, "no-such-bucket")
    key = box.create_key("other")
    other = client(key)
    other.create_bucket(Bucket=f"{bucket}-other")
    with refused(400, "InvalidTargetBucketForLogging"):
        log(s3, bucket, f"{bucket}-other")
    with refused(403, "AccessDenied"):
        log(other, bucket, f"{bucket}-other")
    grants = [{"Grantee": {"Type": "CanonicalUser", "ID": key.id}, "Permission": "READ"}]
    enabled = {"TargetBucket": bucket, "TargetPrefix": "", "TargetGrants": grants}
    with refused(501, "NotImplemented"):
        s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": enabled})


def test_a_line_for_each_request_in_the_fields_of_aws(box, s3, bucket):
    target = f"{bucket}-logs"
    s3.create_bucket(Bucket=target)
    log(s3, bucket, target)
    put = s3.put_object(Bucket=bucket, Key="a b", Body=b"x" * 1000)["ResponseMetadata"]
    s3.get_object(Bucket=bucket, Key="a b", Range="bytes=0-9")["Body"].read()
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="none")
    s3.list_objects_v2(Bucket=bucket)
    link = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "a b"})
    urllib.request.urlopen(urllib.request.Request(link, headers={"Referer": 'https://a.example/"x'})).read()
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{box.endpoint}/{bucket}/a%20b")

    lines = [line for line in written(box, s3, target) if line["operation"] != "REST.PUT.LOGGING_STATUS"]
    assert [(line["operation"], line["status"], line["error"]) for line in lines] == [
        ("REST.PUT.OBJECT", "200", "-"),
        ("REST.GET.OBJECT", "206", "-"),
        ("REST.GET.OBJECT", "404", "NoSuchKey"),
        ("REST.GET.BUCKET", "200", "-"),
        ("REST.GET.OBJECT", "200", "-"),
        ("REST.GET.OBJECT", "403", "AccessDenied"),
    ]
    first, ranged, missing, listed, linked, stranger = lines
    assert {line["bucket"] for line in lines} == {bucket} and {line["ip"] for line in lines} == {"127.0.0.1"}
    assert first["id"] == put["HTTPHeaders"]["x-amz-request-id"] and first["key"] == "a%2520b"
    assert (first["requester"], first["signature"], first["auth"]) == (box.key.id, "SigV4", "AuthHeader")
    assert re.fullmatch(r"\[\d\d/\w{3}/\d{4}:\d\d:\d\d:\d\d \+0000\]", first["time"])
    assert (ranged["sent"], ranged["size"]) == ("10", "1000")
    assert ranged["request"].startswith(f'"GET /{bucket}/a%20b') and "Boto3" in ranged["agent"]
    assert (listed["key"], missing["key"]) == ("-", "none")
    assert (linked["auth"], linked["referer"], linked["sent"]) == ("QueryString", '"https://a.example/?x"', "1000")
    # Whoever reads the log must not be able to use the link.
    signature = re.search(r"X-Amz-Signature=(\w+)", link)[1]
    assert signature not in linked["request"]
    assert (stranger["requester"], stranger["auth"]) == ("-", "-")


def test_requests_by_a_name_that_only_one_key_has_are_logged(box, client, s3, bucket):
    target = f"{bucket}-logs"
    s3.create_bucket(Bucket=target)
    log(s3, bucket, target)
    key = box.create_key("app", create_buckets=False)
    box.command("bucket", "alias", bucket, "what-the-app-calls-it", "--key", "app")
    with refused(403, "AccessDenied"):
        client(key).get_object(Bucket="what-the-app-calls-it", Key="k")
    box.command("key", "allow", "app", bucket, "--read")
    with refused(404, "NoSuchKey"):
        client(key).get_object(Bucket="what-the-app-calls-it", Key="k")
    lines = [line for line in written(box, s3, target) if line["operation"] == "REST.GET.OBJECT"]
    assert [(line["bucket"], line["requester"], line["error"]) for line in lines] == [
        (bucket, key.id, "AccessDenied"),
        (bucket, key.id, "NoSuchKey"),
    ]


def test_writing_logs_is_not_logged(box, s3, bucket):
    log(s3, bucket, bucket)
    s3.put_object(Bucket=bucket, Key="logs/1970-01-01-00-00-00-0000000000000000", Body=b"")
    first = written(box, s3, bucket)
    assert sum(line["operation"] == "REST.PUT.OBJECT" for line in first) == 1
    again = written(box, s3, bucket)
    assert sum(line["operation"] == "REST.PUT.OBJECT" for line in again) == 1
