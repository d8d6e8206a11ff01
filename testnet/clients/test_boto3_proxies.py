"""boto3 through a proxy that speaks TLS, as its headers tell: what policies, logs and events then go by."""

import json

import boto3
import pytest
from botocore.config import Config
from compare import refused
from warren_process import Server


@pytest.fixture(scope="module")
def box(request, tmp_path_factory):
    if request.config.getoption("--endpoint"):
        pytest.skip("a server that somebody else started believes no proxy of this test")
    running = Server(request.config.getoption("--warren"), tmp_path_factory.mktemp("proxied"), WARREN_S3_PROXIES="127.0.0.1")
    yield running
    assert running.stop() == 0, running.log.read_text()[-4000:]


def client(box, **forwarded):
    """A client behind a proxy that adds these headers."""
    made = boto3.client(
        "s3", endpoint_url=box.endpoint, aws_access_key_id=box.key.id, aws_secret_access_key=box.key.secret, region_name="warren",
        config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
    )

    def add(request, **_):
        for name, value in forwarded.items():
            request.headers[name.replace("_", "-")] = value

    made.meta.events.register("before-send.s3", add)
    return made


def deny(s3, bucket, condition):
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": condition}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))


def test_a_policy_that_insists_on_tls_lets_pass_what_came_by_it(box, bucket_name):
    s3 = client(box)
    s3.create_bucket(Bucket=bucket_name)
    s3.put_object(Bucket=bucket_name, Key="k", Body=b"x")
    deny(s3, bucket_name, {"Bool": {"aws:SecureTransport": "false"}})
    client(box, X_Forwarded_Proto="https").get_object(Bucket=bucket_name, Key="k")
    for headers in ({}, {"X_Forwarded_Proto": "http"}, {"X_Forwarded_Proto": "https, http"}):
        with refused(403, "AccessDenied"):
            client(box, **headers).get_object(Bucket=bucket_name, Key="k")


def test_a_policy_goes_by_the_address_that_the_proxy_saw(box, bucket_name):
    s3 = client(box)
    s3.create_bucket(Bucket=bucket_name)
    s3.put_object(Bucket=bucket_name, Key="k", Body=b"x")
    deny(s3, bucket_name, {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}})
    client(box, X_Forwarded_For="203.0.113.9").get_object(Bucket=bucket_name, Key="k")
    # What stands before the last address, the client wrote.
    with refused(403, "AccessDenied"):
        client(box, X_Forwarded_For="203.0.113.9, 198.51.100.1").get_object(Bucket=bucket_name, Key="k")
    with refused(403, "AccessDenied"):
        s3.get_object(Bucket=bucket_name, Key="k")


def test_nobody_is_believed_whom_the_configuration_does_not_name(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    deny(s3, bucket, {"Bool": {"aws:SecureTransport": "false"}})
    with refused(403, "AccessDenied"):
        client(server, X_Forwarded_Proto="https").get_object(Bucket=bucket, Key="k")
    deny(s3, bucket, {"NotIpAddress": {"aws:SourceIp": "203.0.113.0/24"}})
    with refused(403, "AccessDenied"):
        client(server, X_Forwarded_For="203.0.113.9").get_object(Bucket=bucket, Key="k")
