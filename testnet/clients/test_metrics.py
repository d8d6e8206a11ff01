"""The numbers for Prometheus: what was asked of S3, how long it took, and how many copies there are."""

import re
from collections import Counter

import pytest
from compare import refused

LINE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def numbers(server) -> dict[tuple[str, frozenset], float]:
    """Every number by its name and labels."""
    lines = (line for line in server.command("metrics").splitlines() if not line.startswith("#"))
    found = (LINE.match(line) for line in lines)
    return {(match[1], frozenset(LABEL.findall(match[2] or ""))): float(match[3]) for match in found}


def of(all_numbers, name, **labels) -> float:
    return all_numbers.get((name, frozenset(labels.items())), 0)


@pytest.fixture
def grown(server):
    """What a number grew by since the test began."""
    before = numbers(server)

    def by(name, **labels):
        return of(numbers(server), name, **labels) - of(before, name, **labels)

    return by


def test_requests_are_counted_by_operation_and_status(s3, bucket, grown):
    for _ in range(3):
        s3.put_object(Bucket=bucket, Key="k", Body=b"x" * 10_000)
    s3.get_object(Bucket=bucket, Key="k")["Body"].read()
    s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-9")["Body"].read()
    with refused(404, "NoSuchKey"):
        s3.get_object(Bucket=bucket, Key="none")
    assert grown("warren_s3_requests_total", op="PutObject", code="200") == 3
    assert grown("warren_s3_requests_total", op="GetObject", code="200") == 1
    assert grown("warren_s3_requests_total", op="GetObject", code="206") == 1
    assert grown("warren_s3_requests_total", op="GetObject", code="404") == 1
    assert grown("warren_s3_request_duration_seconds_count", op="GetObject") == 3
    assert grown("warren_s3_request_duration_seconds_bucket", op="PutObject", le="+Inf") == 3
    assert 0 < grown("warren_s3_request_duration_seconds_sum", op="PutObject") < 60
    assert grown("warren_s3_received_bytes_total", op="PutObject") >= 30_000
    assert 10_010 <= grown("warren_s3_sent_bytes_total", op="GetObject") < 11_000


def test_a_histogram_grows_with_its_bounds(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    buckets = {
        float(dict(labels)["le"]): count
        for (name, labels), count in numbers(server).items()
        if name == "warren_s3_request_duration_seconds_bucket" and ("op", "PutObject") in labels
    }
    counts = [count for _, count in sorted(buckets.items())]
    assert len(counts) > 10 and counts == sorted(counts) and counts[-1] > 0


def test_labels_are_none_that_clients_choose(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a-very-telling-key", Body=b"x")
    with refused(404, "NoSuchBucket"):
        s3.list_objects_v2(Bucket="a-very-telling-bucket")
    text = server.command("metrics")
    assert "telling" not in text and bucket not in text
    kinds = Counter(line.split()[2] for line in text.splitlines() if line.startswith("# TYPE"))
    assert max(kinds.values()) == 1


def test_objects_are_counted_by_copies(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    copies = {labels: count for (name, labels), count in numbers(server).items() if name == "warren_copies_objects"}
    assert set(copies) == {frozenset({("copies", "1")})}
