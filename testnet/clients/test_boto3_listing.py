"""boto3 against the real server: listings page by page, with delimiters and encodings."""

import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from compare import refused
from wire import Request, send

KEYS = ["a", "a b", "a+b", "dir/1", "dir/2", "dir/sub/3", "dir0", "e", "other/4", "z/", "ä", "日/本"]


@pytest.fixture(scope="module")
def full(s3):
    """A bucket that holds `KEYS`; only read."""
    name = f"listing-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    for key in KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
    return name


def walk_v2(s3, bucket, **query):
    """All pages of a version 2 listing: keys and prefixes in the order they came."""
    keys, prefixes, token = [], [], {}
    while True:
        page = s3.list_objects_v2(Bucket=bucket, **query, **token)
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        assert page["KeyCount"] == len(page.get("Contents", [])) + len(page.get("CommonPrefixes", []))
        if not page["IsTruncated"]:
            assert "NextContinuationToken" not in page
            return keys, prefixes
        token = {"ContinuationToken": page["NextContinuationToken"]}


def walk_v1(s3, bucket, **query):
    """The same with version 1; without a delimiter the last key is the next marker."""
    keys, prefixes, marker = [], [], {}
    while True:
        page = s3.list_objects(Bucket=bucket, **query, **marker)
        keys += [entry["Key"] for entry in page.get("Contents", [])]
        prefixes += [entry["Prefix"] for entry in page.get("CommonPrefixes", [])]
        if not page["IsTruncated"]:
            return keys, prefixes
        marker = {"Marker": page["NextMarker"] if query.get("Delimiter") else keys[-1]}


@pytest.mark.parametrize("walk", [walk_v1, walk_v2])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 1000])
def test_every_page_size_lists_every_key_once_in_byte_order(s3, full, walk, size):
    assert walk(s3, full, MaxKeys=size) == (sorted(KEYS, key=str.encode), [])


@pytest.mark.parametrize("walk", [walk_v1, walk_v2])
@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_a_delimiter_groups_each_prefix_once(s3, full, walk, size):
    assert walk(s3, full, MaxKeys=size, Delimiter="/") == (
        ["a", "a b", "a+b", "dir0", "e", "ä"],
        ["dir/", "other/", "z/", "日/"],
    )
    assert walk(s3, full, MaxKeys=size, Delimiter="/", Prefix="dir/") == (["dir/1", "dir/2"], ["dir/sub/"])


def test_a_delimiter_may_have_several_characters(s3, full):
    assert walk_v2(s3, full, Delimiter="r/") == (
        [key for key in sorted(KEYS, key=str.encode) if "r/" not in key],
        ["dir/", "other/"],
    )


def test_start_after_and_marker_begin_behind_a_key(s3, full):
    assert walk_v2(s3, full, StartAfter="e") == (["other/4", "z/", "ä", "日/本"], [])
    assert walk_v1(s3, full, Marker="dir/1", Prefix="dir") == (["dir/2", "dir/sub/3", "dir0"], [])


def test_an_exactly_full_page_is_not_truncated(s3, full):
    page = s3.list_objects_v2(Bucket=full, MaxKeys=len(KEYS))
    assert (page["IsTruncated"], page["KeyCount"]) == (False, len(KEYS))


def test_no_keys_asked_for_is_an_empty_complete_page(s3, full):
    page = s3.list_objects_v2(Bucket=full, MaxKeys=0)
    assert (page["IsTruncated"], page["KeyCount"]) == (False, 0)


def test_a_page_has_at_most_1000_keys(s3, full):
    assert s3.list_objects_v2(Bucket=full, MaxKeys=5000)["MaxKeys"] == 1000


def test_a_bad_token_is_refused(s3, full):
    with refused(400, "InvalidArgument"):
        s3.list_objects_v2(Bucket=full, ContinuationToken="not a token of ours")


def test_entries_carry_size_tag_time_and_on_request_the_owner(s3, full):
    (entry,) = s3.list_objects_v2(Bucket=full, Prefix="dir/1", FetchOwner=True)["Contents"]
    assert (entry["Size"], entry["StorageClass"]) == (5, "STANDARD")
    head = s3.head_object(Bucket=full, Key="dir/1")
    assert (entry["ETag"], entry["Owner"]["ID"] != "") == (head["ETag"], True)
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]
    assert "Owner" not in s3.list_objects_v2(Bucket=full, Prefix="dir/1")["Contents"][0]
    assert "Owner" in s3.list_objects(Bucket=full, Prefix="dir/1")["Contents"][0]


def test_versions_of_a_bucket_without_versioning_are_null(s3, full):
    first = s3.list_object_versions(Bucket=full, MaxKeys=5)
    rest = s3.list_object_versions(Bucket=full, KeyMarker=first["NextKeyMarker"])
    versions = first["Versions"] + rest["Versions"]
    assert [version["Key"] for version in versions] == sorted(KEYS, key=str.encode)
    assert {(version["VersionId"], version["IsLatest"]) for version in versions} == {("null", True)}
    grouped = s3.list_object_versions(Bucket=full, Delimiter="/")
    assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["dir/", "other/", "z/", "日/"]


def test_a_listing_of_2500_keys_is_complete(s3, bucket):
    keys = [f"{number:05}" for number in range(2500)]
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda key: s3.put_object(Bucket=bucket, Key=key), keys))
    assert walk_v2(s3, bucket) == (keys, [])
    assert walk_v1(s3, bucket) == (keys, [])


def test_unfinished_uploads_are_listed_page_by_page(s3, bucket):
    uploads = [
        (key, s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]) for key in ["a", "b", "b", "d/1", "d/2"]
    ]
    found, marker = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **marker)
        found += [(upload["Key"], upload["UploadId"]) for upload in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        marker = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert sorted(found) == sorted(uploads)
    grouped = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in grouped["CommonPrefixes"]] == ["d/"]


def test_buckets_are_listed_page_by_page(connect, server, bucket_name):
    client = connect(server.create_key(f"lister-{bucket_name[-8:]}"))
    names = [f"{bucket_name}-{number}" for number in range(5)]
    for name in names:
        client.create_bucket(Bucket=name)
    pages = client.get_paginator("list_buckets").paginate(PaginationConfig={"PageSize": 2})
    assert [[bucket["Name"] for bucket in page["Buckets"]] for page in pages] == [names[:2], names[2:4], names[4:]]
    page = client.list_buckets(MaxBuckets=5)
    # A page that is full is the last one, where nothing follows.
    assert "ContinuationToken" not in page and len(page["Buckets"]) == 5
    page = client.list_buckets(MaxBuckets=1, Prefix=f"{bucket_name}-3")
    assert [bucket["Name"] for bucket in page["Buckets"]] == names[3:4]
    assert (page["Prefix"], "ContinuationToken" in page) == (f"{bucket_name}-3", False)
    token = client.list_buckets(MaxBuckets=3)["ContinuationToken"]
    # What the page began after need not be there any more.
    client.delete_bucket(Bucket=names[2])
    assert [bucket["Name"] for bucket in client.list_buckets(ContinuationToken=token)["Buckets"]] == names[3:]
    for most in ("-1", "many", str(1 << 31)):
        answer = send(server, Request("GET", "/", query=[("max-buckets", most)]))
        assert (answer.status, answer.code) == (400, "InvalidArgument")
