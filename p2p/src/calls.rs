//! Asks peers about metadata: any number of calls at once on one long-lived stream per peer.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::io::{BufReader, BufWriter, ReadHalf, WriteHalf};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use libp2p::swarm::{ConnectionId, Stream};
use libp2p::{PeerId, StreamProtocol};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::frame::{self, Head, Kind};
use crate::locked::locked;
use crate::streams::Control;
use crate::traffic::Traffic;
use crate::{CallError, Class};

/// The protocol of metadata calls.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/warren/call/1");
/// Calls to one peer that wait to be written; more callers wait with them, until their deadlines.
const QUEUE_MAX: usize = 256;
/// Unanswered calls on one stream beyond which those whose callers left are forgotten.
const PENDING_TIDY: usize = 1024;
/// How long a peer may take nothing before its stream is given up.
const WRITE_WAIT: Duration = Duration::from_secs(20);
/// How long answers are awaited on a stream that calls no longer take.
const RETIRED_WAIT: Duration = Duration::from_secs(60);
const BUFFER_BYTES: usize = 64 << 10;

type Answer = oneshot::Sender<Result<Bytes, CallError>>;

struct Outgoing {
    request: Bytes,
    until: Instant,
    answer: Answer,
}

/// The calls of this node to all others.
pub(crate) struct Calls {
    control: Control,
    couriers: Mutex<HashMap<PeerId, mpsc::Sender<Outgoing>>>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Calls {
    pub(crate) fn new(control: Control, tasks: TaskTracker, stop: CancellationToken) -> Self {
        Self {
            control,
            couriers: Mutex::default(),
            tasks,
            stop,
        }
    }

    /// Asks once, over the connection that is best now. Who asks sets the deadline; `until` is what the peer is told.
    ///
    /// # Cancellation
    /// The peer may act on the request all the same.
    pub(crate) async fn ask(&self, to: PeerId, request: Bytes, until: Instant) -> Result<Bytes, CallError> {
        let courier = self.courier(to);
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing {
            request,
            until,
            answer,
        };
        // The courier is gone only when this node stops.
        courier
            .send(outgoing)
            .await
            .map_err(|_| CallError::NotConnected)?;
        answered.await.unwrap_or(Err(CallError::NoAnswer))
    }

    /// Ends the couriers to all others.
    pub(crate) fn keep_only(&self, peers: &HashSet<PeerId>) {
        locked(&self.couriers).retain(|peer, _| peers.contains(peer));
    }

    fn courier(&self, to: PeerId) -> mpsc::Sender<Outgoing> {
        let mut couriers = locked(&self.couriers);
        let start = || {
            let (sender, queue) = mpsc::channel(QUEUE_MAX);
            let courier = Courier {
                to,
                control: self.control.clone(),
                traffic: self.control.links().traffic(&to),
                line: None,
                next_id: 0,
                tasks: self.tasks.clone(),
                stop: self.stop.clone(),
            };
            let stop = self.stop.clone();
            self.tasks
                .spawn(async move { stop.run_until_cancelled(courier.carry(queue)).await });
            sender
        };
        couriers.entry(to).or_insert_with(start).clone()
    }
}

/// Writes the calls to one peer, one after another.
struct Courier {
    to: PeerId,
    control: Control,
    traffic: Arc<Traffic>,
    line: Option<Line>,
    next_id: u64,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Courier {
    async fn carry(mut self, mut queue: mpsc::Receiver<Outgoing>) {
        while let Some(first) = queue.recv().await {
            let Ok(mut line) = self.line().await else {
                drop(first.answer.send(Err(CallError::NotConnected)));
                continue;
            };
            let written = timeout(WRITE_WAIT, self.write(&mut line, first, &mut queue)).await;
            // A stream that failed half-way is worth nothing; dropping it resets it, and its calls have no answer.
            if matches!(written, Ok(Ok(()))) {
                self.line = Some(line);
            }
        }
    }

    /// The stream that calls take now: the last one as long as its connection is the best there is.
    async fn line(&mut self) -> io::Result<Line> {
        let best = self
            .control
            .choice(&self.to, Class::Metadata)
            .map(|chosen| chosen.id);
        if let Some(line) = self.line.take()
            && best == Some(line.connection)
            && !line.pending.is_closed()
        {
            return Ok(line);
        }
        let opened = self
            .control
            .open(&self.to, PROTOCOL, Class::Metadata, true)
            .await?;
        let (reader, writer) = opened.stream.split();
        let (pending, retired) = (Pending::default(), CancellationToken::new());
        let (traffic, answered, over) = (Arc::clone(&self.traffic), pending.clone(), retired.clone());
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let late = async {
                over.cancelled().await;
                tokio::time::sleep(RETIRED_WAIT).await;
            };
            tokio::select! {
                _ = read_answers(reader, &answered, &traffic) => {}
                () = late => {}
                () = stop.cancelled() => {}
            }
            answered.close();
        });
        Ok(Line {
            connection: opened.connection,
            writer: BufWriter::with_capacity(BUFFER_BYTES, writer),
            pending,
            retired,
        })
    }

