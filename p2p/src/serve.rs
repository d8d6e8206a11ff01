//! Answers the calls of members, each within limits that no peer can exceed for itself or for others.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::io::{BufReader, BufWriter, ReadHalf, WriteHalf};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p::PeerId;
use libp2p::swarm::Stream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::frame::{self, BODY_BYTES_MAX, Head, Kind};
use crate::links::{Links, Traffic};
use crate::locked::locked;
use crate::paced::{self, Paces, Way};
use crate::streams::Incoming;
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
/// Answers of metadata that wait to be written to one stream.
const ANSWERS_MAX: usize = 64;
/// How long a peer may take for the rest of a message it began, or to take what it asked for.
const STALL_WAIT: Duration = Duration::from_secs(30);
/// How long a request about a block may take to come in, whatever it says of how long it waits.
const BLOCK_WAIT_MAX: Duration = Duration::from_secs(120);
/// How long a stream for blocks may lie idle.
const IDLE_WAIT: Duration = Duration::from_secs(300);
const BUFFER_BYTES: usize = 64 << 10;

/// Memory in KiB. Holds the largest request, or nothing would ever fit.
struct Kib {
    peer: usize,
    node: usize,
}

const _: () = assert!(BLOCKS_KIB.peer * 1024 >= BODY_BYTES_MAX && BLOCKS_KIB.node >= BLOCKS_KIB.peer);
const _: () = assert!(METADATA_KIB.peer * 1024 >= BODY_BYTES_MAX && METADATA_KIB.node >= METADATA_KIB.peer);

/// The answering side of this node.
pub(crate) struct Server {
    pub(crate) service: Arc<dyn Service>,
    pub(crate) links: Links,
    pub(crate) paces: Arc<Paces>,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
    metadata: Arc<Semaphore>,
    blocks: Arc<Semaphore>,
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
    of_peer: Arc<Semaphore>,
    of_node: Arc<Semaphore>,
}

impl Grant {
    fn new(places: usize, memory: &Kib, of_node: &Arc<Semaphore>) -> Self {
        Self {
            places: Arc::new(Semaphore::new(places)),
            of_peer: Arc::new(Semaphore::new(memory.peer)),
            of_node: Arc::clone(of_node),
        }
    }

    /// Waits for a place and for memory, so that a peer is read from only as fast as it is served.
    async fn hold(&self, head: Head) -> io::Result<Held> {
        if head.kind != Kind::Request {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let kib = u32::try_from(head.length.div_ceil(1024)).unwrap_or(u32::MAX);
        let closed = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        let memory = |of: &Arc<Semaphore>| Arc::clone(of).acquire_many_owned(kib);
        Ok(Held {
            _place: Arc::clone(&self.places).acquire_owned().await.map_err(closed)?,
            _of_peer: memory(&self.of_peer).await.map_err(closed)?,
            _of_node: memory(&self.of_node).await.map_err(closed)?,
        })
    }
}

/// An answer to be written, and what is given back once it is.
struct Answered {
    id: u64,
    answer: Result<Bytes, Refusal>,
    _held: Held,
}

/// Held from before a request is read until its answer is written.
struct Held {
    _place: OwnedSemaphorePermit,
    _of_peer: OwnedSemaphorePermit,
    _of_node: OwnedSemaphorePermit,
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
            metadata: Arc::new(Semaphore::new(METADATA_KIB.node)),
            blocks: Arc::new(Semaphore::new(BLOCKS_KIB.node)),
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
            metadata: Grant::new(METADATA_MAX, &METADATA_KIB, &self.metadata),
            blocks: Grant::new(BLOCKS_MAX, &BLOCKS_KIB, &self.blocks),
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
            let held = desk.metadata.hold(head).await?;
            let body = within(STALL_WAIT, frame::read_body(&mut reader, head.length)).await?;
            desk.traffic.count_received(body.len());
            // Who waited longer for its turn than it wanted to wait for the answer is gone.
            if received.elapsed() > head.wait {
                continue;
            }
            let (service, desk, answers) = (Arc::clone(&self.service), Arc::clone(desk), answers.clone());
            self.tasks.spawn(async move {
                let answer = service.answer(desk.node, Class::Metadata, body).await;
                desk.traffic.count_sent(answer.as_ref().map_or(0, Bytes::len));
                let answered = Answered {
                    id: head.id,
                    answer,
                    _held: held,
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
            // Who trickles holds memory that others wait for; who asked has given up by then.
            let body = paced::read_body(&mut stream, head.length, way);
            let body = within(head.wait.min(BLOCK_WAIT_MAX), body).await?;
            let (service, node) = (Arc::clone(&self.service), desk.node);
            // In a task of its own, so that a lost connection does not drop it half-way.
            let answering = self
                .tasks
                .spawn(async move { (service.answer(node, Class::Block, body).await, Some(held)) });
            let failed = |_| (Err(Refusal("failed while answering".to_owned())), None);
            // The place is given back only when the answer is written, or answers could fill the memory.
            let (answer, _held) = answering.await.unwrap_or_else(failed);
            let (head, body) = message(head.id, answer);
            paced::write(&mut stream, head, &body, way).await?;
        }
        Ok(())
    }
}

/// Writes answers as they come, and flushes when none waits.
async fn write_answers(writer: WriteHalf<Stream>, mut answers: mpsc::Receiver<Answered>) -> io::Result<()> {
    let mut writer = BufWriter::with_capacity(BUFFER_BYTES, writer);
    while let Some(first) = answers.recv().await {
        let mut next = Some(first);
        while let Some(Answered { id, answer, _held }) = next {
            let (head, body) = message(id, answer);
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

async fn within<T>(wait: Duration, step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(wait, step)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
