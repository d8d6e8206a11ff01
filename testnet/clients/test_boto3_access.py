"""boto3 against the real server: what the world may read, by policy and by ACL."""

import json
import urllib.error
import urllib.request

import pytest

from compare import refused


@pytest.fixture
def link(server, s3, bucket):
    """Where anyone would find the object `folder/k`."""
    s3.put_object(Bucket=bucket, Key="folder/k", Body=b"content")
    return f"{server.endpoint}/{bucket}/folder/k"


def world_reads(link: str) -> bool:
    try:
        return urllib.request.urlopen(link, timeout=10).read() == b"content"
    except urllib.error.HTTPError as refusal:
        assert refusal.code == 403
        return False


def policy(bucket: str, *statements: dict) -> str:
    filled = [{"Principal": "*", "Action": "s3:GetObject", **statement} for statement in statements]
    return json.dumps({"Version": "2012-10-17", "Statement": filled})


def test_a_policy_opens_exactly_what_it_names(server, s3, bucket, link):
    assert not world_reads(link)
    s3.put_bucket_policy(
        Bucket=bucket, Policy=policy(bucket, {"Effect": "Allow", "Resource": f"arn:aws:s3:::{bucket}/folder/*"})
    )
    assert world_reads(link)
    s3.put_object(Bucket=bucket, Key="elsewhere", Body=b"content")
    assert not world_reads(f"{server.endpoint}/{bucket}/elsewhere")
    assert not world_reads(f"{server.endpoint}/{bucket}")
    request = urllib.request.Request(link, data=b"overwritten", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)
    assert world_reads(link)

    assert json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"][0]["Effect"] == "Allow"
    s3.delete_bucket_policy(Bucket=bucket)
    assert not world_reads(link)
    with refused(404, "NoSuchBucketPolicy"):
        s3.get_bucket_policy(Bucket=bucket)


def test_a_denial_wins_over_a_permission(s3, bucket, link):
    everything = f"arn:aws:s3:::{bucket}/*"
    s3.put_bucket_policy(
        Bucket=bucket,
        Policy=policy(
            bucket,
            {"Effect": "Allow", "Resource": everything},
            {"Effect": "Deny", "Resource": f"arn:aws:s3:::{bucket}/folder/*"},
        ),
    )
    assert not world_reads(link)


def test_a_malformed_policy_is_refused(s3, bucket):
    for text in ("", "{", "[]", '{"Statement":[{"Effect":"Maybe"}]}'):
        with refused(400, "MalformedPolicy"):
            s3.put_bucket_policy(Bucket=bucket, Policy=text)


def test_a_public_acl_opens_the_bucket_for_reading(server, s3, bucket, link):
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    assert world_reads(link)
    assert b"folder/k" in urllib.request.urlopen(f"{server.endpoint}/{bucket}", timeout=10).read()
    request = urllib.request.Request(link, data=b"overwritten", method="PUT")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request, timeout=10)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert not world_reads(link)


def test_a_bucket_may_be_created_public(server, s3, bucket_name):
    s3.create_bucket(Bucket=bucket_name, ACL="public-read")
    s3.put_object(Bucket=bucket_name, Key="k", Body=b"content")
    assert world_reads(f"{server.endpoint}/{bucket_name}/k")


def test_an_acl_reads_back_as_grants(s3, bucket, link):
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    for answer in (s3.get_bucket_acl(Bucket=bucket), s3.get_object_acl(Bucket=bucket, Key="folder/k")):
        assert {grant["Permission"] for grant in answer["Grants"]} == {"FULL_CONTROL", "READ"}
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    assert [grant["Permission"] for grant in s3.get_bucket_acl(Bucket=bucket)["Grants"]] == ["FULL_CONTROL"]


