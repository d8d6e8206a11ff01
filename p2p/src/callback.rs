//! How a member that nobody can reach lets in a box that can be reached: it calls the box back.
//!
//! The box waits with its invite where the internet reaches it; the member is told by its own owner where that is, connects,
//! and opens a stream of the protocol `/warren/callback/1`. It sends two bytes of length (big-endian) and the CBOR array
//! `[version = 1, [tag, …]]` of an integer and at most [`TAGS_MAX`] strings of 32 bytes, one for each invite that is
//! outstanding. The box answers with the byte 1 where one of them is for its invite, and with nothing else. Then it joins over
//! this connection as it would over one that it opened itself ([`join`](crate::join)): who lets whom in, how often, and until
//! when is decided there.
//!
//! A tag is the BLAKE3 hash of the public keys of the member and of the box, keyed by a key that is derived from the invite's
//! public key, which only the mesh and whoever holds the invite know. So whoever listens where the owner said learns nothing
//! of the mesh, not even from one that calls; and a box that waits says nothing to others that call, which are many on the
//! internet: neither what it is called nor which invite it has. A tag is of no use to anybody else, whose key is another.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, StreamExt};
use libp2p::swarm::ConnectionId;
use libp2p::{PeerId, StreamProtocol};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteArray;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use crate::event_loop::looked_up;
use crate::heard::Heard;
use crate::join::{self, Applicant, Failure};
use crate::links::Links;
use crate::locked::locked;
use crate::streams::Incoming;
use crate::{Address, Class, Invite, InviteId, JoinError, Node, NodeId, Welcome, notice};

/// The protocol of calling back; offered only by a box that waits to be called.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/warren/callback/1");
const VERSION: u8 = 1;
/// Invites that one call can be about.
pub const TAGS_MAX: usize = 16;
/// The longest message, in bytes: the tags, two bytes before each, and a few around them.
const MESSAGE_BYTES_MAX: usize = TAGS_MAX * (32 + 2) + 8;
/// Derives the key of tags from the invite's public key, and nothing else.
const KEY_CONTEXT: &str = "warren 2026 callback 1";
/// What the box answers where it is the one that was meant.
const MEANT: u8 = 1;
/// How long the message, or its answer, may take.
const WAIT: Duration = Duration::from_secs(5);
/// Callers asked at once whether they let this box in; more wait for their turn.
const ASKED_MAX: usize = 4;

#[derive(Serialize, Deserialize)]
struct Message(u8, Vec<ByteArray<32>>);

/// What shows, to whoever knows the invite, that the caller knows it too.
fn tag(invite: &InviteId, caller: &NodeId, called: &NodeId) -> blake3::Hash {
    let key = blake3::derive_key(KEY_CONTEXT, invite.as_bytes());
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(caller.as_bytes());
    hasher.update(called.as_bytes());
    hasher.finalize()
}

/// The message with its length before it, about the first of so many invites.
fn write(invites: &[InviteId], caller: &NodeId, called: &NodeId) -> Option<Vec<u8>> {
    let tags = invites.iter().take(TAGS_MAX);
    let tags = tags.map(|invite| ByteArray::new(*tag(invite, caller, called).as_bytes()));
    notice::framed(&Message(VERSION, tags.collect()))
}

/// Whether a message is about this invite, and from a caller that knows it.
fn is_about(bytes: &[u8], invite: &InviteId, caller: &NodeId, called: &NodeId) -> bool {
    let mut rest = bytes;
    let Ok(Message(version, tags)) = ciborium::from_reader(&mut rest) else {
        return false;
    };
    let expected = tag(invite, caller, called);
    // Compares in constant time.
    version == VERSION
        && rest.is_empty()
        && tags.len() <= TAGS_MAX
        && tags.iter().any(|tag| expected == blake3::Hash::from(**tag))
}

/// Reads any bytes as a message, as fuzzing does.
#[cfg(any(test, feature = "hostile"))]
pub(crate) fn read_hostile(bytes: &[u8], invite: &InviteId, node: &NodeId) {
    assert!(!is_about(bytes, invite, node, node), "nobody knew the invite");
}

/// Why a box was not called back, each saying what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallBackError {
    /// Nothing lets anybody in.
    #[error("no invite is open; make one first: warren invite")]
    NoInvite,
    /// Nobody answers there.
    #[error("nobody answers there; is the box on and waiting (warren join), and its port open?")]
    NobodyAnswers,
    /// Whoever answers waits for nothing, or for another mesh.
    #[error("who answers there waits for no invite of this mesh; run `warren join` with the invite there")]
    NotWaiting,
    /// It is in already.
    #[error("a member answers there already")]
    Member,
}

