"""boto3 against the real server: access control lists that grant something to single keys and to groups."""

import json
import urllib.request

import pytest

from compare import refused

GROUPS = "http://acs.amazonaws.com/groups/"
EVERYONE = GROUPS + "global/AllUsers"
SIGNED = GROUPS + "global/AuthenticatedUsers"


@pytest.fixture(scope="module")
def friend(server):
    """A key without a grant on anything."""
    return server.create_key("friend")


@pytest.fixture(scope="module")
def friends(connect, friend):
    return connect(friend)


def grants(answer: dict) -> list[tuple[str, str]]:
    """Who may do what, in the order of the answer."""
    who = [grant["Grantee"].get("ID") or grant["Grantee"]["URI"] for grant in answer["Grants"]]
    return list(zip(who, (grant["Permission"] for grant in answer["Grants"])))


def to_key(key, permission: str) -> dict:
    return {"Grantee": {"Type": "CanonicalUser", "ID": key.id}, "Permission": permission}


def test_a_bucket_is_shared_with_one_key(server, s3, friends, friend, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    with refused(403, "AccessDenied"):
        friends.list_objects_v2(Bucket=bucket)
    s3.put_bucket_acl(Bucket=bucket, GrantFullControl=f"id={server.key.id}", GrantRead=f'id="{friend.id}"')
    assert [entry["Key"] for entry in friends.list_objects_v2(Bucket=bucket)["Contents"]] == ["k"]
    assert friends.get_object(Bucket=bucket, Key="k")["Body"].read() == b"hello"
    with refused(403, "AccessDenied"):
        friends.put_object(Bucket=bucket, Key="k", Body=b"overwritten")
    with refused(403, "AccessDenied"):
        friends.get_bucket_acl(Bucket=bucket)
    assert grants(s3.get_bucket_acl(Bucket=bucket)) == [(server.key.id, "FULL_CONTROL"), (friend.id, "READ")]
    s3.put_bucket_acl(Bucket=bucket, GrantWrite=f"id={friend.id}")
    friends.put_object(Bucket=bucket, Key="theirs", Body=b"x")
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="theirs")
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    with refused(403, "AccessDenied"):
        friends.put_object(Bucket=bucket, Key="theirs", Body=b"x")


def test_a_document_reads_back_as_it_was_put(server, s3, friends, friend, bucket):
    mine = s3.get_bucket_acl(Bucket=bucket)
    lines = mine["Grants"] + [
        to_key(friend, "READ_ACP"),
        to_key(friend, "WRITE_ACP"),
        {"Grantee": {"Type": "Group", "URI": SIGNED}, "Permission": "WRITE"},
        {"Grantee": {"Type": "Group", "URI": GROUPS + "s3/LogDelivery"}, "Permission": "READ"},
    ]
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": mine["Owner"], "Grants": lines})
    told = friends.get_bucket_acl(Bucket=bucket)
    assert told["Owner"]["ID"] == server.key.id
    assert grants(told) == grants({"Grants": lines})
    assert [grant["Grantee"]["Type"] for grant in told["Grants"]] == ["CanonicalUser"] * 3 + ["Group"] * 2
    # Whoever may change a list may give itself more.
    told["Grants"].append(to_key(friend, "READ"))
    with refused(403, "AccessDenied"):
        friends.list_objects_v2(Bucket=bucket)
    friends.put_bucket_acl(Bucket=bucket, AccessControlPolicy={"Owner": told["Owner"], "Grants": told["Grants"]})
    friends.list_objects_v2(Bucket=bucket)
    # But never what only the owner may.
    with refused(403, "AccessDenied"):
        friends.delete_bucket(Bucket=bucket)
    with refused(403, "AccessDenied"):
        friends.put_bucket_policy(Bucket=bucket, Policy="{}")


def test_an_object_is_shared_with_one_key_however_it_is_written(s3, friends, friend, bucket):
    reads = f"id={friend.id}"
    s3.put_object(Bucket=bucket, Key="put", Body=b"hello", GrantRead=reads)
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/put", GrantFullControl=reads)
    s3.copy_object(Bucket=bucket, Key="bare copy", CopySource=f"{bucket}/put")
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts", GrantRead=reads, GrantReadACP=reads)["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="parts", UploadId=upload, PartNumber=1, Body=b"hello")
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=bucket, Key="parts", UploadId=upload, MultipartUpload=parts)
    for key in ("put", "copy", "parts"):
        assert friends.get_object(Bucket=bucket, Key=key)["Body"].read() == b"hello"
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="bare copy")
    with refused(403, "AccessDenied"):
        friends.get_object_acl(Bucket=bucket, Key="put")
    assert grants(friends.get_object_acl(Bucket=bucket, Key="parts")) == [(friend.id, "READ"), (friend.id, "READ_ACP")]
    friends.put_object_acl(Bucket=bucket, Key="copy", GrantRead=f'uri="{EVERYONE}"')
    assert grants(s3.get_object_acl(Bucket=bucket, Key="copy")) == [(EVERYONE, "READ")]
    with refused(403, "AccessDenied"):
        friends.put_object_acl(Bucket=bucket, Key="copy", ACL="private")


