"""boto3 against the real server: of writers that race for one key, exactly one wins."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

ROUNDS = 40
WRITERS = 4


@pytest.fixture
def writers(connect):
    with ThreadPoolExecutor(WRITERS) as threads:
        clients = [connect(max_pool_connections=1) for _ in range(WRITERS)]
        yield lambda write: list(threads.map(write, enumerate(clients)))


def attempt(call, **given) -> int:
    """The status of one attempt."""
    try:
        return call(**given)["ResponseMetadata"]["HTTPStatusCode"]
    except ClientError as refusal:
        return refusal.response["ResponseMetadata"]["HTTPStatusCode"]


def winner_of(statuses: list[int]) -> int:
    """The one who won; everyone else was told 412 or 409."""
    assert statuses.count(200) == 1, statuses
    assert set(statuses) <= {200, 412, 409}, statuses
    return statuses.index(200)


def test_of_many_who_create_one_key_exactly_one_succeeds(s3, bucket, writers):
    for number in range(ROUNDS):
        key = f"lock/{number}"
        statuses = writers(
            lambda who: attempt(who[1].put_object, Bucket=bucket, Key=key, Body=b"%d" % who[0], IfNoneMatch="*")
        )
        winner = winner_of(statuses)
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"%d" % winner


def test_of_many_who_replace_one_version_exactly_one_succeeds(s3, bucket, writers):
    tag = s3.put_object(Bucket=bucket, Key="k", Body=b"first")["ETag"]
    for number in range(ROUNDS):
        statuses = writers(
            lambda who: attempt(
                who[1].put_object, Bucket=bucket, Key="k", Body=b"%d by %d" % (number, who[0]), IfMatch=tag
            )
        )
        got = s3.get_object(Bucket=bucket, Key="k")
        assert got["Body"].read() == b"%d by %d" % (number, winner_of(statuses))
        tag = got["ETag"]


def test_of_many_who_complete_uploads_of_one_key_exactly_one_succeeds(s3, bucket, writers):
    for number in range(ROUNDS // 4):
        at = {"Bucket": bucket, "Key": f"joined/{number}"}

        def complete(who):
            index, client = who
            upload = {**at, "UploadId": client.create_multipart_upload(**at)["UploadId"]}
            tag = client.upload_part(**upload, PartNumber=1, Body=b"%d" % index)["ETag"]
            parts = {"Parts": [{"PartNumber": 1, "ETag": tag}]}
            return attempt(client.complete_multipart_upload, **upload, MultipartUpload=parts, IfNoneMatch="*")

        winner = winner_of(writers(complete))
        assert s3.get_object(**at)["Body"].read() == b"%d" % winner


def test_overwriting_never_shows_a_mixture(s3, bucket, writers):
    size = 300_000
    s3.put_object(Bucket=bucket, Key="k", Body=b"0" * size)

    def write_or_read(who):
        index, client = who
        for _ in range(15):
            if index % 2:
                client.put_object(Bucket=bucket, Key="k", Body=b"%d" % index * size)
            else:
                content = client.get_object(Bucket=bucket, Key="k")["Body"].read()
                assert content == content[:1] * size

    writers(write_or_read)


def test_of_two_who_lock_a_state_one_works_at_a_time(connect, s3, bucket):
    """What Terraform does with `use_lockfile`: create the lock unless it is there, change the state, delete the lock."""
    rounds, key, lock = 1000, "state", "state.tflock"
    s3.put_object(Bucket=bucket, Key=key, Body=b"0")
    taken = itertools.count()

    def work(client) -> int:
        done = 0
        while next(taken) < rounds:
            while attempt(client.put_object, Bucket=bucket, Key=lock, Body=b"mine", IfNoneMatch="*") != 200:
                pass
            count = int(client.get_object(Bucket=bucket, Key=key)["Body"].read())
            client.put_object(Bucket=bucket, Key=key, Body=b"%d" % (count + 1))
            client.delete_object(Bucket=bucket, Key=lock)
            done += 1
        return done

    with ThreadPoolExecutor(2) as threads:
        done = list(threads.map(work, [connect(max_pool_connections=1) for _ in range(2)]))
    assert sum(done) == rounds and min(done) > 0, done
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"%d" % rounds
