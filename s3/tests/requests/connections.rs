//! What a connection may do to the server and what it may expect, byte by byte.

use std::time::{Duration, Instant};

use crate::common::{World, options, read_answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_body_that_breaks_off_is_not_stored() {
    let world = World::start().await;
    let request =
        world.signed("PUT /bucket/k content-length=10 x-amz-content-sha256=UNSIGNED-PAYLOAD < short");
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    stream.shutdown().await.unwrap();
    read_answer(&mut stream).await;
    world.check("GET /bucket/k", "404 NoSuchKey").await;
    world.stop().await;
}

#[tokio::test]
async fn a_client_that_stops_sending_is_told_and_cut() {
    let world = World::start().await;
    let request =
        world.signed("PUT /bucket/k content-length=10 x-amz-content-sha256=UNSIGNED-PAYLOAD < short");
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!(
        (answer.status, answer.element("Code")),
        (400, "RequestTimeout".into())
    );
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    let begun = Instant::now();
    assert_eq!(stream.read(&mut [0; 10]).await.unwrap_or(0), 0);
    assert!(begun.elapsed() < Duration::from_secs(5));
    world.stop().await;
}

#[tokio::test]
async fn whoever_may_delete_nothing_is_refused_before_the_body() {
    let world = World::start().await;
    let head = format!(
        "POST /bucket?delete HTTP/1.1\r\nhost: {}\r\nx-amz-checksum-crc32: AAAAAA==\r\ncontent-length: 1000\r\n\r\n",
        world.address
    );
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    let begun = Instant::now();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 403");
    assert!(begun.elapsed() < options().body_timeout);
    world.stop().await;
}

#[tokio::test]
async fn a_setting_meant_for_one_bucket_never_reaches_its_successor() {
    let world = World::start().await;
    let policy = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"arn:aws:s3:::bucket/*"}}"#;
    let head = format!(
        "PUT /bucket?policy content-length={} x-amz-content-sha256=UNSIGNED-PAYLOAD",
        policy.len()
    );
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&world.signed(&head)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.check("DELETE /bucket", "204").await;
    world.check("PUT /bucket", "200").await;
    stream.write_all(policy.as_bytes()).await.unwrap();
    let answer = read_answer(&mut stream).await;
    assert_eq!(
        (answer.status, answer.element("Code")),
        (404, "NoSuchBucket".into())
    );
    world.check("GET /bucket?policy", "404 NoSuchBucketPolicy").await;
    world.stop().await;
}

