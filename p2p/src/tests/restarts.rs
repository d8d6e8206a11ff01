//! What nodes that stop, start and dial each other at the same moment can rely on.

use std::net::{Ipv4Addr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use libp2p::core::transport::{DialOpts, PortUse, Transport as _};
use libp2p::core::{Endpoint, muxing::StreamMuxer};
use libp2p::quic;

use super::support::{Echo, Home, mesh_key, pair};
use crate::{Address, CallError, Class, Identity, book};

/// The connection of a member that dialled several addresses at once, and has not decided yet which one it keeps.
async fn undecided(member: &Identity, at: &Address) -> impl StreamMuxer + use<> {
    let keypair = member.keypair().unwrap();
    let mut transport = quic::tokio::Transport::new(quic::Config::new(&keypair));
    let options = DialOpts {
        role: Endpoint::Dialer,
        port_use: PortUse::New,
    };
    transport.dial(at.quic(), options).unwrap().await.unwrap().1
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_its_dialler_did_not_take_up_carries_no_calls() {
    let folder = tempfile::tempdir().unwrap();
    let member = Identity::load_or_create(&folder.path().join("identity")).unwrap();
    let a = Home::start_in(
        tempfile::tempdir().unwrap(),
        mesh_key(),
        Arc::new(Echo),
        |options| {
            options.members = vec![member.node_id()];
        },
    )
    .await;
    let _connection = undecided(&member, &a.address()).await;
    let accepted = |node: &crate::Node| node.inner.links.is_connected(&member.node_id().peer());
    a.until(accepted).await;
    let wait = Duration::from_secs(5);
    let called = a
        .node
        .call(member.node_id(), Class::Metadata, "x".into(), wait)
        .await;
    assert_eq!(called, Err(CallError::NotConnected));
    assert_eq!(a.node.peer(member.node_id()).link, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_right_after_it_joined_remembers_who_let_it_in() {
    let (a, b) = (Home::start().await, Home::start().await);
    b.join(&a.invite()).await.unwrap();
    // Sooner than the loop can hear of it.
    b.node.inner.admissions.set_members([a.id().peer()].into());
    b.node.shutdown().await;
    let known = book::load(&b.folder.path().join("addresses")).of(&a.id());
    assert_eq!(known, [a.address()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_waits_for_a_port_that_another_is_about_to_leave() {
    let (a, b) = pair().await;
    let port = b.address().port();
    let (folder, b_id) = (b.folder, b.node.id());
    b.node.shutdown().await;
    let socket = loop {
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
            break socket;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let other = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        drop(socket);
    };
    let again = Home::start_in(folder, mesh_key(), Arc::new(Echo), |options| {
        options.members = vec![a.id()];
    });
    let (again, ()) = tokio::join!(again, other);
    // Over QUIC, for which the socket is.
    let member = Identity::load_or_create(&a.folder.path().join("identity")).unwrap();
    drop(undecided(&member, &again.address()).await);
    assert_eq!(again.id(), b_id);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_port_another_program_keeps_starts_on_another_until_it_is_free_again() {
    let (a, b) = pair().await;
    let (port, folder, b_id) = (b.address().port(), b.folder, b.node.id());
    b.node.shutdown().await;
    let socket = loop {
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)) {
            break socket;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let known_to_a = |options: &mut crate::Options| options.members = vec![a.id()];
    let moved = Home::start_in(folder, mesh_key(), Arc::new(Echo), known_to_a).await;
    assert_eq!(moved.id(), b_id);
    assert_ne!(moved.address().port(), port);
    moved.until(|node| node.peer(a.id()).link.is_some()).await;
    drop(socket);
    let folder = moved.folder;
    moved.node.shutdown().await;
    let back = Home::start_in(folder, mesh_key(), Arc::new(Echo), known_to_a).await;
    assert_eq!(back.address().port(), port);
}