/// Somebody who called, and knows the invite.
struct Caller {
    peer: PeerId,
    connection: ConnectionId,
}

/// An invite that is waited with, and where callers go that know it.
struct Awaited {
    invite: InviteId,
    callers: mpsc::Sender<Caller>,
}

/// The side that waits to be called.
pub(crate) struct Callbacks {
    own: NodeId,
    links: Links,
    tasks: TaskTracker,
    awaited: Mutex<Option<Awaited>>,
}

impl Callbacks {
    pub(crate) fn new(own: NodeId, links: Links, tasks: TaskTracker) -> Self {
        Self {
            own,
            links,
            tasks,
            awaited: Mutex::default(),
        }
    }

    /// Forgets the connections that are gone.
    pub(crate) fn forget_gone(&self) {
        self.links.forget_except(|_| false);
    }

    /// Hears whoever calls, a few at once, until stopped.
    pub(crate) async fn hear(
        self: Arc<Self>,
        mut incoming: mpsc::Receiver<Incoming>,
        stop: CancellationToken,
    ) {
        let heard = Heard::default();
        while let Some(Some(mut stranger)) = stop.run_until_cancelled(incoming.recv()).await {
            let (Some(turn), Some(caller)) = (heard.turn(stranger.peer), NodeId::of_peer(&stranger.peer))
            else {
                continue;
            };
            let (callbacks, stop) = (Arc::clone(&self), stop.clone());
            self.tasks.spawn(async move {
                let answering = timeout(WAIT, callbacks.answer(&mut stranger.stream, &caller));
                if let Some(Ok(Ok(()))) = stop.run_until_cancelled(answering).await {
                    callbacks.note(Caller {
                        peer: stranger.peer,
                        connection: stranger.connection,
                    });
                }
                drop((turn, stranger.place));
            });
        }
    }

    /// Answers one that knows the invite; all others hear nothing.
    async fn answer<S>(&self, stream: &mut S, caller: &NodeId) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let message = notice::receive(stream, MESSAGE_BYTES_MAX).await?;
        let invite = locked(&self.awaited).as_ref().map(|awaited| awaited.invite);
        if !invite.is_some_and(|invite| is_about(&message, &invite, caller, &self.own)) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        stream.write_all(&[MEANT]).await?;
        stream.close().await
    }

    fn note(&self, caller: Caller) {
        if let Some(awaited) = locked(&self.awaited).as_ref() {
            // With so many that know the invite, one more makes no difference.
            drop(awaited.callers.try_send(caller));
        }
    }

    /// Waits with an invite from now on, until what this gives is dropped.
    fn await_with(self: &Arc<Self>, invite: InviteId) -> Waiting {
        let (sender, callers) = mpsc::channel(ASKED_MAX);
        *locked(&self.awaited) = Some(Awaited {
            invite,
            callers: sender,
        });
        Waiting {
            callbacks: Arc::clone(self),
            callers,
        }
    }
}

/// Keeps a box waiting to be called.
struct Waiting {
    callbacks: Arc<Callbacks>,
    callers: mpsc::Receiver<Caller>,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        locked(&self.callbacks.awaited).take();
    }
}

impl Node {
    /// Waits at most so long until a member calls that lets this box in. Only the protocol of calling back is offered to
    /// whoever connects meanwhile. Afterwards the owner names the members with [`Node::set_members`].
    ///
    /// # Errors
    /// Nobody of the mesh calls in that time, or the invite is refused.
    ///
    /// # Cancellation
    /// As [`Node::join`].
    pub async fn await_callback(
        &self,
        invite: &Invite,
        applicant: &Applicant,
        wait: Duration,
    ) -> Result<Welcome, JoinError> {
        if invite.mesh() != self.mesh() {
            return Err(JoinError::OtherMesh);
        }
        let until = Instant::now() + wait;
        let mut waiting = self.inner.callbacks.await_with(invite.id());
        let _open = self.inner.admissions.await_callback();
        let mut asked = FuturesUnordered::new();
        let mut worst = JoinError::NobodyCalled;
        loop {
            tokio::select! {
                () = sleep_until(until) => return Err(worst),
                Some(caller) = waiting.callers.recv(), if asked.len() < ASKED_MAX => {
                    asked.push(self.ask_caller(caller, invite, applicant));
                }
                Some(answer) = asked.next(), if !asked.is_empty() => match answer {
                    Ok(welcome) => return Ok(welcome),
                    Err(Failure::Refused) => return Err(JoinError::Refused),
                    // Others may still call that are of the mesh.
                    Err(Failure::Impostor) => worst = JoinError::Impostor,
                    Err(error) => debug!(%error, "asked in vain"),
                },
            }
        }
    }

