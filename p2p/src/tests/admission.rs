//! Who gets in, who does not, and what those learn who do not.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite};

use crate::join::{self, Failure};
use crate::{Applicant, CallError, Certificate, Class, Invite, JoinError, MeshKey, Path, Removed, Role};

use super::support::{Echo, Home, befriend, mesh_key, pair};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_joins_with_an_invite_and_both_can_call() {
    let (a, b) = (Home::start().await, Home::start().await);
    let welcome = b.join(&a.invite()).await.unwrap();
    assert_eq!(welcome.gift.as_ref(), b"gift");
    assert_eq!(welcome.own.claims().node, a.id());
    assert_eq!(welcome.yours.claims().node, b.id());
    a.node.set_members([b.id()]);
    b.node.set_members([a.id()]);
    b.connected(&[a.id()]).await;
    a.connected(&[b.id()]).await;
    assert_eq!(
        a.call(&b, Class::Metadata, b"hello").await.unwrap().as_ref(),
        b"hello"
    );
    assert_eq!(
        b.call(&a, Class::Block, b"hello").await.unwrap().as_ref(),
        b"hello"
    );
    assert_eq!(a.node.peer(b.id()).link.unwrap().path, Path::Lan);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_works_once_and_for_the_same_node_again() {
    let (a, b, c) = (Home::start().await, Home::start().await, Home::start().await);
    let invite = a.invite();
    b.join(&invite).await.unwrap();
    // The answer might have been lost.
    b.join(&invite).await.unwrap();
    assert_eq!(c.join(&invite).await, Err(JoinError::Refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_revoked_and_used_invites_are_refused_alike() {
    let (a, c) = (Home::start().await, Home::start().await);
    let revoked = a.invite();
    a.revoke(&revoked);
    let wrong = Invite::new(mesh_key().id(), Role::Trusted, 1 << 33, vec![a.address()]).unwrap();
    for invite in [revoked, wrong] {
        assert_eq!(c.join(&invite).await, Err(JoinError::Refused));
    }
    assert!(!a.node.is_member(&c.id()));
    assert_eq!(
        c.call(&a, Class::Metadata, b"x").await,
        Err(CallError::NotConnected)
    );
}

/// All that is said to somebody who pleads with an invite in vain, byte for byte but for the nonce.
async fn refusal(from: &Home, to: &Home, invite: &Invite, name: &str) -> Vec<u8> {
    let _visit = from.node.inner.admissions.visit();
    let peer = from.node.visit(to.address().tcp()).await.unwrap();
    let guests = &from.node.inner.guests;
    let opened = guests.open(&peer, join::PROTOCOL, Class::Metadata, true).await;
    let mut stream = Recorded {
        stream: opened.unwrap().stream,
        heard: Vec::new(),
    };
    let applicant = Applicant {
        zone: "there".into(),
        name: name.into(),
        greeting: Bytes::new(),
    };
    let asked = join::ask(&mut stream, invite, from.id(), to.id(), &applicant).await;
    assert!(matches!(asked, Err(Failure::Refused)), "{asked:?}");
    stream.read_to_end(&mut Vec::new()).await.unwrap();
    let mut heard = stream.heard;
    // Two bytes of length, two of the kind of string, and the nonce itself.
    heard[4..36].fill(0);
    heard
}

/// A stream that remembers what came.
struct Recorded<S> {
    stream: S,
    heard: Vec<u8>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Recorded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = std::task::ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.heard.extend(&buffer[..read]);
        Poll::Ready(Ok(read))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Recorded<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusal_is_the_same_to_the_byte() {
    let (a, b, c) = (Home::start().await, Home::start().await, Home::start().await);
    let [open, used, revoked, expired] = [(); 4].map(|()| a.invite());
    b.join(&used).await.unwrap();
    a.revoke(&revoked);
    a.expire(&expired);
    let wrong = Invite::new(mesh_key().id(), Role::Trusted, 1 << 33, vec![a.address()]).unwrap();
    let of_another = MeshKey::from_secret(&[9; 32]).id();
    let of_another = Invite::new(of_another, Role::Trusted, 1 << 33, vec![a.address()]).unwrap();
    let mut heard = Vec::new();
    for (invite, name) in [
        (&wrong, "joiner"),
        (&used, "joiner"),
        (&revoked, "joiner"),
        (&expired, "joiner"),
        (&of_another, "joiner"),
        // One that works, for a name that is none.
        (&open, "\n"),
    ] {
        heard.push(refusal(&c, &a, invite, name).await);
    }
    assert!(heard.iter().all(|said| *said == heard[0]), "{heard:?}");
    // The challenge, of which all but the nonce is always the same, and a verdict of nothing.
    assert_eq!(heard[0].len(), 36 + 3);
    assert!(c.join(&open).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_heard_while_no_invite_is_outstanding() {
    let (a, c) = (Home::start().await, Home::start().await);
    let invite = a.invite();
    a.node.expect_guests(Duration::ZERO);
    let error = c.join(&invite).await.unwrap_err();
    assert!(
        matches!(&error, JoinError::NobodyAnswered { addresses } if addresses == &[a.address()]),
        "{error:?}"
    );
    assert!(error.to_string().contains("from the same network"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_stands_in_the_middle_is_found_out_and_gains_nothing() {
    // Somebody listens where the invite says, with a mesh key of its own, and lets everybody in.
    let folder = tempfile::tempdir().unwrap();
    let other_key = MeshKey::from_secret(&[9; 32]);
    let middle = Home::start_in(folder, other_key, Arc::new(Echo), |_| {}).await;
    let invite = middle.invite();
    let b = Home::start().await;
    assert_eq!(b.join(&invite).await, Err(JoinError::Impostor));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_for_another_mesh_is_not_even_tried() {
    let b = Home::start().await;
    let invite = Invite::new(MeshKey::from_secret(&[9; 32]).id(), Role::Trusted, 0, Vec::new()).unwrap();
    assert_eq!(b.join(&invite).await, Err(JoinError::OtherMesh));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_is_cut_at_once_and_cannot_come_back() {
    let (a, b) = pair().await;
    let start = Instant::now();
    a.node.set_members([]);
    b.until(|node| node.peer(a.id()).link.is_none()).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_eq!(
        a.call(&b, Class::Metadata, b"x").await,
        Err(CallError::NotConnected)
    );
    // It dials again and again, and never gets further than being refused.
    b.node.retry().await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        b.node
            .call(a.id(), Class::Metadata, "x".into(), Duration::from_secs(1))
            .await
            .ok(),
        None
    );
    assert!(a.node.peers().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_member_that_comes_back_is_told_by_a_member_it_knows() {
    let (a, b) = pair().await;
    let removed = Removed {
        node: b.id(),
        number: 2,
        removed_s: 1_800_000_000,
    };
    a.node.set_removed([removed]);
    a.node.set_members([a.id()]);
    b.until(|node| node.removal() == Some(removed)).await;
    // It may speak of nothing else meanwhile, and is not kept for long.
    assert!(a.call(&b, Class::Metadata, b"x").await.is_err());
    assert!(a.node.peers().is_empty());
    b.node.set_members([]);
    b.until(|node| node.inner.links.with(&a.id().peer(), |links| links.is_empty()))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stranger_cannot_tell_a_member_that_it_was_removed() {
    // To b, a is nobody; to a, b is a former member.
    let (a, b) = (Home::start().await, Home::start().await);
    let removed = Removed {
        node: b.id(),
        number: 2,
        removed_s: 1,
    };
    a.node.set_removed([removed]);
    drop(b.join(&a.invite()).await.unwrap());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(b.node.removal(), None);
}

/// Two members of which one has never heard of the other: what the mesh signed proves that one.
async fn unheard_of(key: MeshKey) -> (Home, Home) {
    let (a, b) = pair().await;
    let claims = a.directory.certificate(b.id(), "b").claims().clone();
    let certificate = Certificate::issue(&key, claims).unwrap();
    b.node.set_certificates(vec![certificate]);
    a.node.set_members([]);
    (a, b)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_not_heard_of_is_known_by_its_certificate_while_the_directory_cannot_be_asked() {
    let (a, b) = unheard_of(mesh_key()).await;
    a.node.hear_introductions(true);
    a.until(|node| node.introduced().iter().any(|claims| claims.node == b.id()))
        .await;
    // Until the owner says so, it is heard no further.
    assert!(a.call(&b, Class::Metadata, b"x").await.is_err());
    a.node.set_members([b.id()]);
    a.connected(&[b.id()]).await;
    a.until(|node| node.nearest(&[b.id()]) == [b.id()]).await;
    assert!(a.call(&b, Class::Metadata, b"hello").await.is_ok());
    a.node.hear_introductions(false);
    assert!(a.node.introduced().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_certificate_helps_who_was_removed_who_forged_it_or_where_the_directory_answers() {
    let (hears_nobody, friend) = unheard_of(mesh_key()).await;
    let (hears, forger) = unheard_of(MeshKey::from_secret(&[9; 32])).await;
    let (knows, former) = unheard_of(mesh_key()).await;
    let (waits, _unsure) = unheard_of(mesh_key()).await;
    for home in [&hears, &knows, &waits] {
        home.node.hear_introductions(true);
    }
    let removed = Removed {
        node: former.id(),
        number: 2,
        removed_s: 1,
    };
    knows.node.set_removed([removed]);
    // Keys that may be in the hands of somebody who went prove nothing.
    waits.node.set_signer(None);
    for home in [&friend, &forger, &former] {
        home.node.retry().await;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for home in [&hears_nobody, &hears, &knows, &waits] {
        assert!(home.node.introduced().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_restarts_is_found_again_at_its_remembered_address() {
    let (a, b) = pair().await;
    let (folder, b_id) = (b.folder, b.node.id());
    b.node.shutdown().await;
    a.until(|node| node.peer(b_id).link.is_none()).await;
    let b = Home::start_in(folder, mesh_key(), Arc::new(Echo), |options| {
        options.members = vec![a.id()];
    })
    .await;
    b.connected(&[a.id()]).await;
    a.connected(&[b_id]).await;
    assert_eq!(
        a.call(&b, Class::Metadata, b"again").await.unwrap().as_ref(),
        b"again"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_that_never_met_find_each_other_through_a_third() {
    let (a, b, c) = (Home::start().await, Home::start().await, Home::start().await);
    befriend(&a, &b).await;
    befriend(&a, &c).await;
    for node in [&a, &b, &c] {
        node.node.set_members([a.id(), b.id(), c.id()]);
    }
    let found = async {
        b.node
            .changes()
            .wait_for(|_| b.node.peer(c.id()).link.is_some())
            .await
            .map(drop)
    };
    tokio::time::timeout(Duration::from_secs(40), found)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(b.call(&c, Class::Metadata, b"hi").await.unwrap().as_ref(), b"hi");
}