    /// Writes a call and all that wait behind it, then flushes once.
    async fn write(
        &mut self,
        line: &mut Line,
        first: Outgoing,
        queue: &mut mpsc::Receiver<Outgoing>,
    ) -> io::Result<()> {
        let mut next = Some(first);
        while let Some(outgoing) = next {
            let wait = outgoing.until.saturating_duration_since(Instant::now());
            if !wait.is_zero() && !outgoing.answer.is_closed() {
                self.next_id += 1;
                line.pending.insert(self.next_id, outgoing.answer)?;
                self.traffic.count_sent(outgoing.request.len());
                let head = Head::request(self.next_id, wait, &outgoing.request);
                frame::write(&mut line.writer, head, &outgoing.request).await?;
            }
            next = queue.try_recv().ok();
        }
        line.writer.flush().await
    }
}

/// A stream for calls, and who waits for answers on it.
struct Line {
    connection: ConnectionId,
    writer: BufWriter<WriteHalf<Stream>>,
    pending: Pending,
    retired: CancellationToken,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.retired.cancel();
    }
}

/// Who waits for which answer; none once closed.
#[derive(Clone)]
struct Pending(Arc<Mutex<Option<HashMap<u64, Answer>>>>);

impl Default for Pending {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Some(HashMap::new()))))
    }
}

impl Pending {
    fn insert(&self, id: u64, answer: Answer) -> io::Result<()> {
        let mut waiting = locked(&self.0);
        let waiting = waiting.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        if waiting.len() >= PENDING_TIDY {
            waiting.retain(|_, answer| !answer.is_closed());
        }
        waiting.insert(id, answer);
        Ok(())
    }

    /// Who waits for this answer; none when the call was given up.
    fn take(&self, id: u64) -> Option<Answer> {
        locked(&self.0).as_mut()?.remove(&id)
    }

    /// Nobody waits any longer: dropping what would carry an answer says that none comes.
    fn close(&self) {
        locked(&self.0).take();
    }

    fn is_closed(&self) -> bool {
        locked(&self.0).is_none()
    }
}

/// Hands answers to who waits for them, until the stream ends or makes no sense.
async fn read_answers(reader: ReadHalf<Stream>, pending: &Pending, traffic: &Traffic) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, reader);
    while let Some(head) = frame::read_head(&mut reader).await? {
        let body = frame::read_body(&mut reader, head.length).await?;
        traffic.count_received(body.len());
        let answer = answer_of(head.kind, body).ok_or(io::ErrorKind::InvalidData)?;
        if let Some(waiting) = pending.take(head.id) {
            drop(waiting.send(answer));
        }
    }
    Ok(())
}

/// What a message means to who asked; none for what is no answer.
pub(crate) fn answer_of(kind: Kind, body: Bytes) -> Option<Result<Bytes, CallError>> {
    match kind {
        Kind::Answer => Some(Ok(body)),
        Kind::Refusal => Some(Err(CallError::Refused(
            String::from_utf8_lossy(&body).into_owned(),
        ))),
        Kind::Request => None,
    }
}
