//! A log: frames appended by many tasks, made durable together by one thread, readable all the while.
//!
//! One thread owns the end of the log. It takes whatever is queued, writes it, syncs once, lets the owner's index
//! learn of it ([`Apply`]), and only then answers. The steps themselves are plain functions of [`Owner`], so that a
//! simulation can drive a log without threads.

mod recovery;
mod segments;
#[cfg(any(test, feature = "simulation"))]
mod stepped;
mod window;
mod writer;

use std::mem;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

pub(crate) use recovery::{Bodies, Damage, ScanFrom, Scanned, open_log, read_segment};
pub(crate) use segments::{Segments, is_segment};
#[cfg(any(test, feature = "simulation"))]
use stepped::Stepped;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
pub(crate) use writer::{Frame, LogOptions, LogWriter, Placed};

use crate::disk::DiskError;
use crate::disk::drive::Drive;

/// Bytes that may wait in the queue, in units of [`QUEUE_UNIT`]; every frame counts as one unit at least.
const QUEUE_UNITS: u32 = 32 << 10;
const QUEUE_UNIT: u64 = 1 << 10;
/// After this long without an append the log says that its last frame is durable.
const MARK_AFTER: Duration = Duration::from_secs(1);

/// What an owner's index does with frames that are durable.
pub(crate) trait Apply: Send + 'static {
    /// What travels with a frame from its append to the index, so that the body need not be parsed again.
    type Note: Send + 'static;

    /// Learns of frames in the order of their LSNs; `last` is the log's last.
    /// Visible to readers when it returns; the appends are answered after it.
    ///
    /// # Errors
    /// The log stops, since index and log would disagree.
    fn apply(&mut self, frames: &mut Vec<(Placed, Self::Note)>, last: Placed) -> Result<(), DiskError>;

    /// Learns that a segment, in which nothing counts any more, is about to be removed; `last` is the log's last frame.
    ///
    /// # Errors
    /// As [`Apply::apply`].
    fn forget(&mut self, segment: u32, last: Placed) -> Result<(), DiskError>;

    /// Decides what to append now that everything queued earlier is applied and nothing else can come between: `None`
    /// appends nothing.
    ///
    /// # Errors
    /// The request is answered with it; the log goes on.
    fn decide(&mut self, request: Self::Note) -> Result<Option<(Frame, Self::Note)>, DiskError>;
}

/// A log that is served. Dropping it without [`Log::close`] leaves the end without a mark.
pub(crate) struct Log<A: Apply> {
    shared: Arc<Shared<A::Note>>,
    segments: Arc<Segments>,
    options: LogOptions,
    drive: Drive,
    server: Server<A>,
}

/// Who serves the queue of a log.
enum Server<A: Apply> {
    Thread(Mutex<Option<JoinHandle<A>>>),
    #[cfg(any(test, feature = "simulation"))]
    Stepped(Stepped<A>),
}

struct Shared<N> {
    queue: Mutex<Queue<N>>,
    wake: Condvar,
    #[cfg(any(test, feature = "simulation"))]
    wake_task: tokio::sync::Notify,
    room: Arc<Semaphore>,
}

struct Queue<N> {
    requests: Vec<Request<N>>,
    closing: bool,
    stopped: bool,
}