def test_an_object_may_be_more_public_than_its_bucket(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"content", ACL="private")
    s3.put_object(Bucket=bucket, Key="public", Body=b"content", ACL="public-read")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", ACL="public-read")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"content")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/public")
    readable = {key: world_reads(f"{server.endpoint}/{bucket}/{key}") for key in ("k", "public", "parts", "copy")}
    assert readable == {"k": False, "public": True, "parts": True, "copy": False}
    grants = s3.get_object_acl(Bucket=bucket, Key="public")["Grants"]
    assert {grant["Permission"] for grant in grants} == {"FULL_CONTROL", "READ"}
    # What the whole bucket keeps from the public, no object gives it.
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"IgnorePublicAcls": True})
    assert not world_reads(f"{server.endpoint}/{bucket}/public")


def test_the_acl_of_a_stored_version_is_changed_in_place(server, s3, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old, new = (s3.put_object(Bucket=bucket, Key="v", Body=b"content")["VersionId"] for _ in range(2))
    told = s3.put_object_acl(Bucket=bucket, Key="v", ACL="public-read", VersionId=old)
    assert told["ResponseMetadata"]["HTTPHeaders"]["x-amz-version-id"] == old
    link = f"{server.endpoint}/{bucket}/v"
    assert world_reads(f"{link}?versionId={old}") and not world_reads(link)
    s3.put_object_acl(Bucket=bucket, Key="v", ACL="public-read")
    assert world_reads(f"{link}?versionId={new}")
    everyone = {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}
    mine = s3.get_object_acl(Bucket=bucket, Key="v", VersionId=old)
    mine["Grants"][1]["Grantee"] = everyone
    s3.put_object_acl(Bucket=bucket, Key="v", VersionId=old, AccessControlPolicy={k: mine[k] for k in ("Owner", "Grants")})
    assert s3.get_object_acl(Bucket=bucket, Key="v", VersionId=old)["Grants"] == mine["Grants"]
    assert not world_reads(f"{link}?versionId={old}")
    s3.put_object_acl(Bucket=bucket, Key="v", ACL="private")
    assert not world_reads(link)
    assert s3.get_object(Bucket=bucket, Key="v")["Body"].read() == b"content"

    with refused(404, "NoSuchKey"):
        s3.put_object_acl(Bucket=bucket, Key="none", ACL="private")
    with refused(404, "NoSuchVersion"):
        s3.put_object_acl(Bucket=bucket, Key="v", ACL="private", VersionId="0" * 32)
    with refused(400, "InvalidArgument"):
        s3.put_object_acl(Bucket=bucket, Key="v", ACL="sesame")
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration={"BlockPublicAcls": True})
    with refused(403, "AccessDenied"):
        s3.put_object_acl(Bucket=bucket, Key="v", ACL="public-read")
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    with refused(400, "AccessControlListNotSupported"):
        s3.put_object_acl(Bucket=bucket, Key="v", ACL="private")


def test_what_no_acl_can_do_is_refused(s3, bucket):
    s3.put_bucket_acl(Bucket=bucket, ACL="public-read")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(501, "NotImplemented"):
        s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    with refused(501, "NotImplemented"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ACL="aws-exec-read")


@pytest.mark.parametrize(
    "operation, code",
    [
        ("get_bucket_cors", "NoSuchCORSConfiguration"),
        ("get_bucket_policy", "NoSuchBucketPolicy"),
        ("get_bucket_tagging", "NoSuchTagSet"),
        ("get_bucket_lifecycle_configuration", "NoSuchLifecycleConfiguration"),
        ("get_bucket_website", "NoSuchWebsiteConfiguration"),
    ],
)
def test_what_was_never_configured_is_a_404_of_its_own(s3, bucket, operation, code):
    with refused(404, code):
        getattr(s3, operation)(Bucket=bucket)


def test_versioning_that_was_never_set_is_an_empty_answer(s3, bucket):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)


@pytest.mark.parametrize(
    "operation, given",
    [
        ("put_bucket_accelerate_configuration", {"AccelerateConfiguration": {"Status": "Enabled"}}),
        ("get_bucket_inventory_configuration", {"Id": "x"}),
        ("list_bucket_analytics_configurations", {}),
    ],
)
def test_what_does_not_exist_here_says_so(s3, bucket, operation, given):
    with refused(501, "NotImplemented"):
        getattr(s3, operation)(Bucket=bucket, **given)