def test_a_version_has_a_list_of_its_own(s3, friends, friend, bucket):
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    old = s3.put_object(Bucket=bucket, Key="k", Body=b"old", GrantFullControl=f"id={friend.id}")["VersionId"]
    new = s3.put_object(Bucket=bucket, Key="k", Body=b"new")["VersionId"]
    assert friends.get_object(Bucket=bucket, Key="k", VersionId=old)["Body"].read() == b"old"
    assert friends.get_object_acl(Bucket=bucket, Key="k", VersionId=old)["Grants"] == [
        {**to_key(friend, "FULL_CONTROL"), "Grantee": {"Type": "CanonicalUser", "ID": friend.id, "DisplayName": "friend"}}
    ]
    friends.put_object_acl(Bucket=bucket, Key="k", VersionId=old, GrantReadACP=f"id={friend.id}")
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="k", VersionId=old)
    for version in ({}, {"VersionId": new}):
        with refused(403, "AccessDenied"):
            friends.get_object_acl(Bucket=bucket, Key="k", **version)
    assert grants(s3.get_object_acl(Bucket=bucket, Key="k", VersionId=old)) == [(friend.id, "READ_ACP")]


def test_a_bucket_is_created_with_grants(s3, friends, friend, bucket_name):
    s3.create_bucket(Bucket=bucket_name, GrantRead=f"id={friend.id}", GrantWriteACP=f"id={friend.id}")
    friends.list_objects_v2(Bucket=bucket_name)
    friends.put_bucket_acl(Bucket=bucket_name, ACL="private")
    with refused(403, "AccessDenied"):
        friends.list_objects_v2(Bucket=bucket_name)


@pytest.mark.parametrize(
    "given, status, code",
    [
        ({"GrantRead": "id=WKNOBODYKNOWN"}, 400, "InvalidArgument"),
        ({"GrantRead": "uri=http://acs.amazonaws.com/groups/global/Friends"}, 400, "InvalidArgument"),
        ({"GrantRead": "somebody"}, 400, "InvalidArgument"),
        ({"GrantRead": 'emailAddress="a@b.example"'}, 400, "UnresolvableGrantByEmailAddress"),
        ({"GrantRead": f"uri={EVERYONE}", "ACL": "private"}, 400, "InvalidRequest"),
        ({"GrantRead": ",".join([f"uri={EVERYONE}"] * 101)}, 400, "MalformedACLError"),
    ],
)
def test_what_nobody_can_be_granted_is_refused(s3, bucket, given, status, code):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    with refused(status, code):
        s3.put_bucket_acl(Bucket=bucket, **given)
    with refused(status, code):
        s3.put_object_acl(Bucket=bucket, Key="k", **given)
    with refused(status, code):
        s3.put_object(Bucket=bucket, Key="new", Body=b"x", **given)
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="new")


def test_a_list_does_not_change_owners_or_come_twice(s3, friend, bucket):
    mine = s3.get_bucket_acl(Bucket=bucket)
    lists = {"Owner": {"ID": friend.id}, "Grants": mine["Grants"]}
    with refused(403, "AccessDenied"):
        s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=lists)
    lists = {"Owner": mine["Owner"], "Grants": mine["Grants"]}
    with refused(400, "UnexpectedContent"):
        s3.put_bucket_acl(Bucket=bucket, ACL="private", AccessControlPolicy=lists)


def test_blocked_public_access_leaves_what_single_keys_are_granted(s3, friends, friend, bucket):
    reads = {"GrantRead": f"id={friend.id}, uri={SIGNED}"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **reads)
    s3.put_object(Bucket=bucket, Key="signed", Body=b"x", GrantRead=f"uri={SIGNED}")
    friends.get_object(Bucket=bucket, Key="signed")
    block = {"IgnorePublicAcls": True, "BlockPublicAcls": True}
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    friends.get_object(Bucket=bucket, Key="k")
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="signed")
    with refused(403, "AccessDenied"):
        s3.put_bucket_acl(Bucket=bucket, **reads)
    s3.put_bucket_acl(Bucket=bucket, GrantRead=f"id={friend.id}")
    friends.get_object(Bucket=bucket, Key="signed")