    async fn ask_caller(
        &self,
        caller: Caller,
        invite: &Invite,
        applicant: &Applicant,
    ) -> Result<Welcome, Failure> {
        let responder = NodeId::of_peer(&caller.peer).ok_or(Failure::Impostor)?;
        let guests = &self.inner.guests;
        let opened = guests.open_on(&caller.peer, caller.connection, join::PROTOCOL);
        let mut opened = opened.await?;
        join::ask(&mut opened.stream, invite, self.id(), responder, applicant).await
    }

    /// Calls a box that waits with one of these invites, the most important first, of which the first [`TAGS_MAX`] count. It
    /// then asks to be let in, as any stranger does. Says who it is.
    ///
    /// # Errors
    /// No invite is open, or nobody waits there; says what to do.
    ///
    /// # Cancellation
    /// The box may ask to be let in all the same.
    pub async fn call_back(&self, at: &Address, invites: &[InviteId]) -> Result<NodeId, CallBackError> {
        if invites.is_empty() || !self.inner.admissions.expects_guests() {
            return Err(CallBackError::NoInvite);
        }
        let addresses = looked_up(at).await;
        let doors = addresses.iter().flat_map(Address::dialled);
        let mut opening: FuturesUnordered<_> = doors.map(|door| self.visit(door)).collect();
        let mut why = CallBackError::NobodyAnswers;
        while let Some(opened) = opening.next().await {
            let Some(called) = opened.as_ref().and_then(NodeId::of_peer) else {
                continue;
            };
            if called == self.id() || self.is_member(&called) {
                return Err(CallBackError::Member);
            }
            match timeout(WAIT, self.say(&called, invites)).await {
                Ok(Ok(())) => return Ok(called),
                Ok(Err(error)) => debug!(%called, %error, "called in vain"),
                Err(_) => debug!(%called, "called in vain: no answer in time"),
            }
            why = CallBackError::NotWaiting;
        }
        Err(why)
    }

    async fn say(&self, called: &NodeId, invites: &[InviteId]) -> io::Result<()> {
        let message = write(invites, &self.id(), called).ok_or(io::ErrorKind::InvalidData)?;
        let (guests, peer) = (&self.inner.guests, called.peer());
        let opened = guests.open(&peer, PROTOCOL, Class::Metadata, true);
        let mut stream = opened.await?.stream;
        stream.write_all(&message).await?;
        stream.flush().await?;
        let mut answer = [0];
        stream.read_exact(&mut answer).await?;
        if answer != [MEANT] {
            return Err(io::ErrorKind::InvalidData.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node(seed: u8) -> NodeId {
        NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).verifying_key())
    }

    fn invite(seed: u8) -> InviteId {
        InviteId::from_bytes([seed; 32])
    }

    fn said() -> Vec<u8> {
        write(&[invite(1), invite(2)], &node(3), &node(4)).unwrap()
    }

    #[test]
    fn the_first_format_stays_readable() {
        let bytes = include_bytes!("../fixtures/callback-1");
        assert_eq!(said(), bytes);
        assert!(is_about(&bytes[2..], &invite(2), &node(3), &node(4)));
    }

    #[test]
    fn a_call_is_about_its_invites_between_these_two_and_about_nothing_else() {
        let said = said().split_off(2);
        assert!(is_about(&said, &invite(1), &node(3), &node(4)));
        for (about, caller, called) in [(5, 3, 4), (1, 9, 4), (1, 3, 9), (1, 4, 3)] {
            assert!(!is_about(&said, &invite(about), &node(caller), &node(called)));
        }
    }

    #[test]
    fn a_call_fits_however_many_invites_are_open() {
        let many: Vec<_> = (0..40).map(invite).collect();
        let said = write(&many, &node(3), &node(4)).unwrap();
        assert!(said.len() - 2 <= MESSAGE_BYTES_MAX);
        assert!(is_about(&said[2..], &invite(0), &node(3), &node(4)));
        assert!(!is_about(&said[2..], &invite(39), &node(3), &node(4)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_about_nothing(bytes: Vec<u8>) {
            read_hostile(&bytes, &invite(1), &node(3));
        }
    }
}