def test_a_header_that_is_not_honoured_is_refused_rather_than_ignored(s3, bucket):
    with refused(501, "NotImplemented"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="x")


@pytest.mark.parametrize(
    "condition, opens, public",
    [
        ({"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}}, True, False),
        ({"IpAddress": {"aws:SourceIp": ["192.0.2.0/24", "2001:db8::/32"]}}, False, False),
        ({"NotIpAddress": {"aws:SourceIp": "192.0.2.0/24"}}, True, True),
        ({"StringLike": {"aws:UserAgent": "Python-urllib/*"}}, True, True),
        ({"StringEquals": {"aws:Referer": "https://a.example/"}}, False, True),
        ({"StringEqualsIfExists": {"aws:Referer": "https://a.example/"}}, True, True),
        ({"Null": {"aws:Referer": "true"}}, True, True),
        ({"Bool": {"aws:SecureTransport": "true"}}, False, True),
        ({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, False, True),
        ({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}}, True, True),
    ],
)
def test_a_condition_decides_who_gets_in_and_whether_that_is_the_public(s3, bucket, link, condition, opens, public):
    statement = {"Effect": "Allow", "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": condition}
    s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, statement))
    assert world_reads(link) == opens
    assert s3.get_bucket_policy_status(Bucket=bucket)["PolicyStatus"]["IsPublic"] == public


def test_a_condition_that_is_not_known_is_refused(s3, bucket):
    for effect in ("Allow", "Deny"):
        condition = {"StringEquals": {"aws:PrincipalOrgID": "o-1"}}
        statement = {"Effect": effect, "Resource": f"arn:aws:s3:::{bucket}/*", "Condition": condition}
        with refused(400, "MalformedPolicy"):
            s3.put_bucket_policy(Bucket=bucket, Policy=policy(bucket, statement))


def test_every_key_has_a_folder_of_its_own_by_one_policy(s3, connect, server, bucket):
    arn, own = f"arn:aws:s3:::{bucket}", "${aws:username}"
    everyone = {"Effect": "Allow", "Principal": "*"}
    statements = [
        {**everyone, "Action": ["s3:GetObject", "s3:PutObject"], "Resource": f"{arn}/home/{own}/*"},
        {**everyone, "Action": "s3:ListBucket", "Resource": arn, "Condition": {"StringLike": {"s3:prefix": f"home/{own}/*"}}},
    ]
    with refused(400, "MalformedPolicy"):
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2008-10-17", "Statement": statements}))
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": statements}))
    keys = [server.create_key(f"{name}-{bucket[-8:]}", create_buckets=False) for name in ("anna", "ben")]
    for key, other in (keys, keys[::-1]):
        client = connect(key)
        client.put_object(Bucket=bucket, Key=f"home/{key.id}/k", Body=b"mine")
        assert client.get_object(Bucket=bucket, Key=f"home/{key.id}/k")["Body"].read() == b"mine"
        listed = client.list_objects_v2(Bucket=bucket, Prefix=f"home/{key.id}/")["Contents"]
        assert [entry["Key"] for entry in listed] == [f"home/{key.id}/k"]
        for refusing in (
            lambda: client.put_object(Bucket=bucket, Key=f"home/{other.id}/k", Body=b"theirs"),
            lambda: client.get_object(Bucket=bucket, Key=f"home/{other.id}/k"),
            lambda: client.list_objects_v2(Bucket=bucket, Prefix=f"home/{other.id}/"),
            lambda: client.list_objects_v2(Bucket=bucket),
        ):
            with refused(403, "AccessDenied"):
                refusing()
    for path in (f"home/{keys[0].id}/k", "home//k", "home/%24%7Baws%3Ausername%7D/k"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{server.endpoint}/{bucket}/{path}", timeout=10)