def test_where_acls_are_ended_nobody_is_granted_anything(s3, friends, friend, bucket):
    reads = {"GrantRead": f"id={friend.id}"}
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **reads)
    enforced = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    s3.put_bucket_acl(Bucket=bucket, **reads)
    with refused(400, "InvalidBucketAclWithObjectOwnership"):
        s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    s3.put_bucket_acl(Bucket=bucket, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=bucket, OwnershipControls=enforced)
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="k")
    assert [permission for _, permission in grants(s3.get_object_acl(Bucket=bucket, Key="k"))] == ["FULL_CONTROL"]
    for refusing in (s3.put_bucket_acl, lambda **given: s3.put_object(Key="k", Body=b"x", **given)):
        with refused(400, "AccessControlListNotSupported"):
            refusing(Bucket=bucket, **reads)


def test_a_denying_policy_wins_over_a_grant(s3, friends, friend, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", GrantFullControl=f"id={friend.id}")
    deny = '{"Statement":{"Effect":"Deny","Principal":{"AWS":"%s"},"Action":"%s","Resource":"arn:aws:s3:::%s/*"}}'
    s3.put_bucket_policy(Bucket=bucket, Policy=deny % (friend.id, "s3:PutObjectAcl", bucket))
    with refused(403, "AccessDenied"):
        friends.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    friends.get_object_acl(Bucket=bucket, Key="k")
    s3.put_bucket_policy(Bucket=bucket, Policy=deny % (friend.id, "s3:GetObject*", bucket))
    with refused(403, "AccessDenied"):
        friends.get_object(Bucket=bucket, Key="k")
    with refused(403, "AccessDenied"):
        friends.get_object_acl(Bucket=bucket, Key="k")


def test_a_key_is_called_by_its_name_in_every_answer(server, s3, friends, friend, bucket):
    [mine] = [key for key in json.loads(server.command("key", "ls", "--json"))["keys"] if key["id"] == server.key.id]
    owner, other = {"ID": server.key.id, "DisplayName": mine["name"]}, {"ID": friend.id, "DisplayName": "friend"}
    assert s3.list_buckets()["Owner"] == owner and friends.list_buckets()["Owner"] == other
    server.command("key", "allow", "friend", bucket, "--read", "--write")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", GrantRead=f"id={friend.id}", GrantFullControl=f"id={server.key.id}")
    upload = friends.create_multipart_upload(Bucket=bucket, Key="parts")["UploadId"]
    s3.put_bucket_acl(Bucket=bucket, GrantRead=f"id={friend.id}", GrantFullControl=f"id={server.key.id}")
    for client in (s3, friends):
        [object_1] = client.list_objects(Bucket=bucket)["Contents"]
        [object_2] = client.list_objects_v2(Bucket=bucket, FetchOwner=True)["Contents"]
        [version] = client.list_object_versions(Bucket=bucket)["Versions"]
        lists = [client.get_bucket_acl(Bucket=bucket), client.get_object_acl(Bucket=bucket, Key="k")]
        for answer in (object_1, object_2, version, *lists):
            assert answer["Owner"] == owner
        for answer in lists:
            named = [{name: grant["Grantee"][name] for name in owner} for grant in answer["Grants"]]
            assert sorted(named, key=str) == sorted([owner, other], key=str)
        [begun] = client.list_multipart_uploads(Bucket=bucket)["Uploads"]
        for answer in (begun, client.list_parts(Bucket=bucket, Key="parts", UploadId=upload)):
            assert (answer["Owner"], answer["Initiator"]) == (owner, other)


def test_a_key_that_is_gone_is_called_by_its_id(connect, server, s3, bucket):
    gone = server.create_key("soon-gone")
    server.command("key", "allow", "soon-gone", bucket, "--write")
    connect(gone).create_multipart_upload(Bucket=bucket, Key="parts")
    server.command("key", "rm", "soon-gone", "--yes")
    [begun] = s3.list_multipart_uploads(Bucket=bucket)["Uploads"]
    assert begun["Initiator"] == {"ID": gone.id, "DisplayName": gone.id}


def test_what_an_sdk_sends_by_itself_is_taken_where_a_policy_opens_a_bucket(server, s3, bucket):
    everyone = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everyone]}))
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ACL="private")
    s3.put_object_acl(Bucket=bucket, Key="k", ACL="private")
    assert grants(s3.get_object_acl(Bucket=bucket, Key="k")) == [(server.key.id, "FULL_CONTROL")]
    assert urllib.request.urlopen(f"{server.endpoint}/{bucket}/k").read() == b"hello"
