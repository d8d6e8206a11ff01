//! Answers the calls of members, each within limits that no peer can exceed for itself or for others.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::io::{BufReader, BufWriter, ReadHalf};
use futures_util::{AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::swarm::Stream;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::frame::{self, BODY_BYTES_MAX, Head, Kind};
use crate::links::Links;
use crate::locked::locked;
use crate::paced::{self, Paces, Way};
use crate::streams::Incoming;
use crate::traffic::Traffic;
use crate::{Class, NodeId, Refusal, Service, blocks};

/// Metadata calls of one peer answered at once.
const METADATA_MAX: usize = 128;
/// Block calls of one peer answered at once.
const BLOCKS_MAX: usize = 8;
/// Requests about blocks of one peer, and of all, that are held in memory, in KiB.
const BLOCKS_KIB: Kib = Kib {
    peer: 16 << 10,
    node: 48 << 10,
};
/// The same of metadata, which has its own: else it would wait behind blocks that wait for room.
const METADATA_KIB: Kib = Kib {
    peer: 12 << 10,
    node: 24 << 10,
};
/// Answers about blocks of one peer, and of all, that are held in memory: room for the largest is set aside before one is
/// made, and what it does not need is given back.
const BLOCK_ANSWERS_KIB: Kib = Kib {
    peer: BLOCKS_MAX * LARGEST_KIB,
    node: 2 * BLOCKS_MAX * LARGEST_KIB,
};
/// The same of metadata, whose answers are mostly small and many at once: each finds room once it is made, and while one
/// waits for room its peer begins no other call. So beside these there is what was being made by then.
const METADATA_ANSWERS_KIB: Kib = Kib {
    peer: 16 << 10,
    node: 48 << 10,
};
/// The largest message.
const LARGEST_KIB: usize = BODY_BYTES_MAX.div_ceil(1024);
/// Answers of metadata that wait to be written to one stream.
const ANSWERS_MAX: usize = 64;
/// How long a peer may take for the rest of a message it began, or to take what it asked for.
const STALL_WAIT: Duration = Duration::from_secs(30);
/// How long a request about a block may take to come in, and its answer to go out, whatever it says of how long it waits.
const BLOCK_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a stream for blocks may lie idle.
const IDLE_WAIT: Duration = Duration::from_secs(300);
const BUFFER_BYTES: usize = 64 << 10;

/// Memory in KiB. Holds the largest request, or nothing would ever fit.
struct Kib {
    peer: usize,
    node: usize,
}

impl Kib {
    const fn holds_the_largest(&self) -> bool {
        self.peer >= LARGEST_KIB && self.node >= self.peer
    }
}

const _: () = assert!(BLOCKS_KIB.holds_the_largest() && BLOCK_ANSWERS_KIB.holds_the_largest());
const _: () = assert!(METADATA_KIB.holds_the_largest() && METADATA_ANSWERS_KIB.holds_the_largest());

/// The answering side of this node.
pub(crate) struct Server {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) links: Links,
    pub(crate) paces: Arc<Paces>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    /// What all peers together may use: for requests, and for answers.
    metadata: [Arc<Semaphore>; 2],
    blocks: [Arc<Semaphore>; 2],
    desks: Mutex<HashMap<PeerId, Arc<Desk>>>,
}

/// What one peer may use of this node.
struct Desk {
    node: NodeId,
    metadata: Grant,
    blocks: Grant,
    traffic: Arc<Traffic>,
}

/// Calls of one class that one peer may have answered at once, and the memory for them.
struct Grant {
    places: Arc<Semaphore>,
    requests: Room,
    answers: Room,
}

impl Grant {
    fn new(places: usize, [requests, answers]: [&Kib; 2], of_node: &[Arc<Semaphore>; 2]) -> Self {
        let [requests_of_node, answers_of_node] = of_node;
        Self {
            places: Arc::new(Semaphore::new(places)),
            requests: Room::new(requests, requests_of_node),
            answers: Room::new(answers, answers_of_node),
        }
    }