/// Room in a log's queue.
pub(crate) struct Room(#[allow(dead_code, reason = "dropping it gives the room back")] OwnedSemaphorePermit);

/// The answer to a queued frame, still to come.
pub(crate) struct Answered(oneshot::Receiver<Result<Option<Placed>, DiskError>>);

type Answer = oneshot::Sender<Result<Option<Placed>, DiskError>>;

/// What can be asked of a log's thread.
enum Request<N> {
    Append { frame: Frame, note: N, answer: Answer },
    Decide { note: N, answer: Answer },
    Forget { segment: u32, answer: Answer },
}

impl<A: Apply> Log<A> {
    /// Starts whoever serves the end of the log.
    ///
    /// # Errors
    /// The system gives no thread.
    pub(crate) fn start(writer: LogWriter, apply: A, drive: Drive) -> Result<Self, DiskError> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue {
                requests: Vec::new(),
                closing: false,
                stopped: false,
            }),
            wake: Condvar::new(),
            #[cfg(any(test, feature = "simulation"))]
            wake_task: tokio::sync::Notify::new(),
            room: Arc::new(Semaphore::new(QUEUE_UNITS as usize)),
        });
        let (segments, options) = (writer.segments().clone(), writer.options().clone());
        let owner = Owner { writer, apply };
        let server = match drive {
            Drive::Threads => Server::Thread(Mutex::new(Some(start_thread(&shared, owner, &options)?))),
            #[cfg(any(test, feature = "simulation"))]
            Drive::Simulated => Server::Stepped(Stepped::start(shared.clone(), owner)),
        };
        Ok(Self {
            shared,
            segments,
            options,
            drive,
            server,
        })
    }

    /// The segments, for reading.
    pub(crate) fn segments(&self) -> &Arc<Segments> {
        &self.segments
    }

    /// Whether a failure has stopped the log.
    pub(crate) fn has_stopped(&self) -> bool {
        self.shared.lock().stopped
    }

    /// Appends one frame: it is durable and applied when this returns.
    ///
    /// # Errors
    /// `Full`: nothing was appended. `Stopped`, `Io`, `Index`: the log has stopped and the outcome is unknown. `Closed`.
    ///
    /// # Cancellation
    /// Once queued the frame is written whether or not anyone waits.
    pub(crate) async fn append(&self, frame: Frame, note: A::Note) -> Result<Placed, DiskError> {
        let room = self.room(frame.frame_len()).await?;
        let answered = self.enqueue(frame, note)?;
        let placed = self.answered(answered).await;
        drop(room);
        placed
    }

    /// Waits for room in the queue for so many bytes; to be kept until what was queued is answered.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub(crate) async fn room(&self, bytes: u64) -> Result<Room, DiskError> {
        let units = u32::try_from(bytes.div_ceil(QUEUE_UNIT)).unwrap_or(QUEUE_UNITS);
        let room = self.shared.room.clone();
        let permit = room.acquire_many_owned(units.clamp(1, QUEUE_UNITS)).await;
        permit.map(Room).map_err(|_| self.refusal())
    }

    /// Queues one frame behind all that was queued before.
    ///
    /// # Errors
    /// `Stopped`, `Closed`.
    pub(crate) fn enqueue(&self, frame: Frame, note: A::Note) -> Result<Answered, DiskError> {
        let (answer, answered) = oneshot::channel();
        self.push(Request::Append { frame, note, answer })?;
        Ok(Answered(answered))
    }

    /// Waits for what was queued: it is durable and applied when this returns.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub(crate) async fn answered(&self, Answered(answered): Answered) -> Result<Placed, DiskError> {
        let answer = answered.await;
        self.drive.pause().await;
        match answer.map_err(|_| self.refusal())?? {
            Some(placed) => Ok(placed),
            None => Err(self.refusal()),
        }
    }

    /// Lets [`Apply::decide`] append a frame, or not, with nothing in between. Blocks the thread.
    ///
    /// # Errors
    /// As [`Log::append`], and what `decide` says.
    pub(crate) fn decide_blocking(&self, note: A::Note) -> Result<Option<Placed>, DiskError> {
        let (answer, answered) = oneshot::channel();
        self.push(Request::Decide { note, answer })?;
        self.wait(answered)
    }

    /// Removes a segment that nothing refers to any more. Blocks the thread.
    ///
    /// # Errors
    /// As [`Log::append`].
    pub(crate) fn forget_blocking(&self, segment: u32) -> Result<(), DiskError> {
        let (answer, answered) = oneshot::channel();
        self.push(Request::Forget { segment, answer })?;
        self.wait(answered).map(drop)
    }

    /// Writes what is queued, marks the end and ends whoever serves it; gives the index back, once. Blocks the thread.
    pub(crate) fn close(&self) -> Option<A> {
        self.shared.lock().closing = true;
        self.shared.room.close();
        self.shared.wake();
        match &self.server {
            Server::Thread(thread) => {
                let thread = thread.lock().unwrap_or_else(PoisonError::into_inner).take();
                thread.and_then(|thread| thread.join().ok())
            }
            #[cfg(any(test, feature = "simulation"))]
            Server::Stepped(stepped) => stepped.close(&self.shared),
        }
    }

    /// Waits for an answer. Blocks the thread.
    fn wait(
        &self,
        answered: oneshot::Receiver<Result<Option<Placed>, DiskError>>,
    ) -> Result<Option<Placed>, DiskError> {
        match &self.server {
            Server::Thread(_) => answered.blocking_recv().map_err(|_| self.refusal())?,
            #[cfg(any(test, feature = "simulation"))]
            Server::Stepped(stepped) => stepped
                .answer(&self.shared, answered)
                .ok_or_else(|| self.refusal())?,
        }
    }

    fn push(&self, request: Request<A::Note>) -> Result<(), DiskError> {
        let mut queue = self.shared.lock();
        if queue.closing || queue.stopped {
            drop(queue);
            return Err(self.refusal());
        }
        queue.requests.push(request);
        let first = queue.requests.len() == 1;
        drop(queue);
        if first {
            self.shared.wake();
        }
        Ok(())
    }

    fn refusal(&self) -> DiskError {
        match self.shared.lock().stopped {
            true => DiskError::Stopped {
                directory: self.options.directory.clone(),
            },
            false => DiskError::Closed,
        }
    }
}

