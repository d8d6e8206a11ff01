//! A member that nobody reaches lets in a box that it can call.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p::StreamProtocol;

use super::support::{Echo, Home, SOON, mesh_key};
use crate::{Applicant, CallBackError, Class, Invite, JoinError, MeshKey, Welcome, callback, join};

async fn waits(joiner: &Home, invite: &Invite, wait: Duration) -> Result<Welcome, JoinError> {
    let applicant = Applicant {
        zone: "there".into(),
        name: "server".into(),
        greeting: Bytes::new(),
    };
    joiner.node.await_callback(invite, &applicant, wait).await
}

/// Calls until somebody waits there.
async fn calls(member: &Home, joiner: &Home, invite: &Invite) {
    let calling = async {
        while member
            .node
            .call_back(&joiner.address(), &[invite.id()])
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(SOON, calling).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_reaches_nobody_joins_once_a_member_calls_it() {
    let (a, b) = (Home::start().await, Home::start().await);
    let invite = a.invite_naming(Vec::new());
    let (joined, ()) = tokio::join!(waits(&b, &invite, SOON), calls(&a, &b, &invite));
    let welcome = joined.unwrap();
    assert_eq!(welcome.own.claims().node, a.id());
    assert_eq!(welcome.gift.as_ref(), b"gift");
    a.node.set_members([b.id()]);
    b.node.set_members([a.id()]);
    a.connected(&[b.id()]).await;
    b.connected(&[a.id()]).await;
    for class in [Class::Metadata, Class::Block] {
        assert!(a.call(&b, class, b"hello").await.is_ok() && b.call(&a, class, b"hello").await.is_ok());
    }
    let again = a.node.call_back(&b.address(), &[invite.id()]).await;
    assert_eq!(again, Err(CallBackError::Member));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invite_lets_one_box_in_whether_it_was_called_or_not() {
    let (a, b, c) = (Home::start().await, Home::start().await, Home::start().await);
    let invite = a.invite();
    b.join(&invite).await.unwrap();
    let (joined, ()) = tokio::join!(waits(&c, &invite, SOON), calls(&a, &c, &invite));
    assert_eq!(joined, Err(JoinError::Refused));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_called_without_an_invite_and_nobody_hears_of_another() {
    let (a, b) = (Home::start().await, Home::start().await);
    let (invite, other) = (a.invite_naming(Vec::new()), a.invite_naming(Vec::new()));
    // It does not wait yet.
    assert!(a.node.call_back(&b.address(), &[invite.id()]).await.is_err());
    let waiting = waits(&b, &invite, Duration::from_secs(2));
    let calling = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        a.node.call_back(&b.address(), &[other.id()]).await
    };
    let (joined, called) = tokio::join!(waiting, calling);
    assert_eq!(
        (joined, called),
        (Err(JoinError::NobodyCalled), Err(CallBackError::NotWaiting))
    );
    assert_eq!(
        a.node.call_back(&b.address(), &[]).await,
        Err(CallBackError::NoInvite)
    );
    a.node.expect_guests(Duration::ZERO);
    let called = a.node.call_back(&b.address(), &[invite.id()]).await;
    assert_eq!(called, Err(CallBackError::NoInvite));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_and_is_not_of_the_mesh_gains_nothing_and_stops_nobody() {
    let (a, b) = (Home::start().await, Home::start().await);
    let folder = tempfile::tempdir().unwrap();
    let middle = Home::start_in(folder, MeshKey::from_secret(&[9; 32]), Arc::new(Echo), |_| {}).await;
    let invite = a.invite_naming(Vec::new());
    // Somebody learned which invite it is, and nothing more.
    middle.honour(&invite);
    let calling = async {
        calls(&middle, &b, &invite).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        calls(&a, &b, &invite).await;
    };
    let (joined, ()) = tokio::join!(waits(&b, &invite, SOON), calling);
    assert_eq!(joined.unwrap().own.claims().node, a.id());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_hears_of_being_called_and_of_nothing_else_and_stalling_harms_nobody() {
    let (a, b, c) = (Home::start().await, Home::start().await, Home::start().await);
    let invite = a.invite_naming(Vec::new());
    let bothering = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        c.node.expect_guests(SOON);
        let guests = &c.node.inner.guests;
        let peer = c.node.visit(b.address().tcp()).await.unwrap();
        for protocol in [
            join::PROTOCOL,
            StreamProtocol::new("/warren/call/1"),
            StreamProtocol::new("/ipfs/id/1.0.0"),
        ] {
            let opened = guests.open(&peer, protocol, Class::Metadata, true).await;
            assert_eq!(opened.map(drop).unwrap_err().kind(), io::ErrorKind::Unsupported);
        }
        let mut stalled = Vec::new();
        for bytes in [&[0, 9, 1][..], &[255; 600], &[0; 600], &[0, 2, 0x82, 1]] {
            let opened = guests
                .open(&peer, callback::PROTOCOL, Class::Metadata, true)
                .await;
            let mut stream = opened.unwrap().stream;
            drop(stream.write_all(bytes).await);
            drop(stream.flush().await);
            stalled.push(stream);
        }
        calls(&a, &b, &invite).await;
        for mut stream in stalled {
            let mut answer = Vec::new();
            let heard = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
            assert!(heard.is_ok() && answer.is_empty());
        }
    };
    let (joined, ()) = tokio::join!(waits(&b, &invite, SOON), bothering);
    assert_eq!(joined.unwrap().own.claims().node, a.id());
    assert_eq!(mesh_key().id(), b.node.mesh());
}