    /// Waits for a place and for memory, so that a peer is read from only as fast as it is served.
    async fn hold(&self, head: Head) -> io::Result<(OwnedSemaphorePermit, Taken)> {
        if head.kind != Kind::Request {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(closed)?;
        Ok((place, self.requests.take(head.length).await?))
    }
}

/// Memory that one peer may use, as a part of what all may.
struct Room {
    of_peer: Arc<Semaphore>,
    of_node: Arc<Semaphore>,
}

impl Room {
    fn new(memory: &Kib, of_node: &Arc<Semaphore>) -> Self {
        Self {
            of_peer: Arc::new(Semaphore::new(memory.peer)),
            of_node: Arc::clone(of_node),
        }
    }

    /// Waits for room for so many bytes, behind whoever asked before.
    async fn take(&self, bytes: usize) -> io::Result<Taken> {
        let of = |room: &Arc<Semaphore>| Arc::clone(room).acquire_many_owned(kib(bytes));
        Ok(Taken {
            of_peer: of(&self.of_peer).await.map_err(closed)?,
            of_node: of(&self.of_node).await.map_err(closed)?,
        })
    }

    /// Waits until nobody of this peer waits for room any more.
    async fn passed(&self) -> io::Result<()> {
        self.of_peer.acquire().await.map(drop).map_err(closed)
    }
}

/// Memory that is held, and given back when dropped.
struct Taken {
    of_peer: OwnedSemaphorePermit,
    of_node: OwnedSemaphorePermit,
}

impl Taken {
    /// Gives back all but so much.
    fn keep(&mut self, bytes: usize) {
        for permit in [&mut self.of_peer, &mut self.of_node] {
            let more = permit
                .num_permits()
                .saturating_sub(usize::try_from(kib(bytes)).unwrap_or(usize::MAX));
            drop(permit.split(more));
        }
    }
}

fn kib(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX)
}

fn closed(_: AcquireError) -> io::Error {
    io::ErrorKind::BrokenPipe.into()
}

/// An answer to be written, and what is given back once it is.
struct Answered {
    id: u64,
    answer: Result<Bytes, Refusal>,
    /// Held from before the request was read.
    _place: OwnedSemaphorePermit,
    _memory: Taken,
}

impl Server {
    pub(crate) fn new(
        service: Arc<dyn Service>,
        links: Links,
        paces: Arc<Paces>,
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        Self {
            service,
            links,
            paces,
            tasks,
            stop,
            metadata: [&METADATA_KIB, &METADATA_ANSWERS_KIB].map(|kib| Arc::new(Semaphore::new(kib.node))),
            blocks: [&BLOCKS_KIB, &BLOCK_ANSWERS_KIB].map(|kib| Arc::new(Semaphore::new(kib.node))),
            desks: Mutex::default(),
        }
    }

    /// Serves the streams that members open, until stopped. Answers under way are finished, not dropped.
    pub(crate) async fn serve(self: Arc<Self>, mut incoming: mpsc::Receiver<Incoming>) {
        let stop = self.stop.clone();
        while let Some(Some(stream)) = stop.run_until_cancelled(incoming.recv()).await {
            let server = Arc::clone(&self);
            self.tasks.spawn(async move {
                let peer = stream.peer;
                if let Err(error) = server.stream(stream).await {
                    debug!(%peer, %error, "stream given up");
                }
            });
        }
    }

    /// Forgets all others.
    pub(crate) fn keep_only(&self, peers: &HashSet<PeerId>) {
        let mut desks = locked(&self.desks);
        desks.retain(|peer, _| peers.contains(peer));
    }

    fn desk(&self, peer: &PeerId) -> Option<Arc<Desk>> {
        let mut desks = locked(&self.desks);
        if let Some(desk) = desks.get(peer) {
            return Some(Arc::clone(desk));
        }
        let desk = Arc::new(Desk {
            node: NodeId::of_peer(peer)?,
            metadata: Grant::new(
                METADATA_MAX,
                [&METADATA_KIB, &METADATA_ANSWERS_KIB],
                &self.metadata,
            ),
            blocks: Grant::new(BLOCKS_MAX, [&BLOCKS_KIB, &BLOCK_ANSWERS_KIB], &self.blocks),
            traffic: self.links.traffic(peer),
        });
        desks.insert(*peer, Arc::clone(&desk));
        Some(desk)
    }