fn start_thread<A: Apply>(
    shared: &Arc<Shared<A::Note>>,
    owner: Owner<A>,
    options: &LogOptions,
) -> Result<JoinHandle<A>, DiskError> {
    let queue = shared.clone();
    std::thread::Builder::new()
        .name(format!("{} log", options.name))
        .spawn(move || queue.serve(owner))
        .map_err(|source| DiskError::Io {
            directory: options.directory.clone(),
            action: "start log thread",
            source,
        })
}

impl<N: Send + 'static> Shared<N> {
    fn lock(&self) -> MutexGuard<'_, Queue<N>> {
        // Each change to the queue is one call; a panic elsewhere cannot leave it half done.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes whoever serves the queue.
    fn wake(&self) {
        self.wake.notify_one();
        #[cfg(any(test, feature = "simulation"))]
        self.wake_task.notify_one();
    }

    /// Serves the queue until the log closes or stops.
    fn serve<A: Apply<Note = N>>(&self, mut owner: Owner<A>) -> A {
        let mut requests = Vec::new();
        while self.take(&mut requests) {
            let served = match requests.is_empty() {
                true => owner.mark(),
                false => owner.serve(&mut requests),
            };
            if let Err(error) = served {
                tracing::error!(%error, log = owner.writer.options().name, "log stopped");
                return self.stop(owner);
            }
        }
        if let Err(error) = owner.mark() {
            tracing::error!(%error, log = owner.writer.options().name, "log closed without a mark");
        }
        owner.apply
    }

    /// Takes everything queued, or nothing after [`MARK_AFTER`]; false once the log is closing and the queue empty.
    fn take(&self, requests: &mut Vec<Request<N>>) -> bool {
        let mut queue = self.lock();
        if queue.requests.is_empty() && !queue.closing {
            let idle = |queue: &mut Queue<N>| queue.requests.is_empty() && !queue.closing;
            let waited = self.wake.wait_timeout_while(queue, MARK_AFTER, idle);
            queue = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        mem::swap(&mut queue.requests, requests);
        !(requests.is_empty() && queue.closing)
    }

    fn stop<A: Apply<Note = N>>(&self, owner: Owner<A>) -> A {
        let mut queue = self.lock();
        queue.stopped = true;
        // Dropping the requests answers them: their waiters find the log stopped.
        let refused = mem::take(&mut queue.requests);
        drop(queue);
        self.room.close();
        drop(refused);
        owner.apply
    }
}

/// The end of a log with its index: what the thread does, one step at a time.
pub(crate) struct Owner<A: Apply> {
    /// The end of the log.
    pub(crate) writer: LogWriter,
    /// The index.
    pub(crate) apply: A,
}

impl<A: Apply> Owner<A> {
    /// Commits frames, one sync per segment touched, and applies them. Frames that the log refused stay in
    /// `frames`.
    ///
    /// # Errors
    /// As [`LogWriter::commit`] and [`Apply::apply`].
    pub(crate) fn commit(
        &mut self,
        frames: &mut std::collections::VecDeque<(Frame, A::Note)>,
        mut committed: impl FnMut(Placed),
    ) -> Result<(), DiskError> {
        let mut placed = Vec::with_capacity(frames.len());
        while !frames.is_empty() {
            placed.clear();
            let count = self
                .writer
                .commit(frames.iter().map(|(frame, _)| frame), &mut placed)?;
            let notes = frames.drain(..count).map(|(_, note)| note);
            let mut applied = placed.iter().copied().zip(notes).collect();
            if let Some(last) = placed.last() {
                self.apply.apply(&mut applied, *last)?;
            }
            placed.iter().copied().for_each(&mut committed);
        }
        Ok(())
    }

