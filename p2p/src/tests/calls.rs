//! What members can rely on when they call each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::support::{Echo, Home, SOON, befriend, mesh_key, pair};
use crate::{BODY_BYTES_MAX, CallError, Class, Limits, Node, Transport};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_calls_at_once_each_get_their_own_answer() {
    let (a, b) = pair().await;
    let mut calls = tokio::task::JoinSet::new();
    for at in 0..2000_u32 {
        let (node, to) = (a.node.clone(), b.id());
        calls.spawn(async move {
            let request = Bytes::from(at.to_be_bytes().repeat(50));
            let answer = node.call(to, Class::Metadata, request.clone(), SOON).await;
            assert_eq!(answer, Ok(request));
        });
    }
    while let Some(call) = calls.join_next().await {
        call.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_largest_block_goes_there_and_back_and_a_larger_one_is_refused_here() {
    let (a, b) = pair().await;
    let block = Bytes::from(vec![7; BODY_BYTES_MAX]);
    for class in [Class::Block, Class::Metadata] {
        let answer = a.node.call(b.id(), class, block.clone(), SOON).await;
        assert!(answer == Ok(block.clone()), "{class:?}");
    }
    let larger = Bytes::from(vec![7; BODY_BYTES_MAX + 1]);
    let error = a.node.call(b.id(), Class::Block, larger, SOON).await;
    assert_eq!(
        error,
        Err(CallError::TooLarge {
            bytes: BODY_BYTES_MAX + 1
        })
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_and_a_missing_answer_are_told_apart() {
    let (a, b) = pair().await;
    for class in [Class::Metadata, Class::Block] {
        let refused = a.call(&b, class, b"refuse").await;
        assert_eq!(refused, Err(CallError::Refused("asked to".into())));
        let slept = a
            .node
            .call(b.id(), class, "sleep".into(), Duration::from_millis(200))
            .await;
        assert_eq!(slept, Err(CallError::NoAnswer));
        // One call that hangs delays no other.
        assert!(a.call(&b, class, b"hello").await.is_ok());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_hanging_calls_than_a_peer_is_granted_time_out_and_harm_no_other_class() {
    let (a, b) = pair().await;
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (node, to) = (a.node.clone(), b.id());
        calls.spawn(async move {
            node.call(to, Class::Block, "sleep".into(), Duration::from_secs(1))
                .await
        });
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(a.call(&b, Class::Metadata, b"hello").await.is_ok());
    while let Some(call) = calls.join_next().await {
        assert_eq!(call.unwrap(), Err(CallError::NoAnswer));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_that_fill_the_memory_they_are_granted_hold_up_no_metadata() {
    let (a, b) = pair().await;
    // On one connection for both, blocks that nobody takes in hold up everything behind them.
    a.until(|node| has_one_for_blocks(node, &b)).await;
    let mut sleeping = b"sleep".to_vec();
    sleeping.resize(4 << 20, 0);
    let sleeping = Bytes::from(sleeping);
    let mut held = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let (node, to, request) = (a.node.clone(), b.id(), sleeping.clone());
        held.spawn(async move { node.call(to, Class::Block, request, SOON).await });
    }
    // Until as many are held as fit, and the others wait for room.
    let mut received = 0;
    while received < 12 << 20 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        received = b.node.peer(a.id()).received_bytes;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let start = Instant::now();
    let heard = a.call(&b, Class::Metadata, b"hello").await;
    assert!(heard.is_ok(), "{heard:?} after {:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

/// Whether blocks take another connection than metadata.
fn has_one_for_blocks(node: &Node, to: &Home) -> bool {
    let chosen = |class| {
        let chosen = node.inner.links.choose(&to.id().peer(), class, true);
        chosen.map(|chosen| chosen.id)
    };
    chosen(Class::Metadata) != chosen(Class::Block)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_take_quic_and_blocks_get_a_connection_of_their_own() {
    let (a, b) = pair().await;
    a.until(|node| has_one_for_blocks(node, &b)).await;
    a.until(|node| node.peer(b.id()).link.unwrap().transport == Transport::Quic)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_on_blocks_holds_and_spares_metadata() {
    let (a, b) = (Home::start().await, Home::start().await);
    befriend(&a, &b).await;
    a.node.set_limits(Limits {
        sent: Some(1 << 20),
        received: None,
        relayed: None,
    });
    let start = Instant::now();
    let sending = {
        let (node, to) = (a.node.clone(), b.id());
        tokio::spawn(async move { node.call(to, Class::Block, vec![1; 2 << 20].into(), SOON).await })
    };
    assert!(a.call(&b, Class::Metadata, &vec![2; 1 << 20]).await.is_ok());
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert!(sending.await.unwrap().is_ok());
    // Two MiB at one MiB/s, less the quarter of a second that may flow at once.
    assert!(
        start.elapsed() > Duration::from_millis(1600),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_nearest_come_first_and_those_away_not_at_all() {
    let (a, b) = pair().await;
    let away = crate::tests::support::stranger();
    assert_eq!(a.node.nearest(&[away, b.id()]), [b.id()]);
    a.until(|node| node.peer(b.id()).link.unwrap().round_trip.is_some())
        .await;
    let status = a.node.peer(b.id());
    assert!(status.link.unwrap().round_trip.unwrap() < Duration::from_millis(500));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stops_finishes_what_it_began_and_takes_nothing_new() {
    let (a, b) = pair().await;
    let slow = Arc::new(Slow::default());
    let c = Home::start_in(tempfile::tempdir().unwrap(), mesh_key(), slow.clone(), |_| {}).await;
    befriend(&a, &c).await;
    let call = {
        let (node, to) = (a.node.clone(), c.id());
        tokio::spawn(async move { node.call(to, Class::Block, "x".into(), SOON).await })
    };
    slow.begun.notified().await;
    c.node.shutdown().await;
    assert!(slow.is_finished.load(std::sync::atomic::Ordering::SeqCst));
    drop(call.await.unwrap());
    assert!(a.call(&c, Class::Metadata, b"x").await.is_err());
    // Stopping a stopped node does nothing.
    c.node.shutdown().await;
    drop((b, Echo));
}

/// Takes half a second for every answer.
#[derive(Default)]
struct Slow {
    begun: tokio::sync::Notify,
    is_finished: Arc<std::sync::atomic::AtomicBool>,
}

impl crate::Service for Slow {
    fn answer(
        &self,
        _: crate::NodeId,
        _: Class,
        request: Bytes,
    ) -> futures_util::future::BoxFuture<'static, Result<Bytes, crate::Refusal>> {
        self.begun.notify_one();
        let finished = Arc::clone(&self.is_finished);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(500)).await;
            finished.store(true, std::sync::atomic::Ordering::SeqCst);
            Ok(request)
        })
    }
}