    async fn stream(self: Arc<Self>, incoming: Incoming) -> io::Result<()> {
        let Some(desk) = self.desk(&incoming.peer) else {
            return Ok(());
        };
        if incoming.protocol == blocks::PROTOCOL {
            let relayed = self.links.is_relayed(&incoming.peer, incoming.connection);
            let stop = self.stop.clone();
            let served = self.block_calls(incoming.stream, &desk, relayed);
            return stop.run_until_cancelled(served).await.unwrap_or(Ok(()));
        }
        let (reader, writer) = incoming.stream.split();
        let (answers, written) = mpsc::channel(ANSWERS_MAX);
        let broken = self.stop.child_token();
        let over = broken.clone();
        self.tasks.spawn(async move {
            // Ends when the reader and every answer under way have let go of `answers`.
            let result = write_answers(writer, written).await;
            over.cancel();
            result
        });
        let read = self.metadata_calls(reader, &desk, answers);
        broken.run_until_cancelled(read).await.unwrap_or(Ok(()))
    }

    async fn metadata_calls(
        &self,
        reader: ReadHalf<Stream>,
        desk: &Arc<Desk>,
        answers: mpsc::Sender<Answered>,
    ) -> io::Result<()> {
        let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
        while let Some(head) = frame::read_head(&mut reader).await? {
            let received = Instant::now();
            desk.metadata.answers.passed().await?;
            let (place, asked) = desk.metadata.hold(head).await?;
            let body = within(STALL_WAIT, frame::read_body(&mut reader, head.length)).await?;
            desk.traffic.count_received(body.len());
            // Who waited longer for its turn than it wanted to wait for the answer is gone.
            if received.elapsed() > head.wait {
                continue;
            }
            let (service, desk, answers) = (Arc::clone(&self.service), Arc::clone(desk), answers.clone());
            self.tasks.spawn(async move {
                let answer = service.answer(desk.node, Class::Metadata, body).await;
                drop(asked);
                let bytes = answer.as_ref().map_or(0, Bytes::len);
                // Once who asked has given up, nobody wants the answer.
                let Ok(Ok(memory)) =
                    timeout_at(received + head.wait, desk.metadata.answers.take(bytes)).await
                else {
                    return;
                };
                desk.traffic.count_sent(bytes);
                let answered = Answered {
                    id: head.id,
                    answer,
                    _place: place,
                    _memory: memory,
                };
                // The peer may have gone; then nobody waits.
                drop(answers.send(answered).await);
            });
        }
        Ok(())
    }

    async fn block_calls(&self, mut stream: Stream, desk: &Arc<Desk>, relayed: bool) -> io::Result<()> {
        let way = Way {
            paces: &self.paces,
            relayed,
            traffic: &desk.traffic,
        };
        while let Some(head) = within(IDLE_WAIT, frame::read_head(&mut stream)).await? {
            let held = desk.blocks.hold(head).await?;
            // Who trickles, either way, holds memory that others wait for; who asked has given up by then.
            let until = Instant::now() + head.wait.min(BLOCK_WAIT_MAX);
            let body = paced::read_body(&mut stream, head.length, way);
            let body = in_time(until, body).await?;
            let mut memory = in_time(until, desk.blocks.answers.take(BODY_BYTES_MAX)).await?;
            let (service, node) = (Arc::clone(&self.service), desk.node);
            // In a task of its own, so that a lost connection does not drop it half-way.
            let answering = self.tasks.spawn(async move {
                let answer = service.answer(node, Class::Block, body).await;
                memory.keep(answer.as_ref().map_or(0, Bytes::len));
                let (place, _) = held;
                (answer, Some((place, memory)))
            });
            let failed = |_| (Err(Refusal("failed while answering".to_owned())), None);
            // What it holds is given back only when the answer is written, or answers could fill the memory.
            let (answer, _held) = answering.await.unwrap_or_else(failed);
            let (head, body) = message(head.id, answer);
            in_time(until, paced::write(&mut stream, head, &body, way)).await?;
        }
        Ok(())
    }
}