    /// Commits what [`Apply::decide`] makes of a request.
    ///
    /// # Errors
    /// As [`Owner::commit`] and [`Apply::decide`].
    pub(crate) fn decide(&mut self, request: A::Note) -> Result<(), DiskError> {
        let decided = self.apply.decide(request)?;
        self.commit(&mut decided.into_iter().collect(), drop)
    }

    /// Says durably that everything so far is durable.
    ///
    /// # Errors
    /// As [`LogWriter::mark`]; a refusal is no error, the mark is written later.
    pub(crate) fn mark(&mut self) -> Result<(), DiskError> {
        match self.writer.mark() {
            Err(error) if error.is_refusal() => Ok(()),
            result => result,
        }
    }

    /// Removes a segment for good, once the log says so durably: a crash on the way is finished by the next start, and a
    /// segment that is missing without such a frame is known to be lost.
    ///
    /// # Errors
    /// As [`LogWriter::commit`] and [`Apply::apply`].
    pub(crate) fn forget(&mut self, segment: u32) -> Result<(), DiskError> {
        if let Some(placed) = self.writer.announce_removal(segment)? {
            // The index moves on first, so that it never stands at a frame that is gone.
            self.apply.forget(segment, placed)?;
            self.writer.remove(segment)?;
        }
        Ok(())
    }

    /// Accepts that segments are lost: no later scan finds them missing.
    ///
    /// # Errors
    /// As [`LogWriter::commit`].
    pub(crate) fn accept_missing(&mut self) -> Result<(), DiskError> {
        self.writer.accept_missing()
    }

    fn serve(&mut self, requests: &mut Vec<Request<A::Note>>) -> Result<(), DiskError> {
        let mut frames = std::collections::VecDeque::with_capacity(requests.len());
        let mut answers = std::collections::VecDeque::with_capacity(requests.len());
        for request in requests.drain(..) {
            match request {
                Request::Append { frame, note, answer } => {
                    frames.push_back((frame, note));
                    answers.push_back(answer);
                }
                Request::Decide { note, answer } => {
                    self.commit_answering(&mut frames, &mut answers)?;
                    match self.apply.decide(note) {
                        Ok(Some((frame, note))) => {
                            frames.push_back((frame, note));
                            answers.push_back(answer);
                        }
                        // A waiter that has gone away needs no answer, here and below.
                        Ok(None) => drop(answer.send(Ok(None))),
                        Err(error) => drop(answer.send(Err(error))),
                    }
                }
                Request::Forget { segment, answer } => {
                    self.commit_answering(&mut frames, &mut answers)?;
                    let forgotten = self.forget(segment);
                    let failed = forgotten.as_ref().is_err_and(|error| !error.is_refusal());
                    drop(answer.send(forgotten.map(|()| None)));
                    if failed {
                        return Err(self.stopped());
                    }
                }
            }
        }
        self.commit_answering(&mut frames, &mut answers)
    }

    fn commit_answering(
        &mut self,
        frames: &mut std::collections::VecDeque<(Frame, A::Note)>,
        answers: &mut std::collections::VecDeque<Answer>,
    ) -> Result<(), DiskError> {
        let committed = self.commit(frames, |placed| {
            if let Some(answer) = answers.pop_front() {
                drop(answer.send(Ok(Some(placed))));
            }
        });
        let Err(error) = committed else {
            return Ok(());
        };
        let goes_on = error.is_refusal();
        if goes_on {
            frames.clear();
        }
        // The first waiter learns why; the others, and all from now on, that the log has stopped, if it has.
        let first = answers.pop_front();
        for answer in answers.drain(..) {
            drop(answer.send(Err(error.refusal().unwrap_or_else(|| self.stopped()))));
        }
        if let Some(first) = first {
            drop(first.send(Err(error)));
        }
        if goes_on { Ok(()) } else { Err(self.stopped()) }
    }

    fn stopped(&self) -> DiskError {
        DiskError::Stopped {
            directory: self.writer.options().directory.clone(),
        }
    }
}