/// Sends a request's head, then a byte of its body every 100 ms, and gives the answer and when it came.
async fn drip(world: &World, head: &[u8]) -> (crate::common::Answer, Duration) {
    let stream = TcpStream::connect(world.address).await.unwrap();
    let (mut answers, mut requests) = stream.into_split();
    requests.write_all(head).await.unwrap();
    let begun = Instant::now();
    let dripping = async {
        while requests.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    let answered = async {
        let mut bytes = vec![0; 8 * 1024];
        let len = answers.read(&mut bytes).await.unwrap();
        crate::common::answer(&bytes[..len])
    };
    tokio::select! {
        answer = answered => (answer, begun.elapsed()),
        () = dripping => unreachable!(),
    }
}

#[tokio::test]
async fn a_document_that_drips_is_given_up() {
    let world = World::start().await;
    let head = world.signed("PUT /bucket?policy content-length=1000 x-amz-content-sha256=UNSIGNED-PAYLOAD");
    let (answer, after) = drip(&world, &head).await;
    assert_eq!(
        (answer.status, answer.element("Code")),
        (400, "RequestTimeout".into())
    );
    assert!(after < Duration::from_secs(5));
    world.stop().await;
}

#[tokio::test]
async fn an_upload_that_drips_is_given_up() {
    let world = World::start().await;
    let head = world.signed("PUT /bucket/k content-length=1000 x-amz-content-sha256=UNSIGNED-PAYLOAD");
    let (answer, after) = drip(&world, &head).await;
    assert_eq!(
        (answer.status, answer.element("Code")),
        (400, "RequestTimeout".into())
    );
    assert!(after < Duration::from_secs(5));
    world.stop().await;
}

#[tokio::test]
async fn a_reader_that_drips_loses_its_place() {
    let world = World::start_with(warren_s3::Options {
        requests_max: 1,
        ..options()
    })
    .await;
    let big = "x".repeat(16 << 20);
    world.check(&format!("PUT /bucket/big < {big}"), "200").await;
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut reader = socket.connect(world.address).await.unwrap();
    reader.write_all(&world.signed("GET /bucket/big")).await.unwrap();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let dripping = async {
        let mut drop = [0; 1024];
        while reader.read(&mut drop).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = world.send("GET /bucket/none") => assert_eq!(answer.status, 404),
        () = dripping => unreachable!(),
    }
    world.stop().await;
}

#[tokio::test]
async fn a_body_is_asked_for_only_when_it_is_wanted() {
    let world = World::start().await;
    world.check("PUT /bucket/k < x", "200").await;
    for (refused, status) in [
        ("PUT /nobucket/k", 404),
        ("PUT /bucket/k if-none-match=*", 412),
        ("PUT /bucket/k x-amz-storage-class=SHELF", 400),
        ("PUT /bucket/k?uploadId=0&partNumber=1", 404),
    ] {
        let expecting = format!(
            "{refused} expect=100-continue content-length=1000 x-amz-content-sha256=UNSIGNED-PAYLOAD"
        );
        let answer = world.exchange(&world.signed(&expecting)).await;
        assert_eq!(answer.status, status, "{}", answer.head);
    }
    let expecting =
        "PUT /bucket/k expect=100-continue content-length=5 x-amz-content-sha256=UNSIGNED-PAYLOAD";
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&world.signed(expecting)).await.unwrap();
    let mut go_on = [0; 25];
    stream.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100 Continue\r\n\r\n");
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn a_connection_ends_where_an_expectation_is_not_met() {
    let world = World::start().await;
    let expecting = "expect=100-continue connection=keep-alive x-amz-content-sha256=UNSIGNED-PAYLOAD";
    for (request, status) in [
        ("PUT /bucket/empty content-length=0", 200),
        ("PUT /bucket/empty content-length=0 if-none-match=*", 412),
        ("PUT /bucket/empty content-length=9 if-none-match=*", 412),
    ] {
        let answer = world
            .exchange(&world.signed(&format!("{request} {expecting}")))
            .await;
        assert_eq!(answer.status, status, "{}", answer.head);
        assert_eq!(answer.header("connection"), Some("close"), "{request}");
    }
    world.stop().await;
}

#[tokio::test]
async fn a_refused_upload_still_sees_its_answer() {
    let world = World::start().await;
    let length = 8 << 20;
    let request = format!("PUT /nobucket/k content-length={length} x-amz-content-sha256=UNSIGNED-PAYLOAD");
    let mut request = world.signed(&request);
    request.resize(request.len() + length, b'x');
    let answer = world.exchange(&request).await;
    assert_eq!(
        (answer.status, answer.element("Code")),
        (404, "NoSuchBucket".into())
    );
    assert_eq!(answer.header("connection"), Some("close"));
    world.stop().await;
}

#[tokio::test]
async fn an_oversized_request_is_refused_in_xml() {
    let world = World::start().await;
    let long = "x".repeat(70 * 1024);
    let head = format!("GET /bucket HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\nconnection: close\r\n\r\n");
    let answer = world.exchange(head.as_bytes()).await;
    assert_eq!(
        (answer.status, answer.element("Code")),
        (400, "RequestHeaderSectionTooLarge".into())
    );
    let head = format!(
        "GET /bucket?{} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
        &long[..9000]
    );
    assert_eq!(world.exchange(head.as_bytes()).await.status, 400);
    world
        .check(
            "PUT /bucket/k content-length=6000000000 x-amz-content-sha256=UNSIGNED-PAYLOAD",
            "400 EntityTooLarge",
        )
        .await;
    let chunked = "PUT /bucket/k transfer-encoding=chunked x-amz-content-sha256=UNSIGNED-PAYLOAD < 0\r\n\r\n";
    world.check(chunked, "411 MissingContentLength").await;
    let meta = "x".repeat(2100);
    world
        .check(
            &format!("PUT /bucket/k x-amz-meta-a={meta} < x"),
            "400 MetadataTooLarge",
        )
        .await;
    world.stop().await;
}

#[tokio::test]
async fn more_requests_than_permitted_wait_for_their_turn() {
    let world = World::start_with(warren_s3::Options {
        requests_max: 1,
        ..options()
    })
    .await;
    let slow = world.signed("PUT /bucket/slow content-length=5 x-amz-content-sha256=UNSIGNED-PAYLOAD");
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&slow).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let (waiting, ()) = tokio::join!(world.send("GET /bucket/none"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stream.write_all(b"hello").await.unwrap();
    });
    assert_eq!(waiting.status, 404);
    assert_eq!(read_answer(&mut stream).await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn a_stopping_server_finishes_what_it_began() {
    let world = World::start().await;
    let request = world.signed("PUT /bucket/k content-length=5 x-amz-content-sha256=UNSIGNED-PAYLOAD");
    let mut stream = TcpStream::connect(world.address).await.unwrap();
    stream.write_all(&request).await.unwrap();
    let mut idle = TcpStream::connect(world.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.begin_stop();
    tokio::time::sleep(Duration::from_millis(700)).await;
    stream.write_all(b"hello").await.unwrap();
    assert_eq!(read_answer(&mut stream).await.status, 200);
    assert_eq!(idle.read(&mut [0; 10]).await.unwrap_or(0), 0);
    assert!(TcpStream::connect(world.address).await.is_err());
    world.stop().await;
}

#[tokio::test]
async fn one_connection_serves_request_after_request() {
    let world = World::start().await;
    world.check("PUT /bucket/k < hello", "200").await;
    let again = world.signed("GET /bucket/k connection=keep-alive");
    let last = world.signed("HEAD /bucket/k");
    let answer = world
        .exchange(&[&again[..], &again[..], &last[..]].concat())
        .await;
    let all = format!("{}{}", answer.head, answer.text().to_lowercase());
    assert_eq!(all.matches("http/1.1 200 ok").count(), 3, "{all}");
    assert_eq!(all.matches("\r\n\r\nhello").count(), 2, "{all}");
    world.stop().await;
}