/// Writes answers as they come, and flushes when none waits.
async fn write_answers<W: AsyncWrite + Unpin>(
    writer: W,
    mut answers: mpsc::Receiver<Answered>,
) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
    while let Some(first) = answers.recv().await {
        let mut next = Some(first);
        while let Some(answered) = next {
            let (head, body) = message(answered.id, answered.answer);
            within(STALL_WAIT, frame::write(&mut writer, head, &body)).await?;
            next = answers.try_recv().ok();
        }
        within(STALL_WAIT, writer.flush()).await?;
    }
    Ok(())
}

fn message(id: u64, answer: Result<Bytes, Refusal>) -> (Head, Bytes) {
    let (kind, body) = match answer {
        Ok(body) if body.len() <= BODY_BYTES_MAX => (Kind::Answer, body),
        Ok(_) => (Kind::Refusal, Bytes::from_static(b"the answer is too large")),
        Err(Refusal(text)) => (Kind::Refusal, frame::refusal_text(&text)),
    };
    let head = Head {
        id,
        kind,
        wait: Duration::ZERO,
        length: body.len(),
    };
    (head, body)
}

async fn in_time<T>(until: Instant, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout_at(until, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

async fn within<T>(wait: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(wait, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use super::*;

    /// Takes nothing, for ever.
    struct Stalled;

    impl AsyncWrite for Stalled {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Pending
        }
    }

    fn room(peer: usize, node: &Arc<Semaphore>) -> Room {
        Room::new(&Kib { peer, node: 0 }, node)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_no_answers_is_cut_and_what_they_held_is_given_back() {
        let (places, node) = (Arc::new(Semaphore::new(2)), Arc::new(Semaphore::new(64)));
        let room = room(16, &node);
        let (answers, written) = mpsc::channel(ANSWERS_MAX);
        for id in 0..2 {
            let answered = Answered {
                id,
                answer: Ok(Bytes::from(vec![0; 8 << 10])),
                _place: Arc::clone(&places).try_acquire_owned().unwrap(),
                _memory: room.take(8 << 10).await.unwrap(),
            };
            answers.send(answered).await.map_err(drop).unwrap();
        }
        // The third finds no room while the peer takes nothing.
        assert!(timeout(Duration::from_secs(60), room.take(1)).await.is_err());
        drop(answers);
        let start = Instant::now();
        assert!(write_answers(Stalled, written).await.is_err());
        assert!(start.elapsed() <= STALL_WAIT + Duration::from_secs(1));
        assert_eq!((places.available_permits(), node.available_permits()), (2, 64));
        assert!(room.take(16 << 10).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn while_an_answer_waits_for_room_its_peer_begins_nothing_and_others_do() {
        let node = Arc::new(Semaphore::new(64));
        let (greedy, other) = (room(16, &node), room(16, &node));
        let held = greedy.take(16 << 10).await.unwrap();
        let waiting = greedy.take(8 << 10);
        let mut waiting = std::pin::pin!(waiting);
        assert!(timeout(Duration::from_secs(1), &mut waiting).await.is_err());
        assert!(timeout(Duration::from_secs(1), greedy.passed()).await.is_err());
        assert!(other.passed().await.is_ok() && other.take(16 << 10).await.is_ok());
        drop(held);
        assert!(waiting.await.is_ok());
        assert!(greedy.passed().await.is_ok());
    }

    #[tokio::test]
    async fn what_an_answer_does_not_need_is_given_back() {
        let node = Arc::new(Semaphore::new(64));
        let room = room(16, &node);
        let mut memory = room.take(16 << 10).await.unwrap();
        memory.keep(1500);
        assert_eq!(node.available_permits(), 62);
        drop(memory);
        assert_eq!(node.available_permits(), 64);
    }
}
