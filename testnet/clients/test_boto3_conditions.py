"""boto3 against the real server: policies that decide by tags, headers and the way a request is signed."""

import json
import urllib.error
import urllib.request

import pytest

from compare import refused


@pytest.fixture(scope="module")
def friend(server):
    """A key without a grant on anything."""
    return server.create_key("friend of conditions")


@pytest.fixture(scope="module")
def friends(connect, friend):
    return connect(friend)


@pytest.fixture
def put_policy(s3, bucket, friend):
    """Puts a policy of statements, which are about everything the friend does unless they say otherwise."""

    def put(*statements: dict) -> None:
        whole = {"Principal": {"AWS": friend.id}, "Action": "s3:*"}
        whole["Resource"] = [f"arn:aws:s3:::{bucket}", f"arn:aws:s3:::{bucket}/*"]
        filled = [{**whole, **statement} for statement in statements]
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": filled}))

    return put


def test_tags_of_an_object_decide_who_reads_it(s3, friends, put_policy, bucket):
    s3.put_object(Bucket=bucket, Key="red", Body=b"x", Tagging="team=red")
    s3.put_object(Bucket=bucket, Key="blue", Body=b"x", Tagging="team=blue")
    s3.put_object(Bucket=bucket, Key="secret", Body=b"x", Tagging="team=red&secret=yes")
    red = {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}
    secret = {"StringEquals": {"s3:ExistingObjectTag/secret": "yes"}}
    put_policy({"Effect": "Allow", "Condition": red}, {"Effect": "Deny", "Condition": secret})
    reads = [
        friends.get_object,
        friends.head_object,
        friends.get_object_tagging,
        friends.get_object_acl,
        lambda **named: friends.get_object_attributes(ObjectAttributes=["ETag"], **named),
        lambda **named: friends.put_object_tagging(Tagging={"TagSet": [{"Key": "team", "Value": "red"}]}, **named),
    ]
    for read in reads:
        read(Bucket=bucket, Key="red")
        for key in ("blue", "secret", "none"):
            with pytest.raises(friends.exceptions.ClientError, match="403|AccessDenied"):
                read(Bucket=bucket, Key=key)
    # Whoever may not read a source does not copy it.
    own = "own-" + bucket[:40]
    friends.create_bucket(Bucket=own)
    friends.copy_object(Bucket=own, Key="copy", CopySource=f"{bucket}/red")
    with refused(403, "AccessDenied"):
        friends.copy_object(Bucket=own, Key="copy", CopySource=f"{bucket}/secret")
    friends.delete_object_tagging(Bucket=bucket, Key="red")
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="red")


def test_each_version_is_judged_by_its_own_tags(s3, friends, put_policy, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old", Tagging="team=red")["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    put_policy({"Effect": "Allow", "Condition": {"StringEquals": {"s3:ExistingObjectTag/team": "red"}}})
    assert friends.get_object(Bucket=bucket, Key="k", VersionId=old)["Body"].read() == b"old"
    for named in ({}, {"VersionId": new}):
        with refused(403, "AccessDenied"):
            friends.get_object(Bucket=bucket, Key="k", **named)


def test_tags_that_a_request_gives_decide_in_headers_and_in_documents(friends, put_policy, bucket):
    put_policy(
        {"Effect": "Allow", "Action": ["s3:PutObject", "s3:PutObjectTagging"]},
        {"Effect": "Deny", "Condition": {"StringEquals": {"s3:RequestObjectTag/owner": "boss"}}},
        {"Effect": "Deny", "Condition": {"ForAnyValue:StringNotEquals": {"s3:RequestObjectTagKeys": ["owner", "a"]}}},
    )
    friends.put_object(Bucket=bucket, Key="k", Body=b"x")
    friends.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging="owner=me&a=1")
    friends.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": "owner", "Value": "me"}]})
    for name, value in (("owner", "boss"), ("other", "me")):
        with refused(403, "AccessDenied"):
            friends.put_object(Bucket=bucket, Key="k", Body=b"x", Tagging=f"{name}={value}")
        with refused(403, "AccessDenied"):
            friends.put_object_tagging(Bucket=bucket, Key="k", Tagging={"TagSet": [{"Key": name, "Value": value}]})


def test_a_policy_may_ask_what_a_request_says_and_how_it_is_signed(s3, friends, put_policy, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    link = friends.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})

    def visits() -> bool:
        try:
            return urllib.request.urlopen(link, timeout=10).read() == b"x"
        except urllib.error.HTTPError as refusal:
            assert refusal.code == 403
            return False

    def asks() -> bool:
        try:
            return friends.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
        except friends.exceptions.ClientError:
            return False

    for condition, asked, visited in (
        ({"StringEquals": {"s3:authType": "REST-HEADER"}}, True, False),
        ({"StringEquals": {"s3:authType": "REST-QUERY-STRING"}}, False, True),
        ({"StringEquals": {"s3:signatureversion": "AWS4-HMAC-SHA256"}}, True, True),
        ({"NumericGreaterThan": {"s3:signatureAge": "600000"}}, False, False),
        ({"NumericLessThan": {"s3:signatureAge": "600000"}}, True, True),
        ({"NumericLessThan": {"s3:TlsVersion": "1.2"}}, False, False),
    ):
        put_policy({"Effect": "Allow", "Condition": condition})
        assert (asks(), visits()) == (asked, visited), condition

    put_policy({"Effect": "Allow", "Condition": {"StringEquals": {"s3:if-none-match": "*"}}})
    friends.put_object(Bucket=bucket, Key="once", Body=b"x", IfNoneMatch="*")
    with refused(403, "AccessDenied"):
        friends.put_object(Bucket=bucket, Key="twice", Body=b"x")
    put_policy(
        {"Effect": "Allow", "Action": "s3:GetObject"},
        {"Effect": "Allow", "Condition": {"StringLike": {"s3:x-amz-copy-source": f"{bucket}/k*"}}},
    )
    friends.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    with refused(403, "AccessDenied"):
        friends.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/once")
