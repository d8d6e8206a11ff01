"""Lifecycle rules that count days, carried out by the real server while its clock goes on by days."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone

import boto3
import pytest
from botocore.config import Config
from compare import becomes_true, keys_in, refused
from moved_clock import MovedClock
from warren_process import Server

PAST = datetime(2020, 1, 1, tzinfo=timezone.utc)
# A box that is alone believes a clock that is less than a day later than when it looked last.
STEP = timedelta(hours=23)
MANY = 400


class Aging:
    """A box that grows older by days while a test runs."""

    def __init__(self, binary, folder, patch):
        self.clock = MovedClock(folder, patch)
        self.box = Server(binary, folder, **self.clock.environment)
        self.clock.must_be_loaded()
        self.s3 = boto3.client(
            "s3", endpoint_url=self.box.endpoint, region_name="warren",
            aws_access_key_id=self.box.key.id, aws_secret_access_key=self.box.key.secret,
            config=Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}),
        )
        self.rules = itertools.count()
        # The buckets are visited by name: when something is gone from this one, a pass is over.
        self.s3.create_bucket(Bucket="zz-last")

    def have_looked_at(self):
        """Has the box look at all rules: it does when some change. What there is in the last bucket goes in that pass."""
        self.s3.put_object(Bucket="zz-last", Key="canary", Body=b"x")
        rule(self.s3, "zz-last", f"look {next(self.rules)}", Expiration={"Date": PAST})

    def grow_older(self, steps):
        for _ in range(steps):
            self.clock.ahead += STEP
            self.have_looked_at()
            becomes_true(lambda: keys_in(self.s3, "zz-last") == [])


def rule(s3, bucket, name, prefix="", **actions):
    rules = [{"ID": name, "Status": "Enabled", "Filter": {"Prefix": prefix}, **actions}]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def put(s3, bucket, key, body=b"x", **more):
    return s3.put_object(Bucket=bucket, Key=key, Body=body, **more).get("VersionId")


def versions(s3, bucket, key):
    """The versions of a key that are left, newest first."""
    listed = s3.list_object_versions(Bucket=bucket, Prefix=key)
    return [entry["VersionId"] for entry in listed.get("Versions", []) if entry["Key"] == key]


@pytest.fixture(scope="module")
def aged(request, tmp_path_factory):
    """A box on which things were stored three steps ago, and others one step ago, in buckets with rules of one day."""
    if request.config.getoption("--endpoint"):
        pytest.skip("the clock of a server that somebody else started stays as it is")
    with pytest.MonkeyPatch.context() as patch:
        aging = Aging(request.config.getoption("--warren"), tmp_path_factory.mktemp("aging"), patch)
        s3 = aging.s3
        for bucket in ("plain", "uploads", "many"):
            s3.create_bucket(Bucket=bucket)
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        s3.create_bucket(Bucket="versions")
        s3.put_bucket_versioning(Bucket="versions", VersioningConfiguration={"Status": "Enabled"})

        rule(s3, "plain", "day", "logs/", Expiration={"Days": 1})
        rule(s3, "versions", "two", NoncurrentVersionExpiration={"NoncurrentDays": 1, "NewerNoncurrentVersions": 2})
        rule(s3, "locked", "day", NoncurrentVersionExpiration={"NoncurrentDays": 1})
        rule(s3, "uploads", "day", AbortIncompleteMultipartUpload={"DaysAfterInitiation": 1})
        for key in ("logs/old", "keep"):
            put(s3, "plain", key)
        aging.versions = [put(s3, "versions", "k", str(number)) for number in range(6)]
        until = datetime.now(timezone.utc) + timedelta(days=300)
        lock = {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": until}
        aging.locked = [put(s3, "locked", "k", str(number), **(lock if number == 1 else {})) for number in range(4)]
        start = lambda key: s3.create_multipart_upload(Bucket="uploads", Key=key)["UploadId"]  # noqa: E731
        aging.old_upload = start("old")
        s3.upload_part(Bucket="uploads", Key="old", UploadId=aging.old_upload, PartNumber=1, Body=b"x" * 100_000)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: put(s3, "many", f"gone/{number}"), range(MANY)))
        for number in range(5):
            put(s3, "many", f"keep/{number}", str(number))

        aging.grow_older(2)
        put(s3, "plain", "logs/young")
        aging.young_upload = start("young")
        aging.young_versions = [put(s3, "versions", "young", str(number)) for number in range(5)]
        aging.grow_older(1)
        yield aging
        assert aging.box.stop() == 0, aging.box.log.read_text()[-4000:]
        assert "panicked" not in aging.box.log.read_text()


def test_objects_go_after_a_day_and_not_before(aged):
    assert keys_in(aged.s3, "plain") == ["keep", "logs/young"]


def test_old_versions_go_but_for_the_newer_ones_that_are_kept(aged):
    # The current one, and two before it.
    assert versions(aged.s3, "versions", "k") == aged.versions[:2:-1]
    for number in (3, 4, 5):
        got = aged.s3.get_object(Bucket="versions", Key="k", VersionId=aged.versions[number])
        assert got["Body"].read() == str(number).encode()
    # Not a day old, however many they are.
    assert versions(aged.s3, "versions", "young") == aged.young_versions[::-1]


def test_a_locked_version_stays_and_those_around_it_go(aged):
    assert versions(aged.s3, "locked", "k") == [aged.locked[3], aged.locked[1]]
    got = aged.s3.get_object(Bucket="locked", Key="k", VersionId=aged.locked[1])
    assert got["Body"].read() == b"1"


def test_uploads_that_were_not_completed_are_aborted_after_a_day(aged):
    listed = aged.s3.list_multipart_uploads(Bucket="uploads")
    assert [upload["UploadId"] for upload in listed["Uploads"]] == [aged.young_upload]
    with refused(404, "NoSuchUpload"):
        aged.s3.upload_part(Bucket="uploads", Key="old", UploadId=aged.old_upload, PartNumber=2, Body=b"x")


def test_a_pass_that_was_killed_ends_after_the_next_start(aged):
    def left():
        pages = aged.s3.get_paginator("list_objects_v2").paginate(Bucket="many", Prefix="gone/")
        return sum(page["KeyCount"] for page in pages)

    assert left() == MANY
    aged.clock.slow_disk(timedelta(milliseconds=50))
    rule(aged.s3, "many", "day", "gone/", Expiration={"Days": 1})
    becomes_true(lambda: left() < MANY)
    aged.box.process.kill()
    aged.box.process.wait()
    aged.clock.slow_disk(timedelta(0))
    aged.box.start()
    there = left()
    assert 0 < there < MANY
    # It begins by itself twenty seconds after a start.
    becomes_true(lambda: left() == 0, 60)
    assert keys_in(aged.s3, "many") == [f"keep/{number}" for number in range(5)]
    for number in range(5):
        assert aged.s3.get_object(Bucket="many", Key=f"keep/{number}")["Body"].read() == str(number).encode()


def test_a_clock_that_jumps_by_a_month_expires_nothing(aged):
    # A bucket of which no pass that is still under way knows.
    aged.s3.create_bucket(Bucket="jump")
    put(aged.s3, "jump", "k")
    before, logged = aged.clock.ahead, aged.box.log.stat().st_size
    aged.clock.ahead += timedelta(days=30)
    rule(aged.s3, "jump", "past", Expiration={"Date": PAST})
    becomes_true(lambda: "clock was set, or this box was off: lifecycle rules wait" in aged.box.logged(logged))
    assert keys_in(aged.s3, "plain") == ["keep", "logs/young"]
    assert keys_in(aged.s3, "jump") == ["k"]
    # Set right, it is gone by at once.
    aged.clock.ahead = before
    rule(aged.s3, "jump", "past again", Expiration={"Date": PAST})
    becomes_true(lambda: keys_in(aged.s3, "jump") == [])
    assert keys_in(aged.s3, "plain") == ["keep", "logs/young"]
