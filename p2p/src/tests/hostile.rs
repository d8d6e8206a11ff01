//! What a peer cannot do, whether it is a stranger or a member gone bad.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::Stream;
use libp2p::{PeerId, StreamProtocol};

use super::support::{Echo, Home, befriend, mesh_key, pair};
use crate::streams::Control;
use crate::{Class, NodeId, Refusal, Service, blocks, calls, join};

/// A stream of a member, in whose name the test may write what it likes.
async fn raw(from: &Home, to: &Home, protocol: StreamProtocol) -> io::Result<Stream> {
    let control = Control::new(from.node.inner.links.clone());
    let opened = control
        .open(&to.id().peer(), protocol, Class::Metadata, true)
        .await?;
    Ok(opened.stream)
}

/// Whether the other end gave the stream up, soon.
async fn is_cut(stream: &mut Stream) -> bool {
    let mut rest = [0; 1024];
    let cut = async {
        while let Ok(read) = stream.read(&mut rest).await {
            if read == 0 {
                break;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(5), cut).await.is_ok()
}

async fn still_serves(a: &Home, b: &Home) {
    for class in [Class::Metadata, Class::Block] {
        assert!(a.call(b, class, b"hello").await.is_ok(), "{class:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_and_lying_lengths_cost_a_member_its_stream_and_nothing_else() {
    let (a, b) = pair().await;
    let mut huge = vec![9];
    ciborium::into_writer(&(1_u64, 1_u8, 5000_u32, u32::MAX), &mut huge).unwrap();
    huge[0] = u8::try_from(huge.len() - 1).unwrap();
    let answer_unasked = [5, 0x84, 1, 2, 0, 0];
    for protocol in [calls::PROTOCOL, blocks::PROTOCOL] {
        for bytes in [
            &[255; 600][..],
            &[0; 600],
            &huge,
            &answer_unasked,
            b"GET / HTTP/1.1\r\n\r\n",
        ] {
            let mut stream = raw(&a, &b, protocol.clone()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            // It may have been cut already.
            drop(stream.flush().await);
            assert!(is_cut(&mut stream).await, "{protocol} {bytes:?}");
        }
    }
    still_serves(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_begins_messages_and_stalls_delays_nobody() {
    let (a, b) = pair().await;
    let mut stalled = Vec::new();
    for _ in 0..6 {
        let mut stream = raw(&a, &b, calls::PROTOCOL).await.unwrap();
        // Says that a mebibyte comes, and sends nothing more.
        let mut bytes = vec![0];
        ciborium::into_writer(&(1_u64, 1_u8, 5000_u32, 1_u32 << 20), &mut bytes).unwrap();
        bytes[0] = u8::try_from(bytes.len() - 1).unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        stalled.push(stream);
    }
    still_serves(&a, &b).await;
    still_serves(&b, &a).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_begins_blocks_and_stalls_is_cut_when_it_said_it_would_have_given_up() {
    let (a, b) = pair().await;
    let mut stalled = Vec::new();
    for _ in 0..4 {
        let mut stream = raw(&a, &b, blocks::PROTOCOL).await.unwrap();
        // Says that four mebibytes come within two seconds.
        let mut bytes = vec![0];
        ciborium::into_writer(&(1_u64, 1_u8, 2000_u32, 4_u32 << 20), &mut bytes).unwrap();
        bytes[0] = u8::try_from(bytes.len() - 1).unwrap();
        stream.write_all(&bytes).await.unwrap();
        stream.flush().await.unwrap();
        stalled.push(stream);
    }
    // All that it is granted is held, and the others are served from what is theirs.
    still_serves(&b, &a).await;
    assert!(a.call(&b, Class::Metadata, b"hello").await.is_ok());
    for stream in &mut stalled {
        assert!(is_cut(stream).await);
    }
    still_serves(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_streams_is_reset_and_the_peer_still_served() {
    let (a, b) = pair().await;
    still_serves(&a, &b).await;
    let mut held = Vec::new();
    for _ in 0..100 {
        if let Ok(mut stream) = raw(&a, &b, blocks::PROTOCOL).await {
            drop(stream.write_all(&[1]).await);
            drop(stream.flush().await);
            held.push(stream);
        }
    }
    let (all, start) = (held.len(), std::time::Instant::now());
    let mut left = held;
    // On a busy machine resets take their time; those that were let in are not cut that soon.
    while left.len() > 32 && start.elapsed() < crate::frame::HEAD_WAIT / 2 {
        let mut still = Vec::new();
        for mut stream in left {
            let mut byte = [0];
            let read = tokio::time::timeout(Duration::from_millis(5), stream.read(&mut byte)).await;
            if read.is_err() {
                still.push(stream);
            }
        }
        left = still;
    }
    assert!(left.len() <= 32, "{} of {all} not cut", left.len());
    still_serves(&b, &a).await;
    // Whoever stops flooding is served as before.
    drop(left);
    still_serves(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_guest_can_speak_of_nothing_but_joining() {
    let (a, b) = (Home::start().await, Home::start().await);
    let _invite = a.invite();
    let _visit = b.node.inner.admissions.visit();
    let peer = visited(&b, &a).await;
    let guests = &b.node.inner.guests;
    for protocol in [
        "/warren/call/1",
        "/warren/block/1",
        "/ipfs/id/1.0.0",
        "/ipfs/ping/1.0.0",
        "/libp2p/dcutr",
    ] {
        let opened = guests
            .open(&peer, StreamProtocol::new(protocol), Class::Metadata, true)
            .await;
        // With the name of the protocol sent along with the first bytes, a refusal shows when something is read.
        let is_refused = match opened {
            Err(error) => error.kind() == io::ErrorKind::Unsupported,
            Ok(mut opened) => {
                drop(opened.stream.write_all(&[0; 8]).await);
                drop(opened.stream.flush().await);
                let mut byte = [0];
                !matches!(opened.stream.read(&mut byte).await, Ok(1))
            }
        };
        assert!(is_refused, "{protocol}");
    }
    assert!(a.node.inner.links.with(&b.id().peer(), |links| links.len()) <= 1);
    assert_eq!(a.node.nearest(&[b.id()]), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_can_speak_of_nothing_but_who_it_is_and_not_for_long() {
    let (a, b) = (Home::start().await, Home::start().await);
    a.node.hear_introductions(true);
    let _visit = b.node.inner.admissions.visit();
    let peer = visited(&b, &a).await;
    let introducing = &b.node.inner.introductions;
    let opened = |protocol| {
        let control = introducing.control.clone();
        async move { control.open(&peer, protocol, Class::Metadata, true).await }
    };
    for protocol in [join::PROTOCOL, crate::removal::PROTOCOL, calls::PROTOCOL] {
        let error = opened(protocol).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::Unsupported);
    }
    for bytes in [&[255; 600][..], &[0; 600], &[0, 1, 0x80], b"\0\x03abc"] {
        let mut stream = opened(introducing.protocol.clone()).await.unwrap().stream;
        drop(stream.write_all(bytes).await);
        drop(stream.flush().await);
        assert!(is_cut(&mut stream).await, "{bytes:?}");
    }
    assert!(a.node.introduced().is_empty());
    b.until(|node| !node.inner.introductions.control.links().is_connected(&peer))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_in_the_join_protocol_harms_nobody() {
    let (a, b) = (Home::start().await, Home::start().await);
    let invite = a.invite();
    let visit = b.node.inner.admissions.visit();
    let peer = visited(&b, &a).await;
    for bytes in [&[255; 600][..], &[0; 600], &[0, 1, 0x80], b"\0\x03abc"] {
        let opened = b
            .node
            .inner
            .guests
            .open(&peer, join::PROTOCOL, Class::Metadata, true)
            .await;
        let mut stream = opened.unwrap().stream;
        drop(stream.write_all(bytes).await);
        drop(stream.flush().await);
    }
    drop(visit);
    b.join(&invite).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_begins_heads_and_stalls_is_cut_and_delays_nobody() {
    let (a, b) = pair().await;
    let mut stalled = Vec::new();
    for protocol in [calls::PROTOCOL, blocks::PROTOCOL] {
        for bytes in [&[9][..], &[9, 0x84, 1]] {
            let mut stream = raw(&a, &b, protocol.clone()).await.unwrap();
            stream.write_all(bytes).await.unwrap();
            stream.flush().await.unwrap();
            stalled.push(stream);
        }
    }
    still_serves(&a, &b).await;
    still_serves(&b, &a).await;
    tokio::time::sleep(crate::frame::HEAD_WAIT).await;
    for stream in &mut stalled {
        assert!(is_cut(stream).await);
    }
    still_serves(&a, &b).await;
}

/// Answers with a mebibyte, and counts how often.
struct Generous(AtomicUsize);

impl Service for Generous {
    fn answer(&self, _: NodeId, _: Class, request: Bytes) -> BoxFuture<'static, Result<Bytes, Refusal>> {
        let is_large = request.starts_with(b"much");
        if is_large {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
        Box::pin(async move {
            Ok(if is_large {
                vec![0; 1 << 20].into()
            } else {
                request
            })
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_asks_for_much_and_takes_nothing_fills_no_memory_and_delays_nobody() {
    let generous = Arc::new(Generous(AtomicUsize::new(0)));
    let folder = tempfile::tempdir().unwrap();
    let b = Home::start_in(folder, mesh_key(), generous.clone(), |_| {}).await;
    let (a, c) = (Home::start().await, Home::start().await);
    befriend(&b, &a).await;
    befriend(&b, &c).await;
    b.node.set_members([a.id(), c.id()]);
    b.connected(&[a.id(), c.id()]).await;
    a.connected(&[b.id()]).await;
    let mut greedy = Vec::new();
    for _ in 0..4 {
        let mut stream = raw(&a, &b, calls::PROTOCOL).await.unwrap();
        for id in 0..200_u64 {
            let mut head = vec![0];
            ciborium::into_writer(&(id, 1_u8, 60_000_u32, 4_u32), &mut head).unwrap();
            head[0] = u8::try_from(head.len() - 1).unwrap();
            stream.write_all(&[&head[..], b"much"].concat()).await.unwrap();
        }
        stream.flush().await.unwrap();
        greedy.push(stream);
    }
    tokio::time::sleep(Duration::from_secs(2)).await;
    // What it is granted, what is on its way through buffers, and what was being answered by then: not all that it asked for.
    let answered = generous.0.load(Ordering::SeqCst);
    assert!((16..200).contains(&answered), "{answered} of 800 answered");
    still_serves(&c, &b).await;
    still_serves(&b, &c).await;
    // It is served itself again once it lets go.
    drop(greedy);
    still_serves(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_that_says_nothing_delays_no_other_that_introduces_itself() {
    let (a, friend) = pair().await;
    let claims = a.directory.certificate(friend.id(), "friend").claims().clone();
    let certificate = crate::Certificate::issue(&mesh_key(), claims).unwrap();
    a.node.set_members([]);
    a.node.hear_introductions(true);
    let slow = Home::start().await;
    let _visit = slow.node.inner.admissions.visit();
    let peer = slow.node.visit(a.address().tcp()).await.unwrap();
    let introducing = &slow.node.inner.introductions;
    let mut silent = Vec::new();
    for _ in 0..3 {
        let opened = introducing
            .control
            .open(&peer, introducing.protocol.clone(), Class::Metadata, true)
            .await;
        let mut stream = opened.unwrap().stream;
        stream.write_all(&[0]).await.unwrap();
        stream.flush().await.unwrap();
        silent.push(stream);
    }
    friend.node.set_certificates(vec![certificate]);
    friend.node.retry().await;
    let start = std::time::Instant::now();
    a.until(|node| !node.introduced().is_empty()).await;
    // One after another they would have been heard for five seconds each.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_never_prove_a_key_are_few_at_once_and_members_get_in_beside_them() {
    let (a, b) = pair().await;
    let folder = b.folder;
    b.node.shutdown().await;
    let at = match a.address().host() {
        crate::HostName::Ip(ip) => std::net::SocketAddr::new(*ip, a.address().port()),
        crate::HostName::Dns(_) => unreachable!("it listens at a number"),
    };
    let mut silent = Vec::new();
    for _ in 0..40 {
        silent.push(tokio::net::TcpStream::connect(at).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut open = 0;
    for stream in &mut silent {
        let mut byte = [0];
        let read = tokio::io::AsyncReadExt::read(stream, &mut byte);
        // What is beyond the limit is closed at once; the others hear the beginning of a handshake, or wait for ours.
        let heard = tokio::time::timeout(Duration::from_millis(20), read).await;
        open += usize::from(!matches!(heard, Ok(Ok(0) | Err(_))));
    }
    assert!(open <= 16, "{open} open");
    let b = Home::start_in(folder, mesh_key(), Arc::new(Echo), |options| {
        options.members = vec![a.id()];
    })
    .await;
    // From the same address as all of these: they are cut when they have taken too long.
    b.connected(&[a.id()]).await;
}

/// Connects a stranger, as a joiner would.
async fn visited(from: &Home, to: &Home) -> PeerId {
    from.node.visit(to.address().tcp()).await.unwrap()
}
