//! How a stranger becomes a member: it proves that it holds an invite, and is shown that it reached the mesh it wanted.
//!
//! On a stream of the protocol `/warren/join/1`, four messages, each two bytes of length (big-endian) and CBOR:
//!
//! 1. joiner: `[1, invite]`, the version and the 32 bytes of the invite's public key;
//! 2. responder: the nonce, a string of 32 random bytes, whether it knows the invite or not;
//! 3. joiner: `[proof, zone, name, greeting]`; the proof is an ed25519 signature by the invite key over `warren join 1`, the
//!    public key that signs for the mesh, the joiner's, the responder's, and the nonce; the greeting is bytes for the responder's owner;
//! 4. responder: `[own, yours, gift]`, its certificate, the joiner's, and bytes for the joiner's owner; or `[]`: refused.
//!
//! The invite's secret never travels. A proof names both ends of a connection that proved their keys, so that whoever
//! stands in the middle can use it nowhere; and it would have to show a certificate of the mesh. Who is refused learns
//! nothing else, not even which mesh it knocked at.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::StreamProtocol;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_bytes::{ByteArray, ByteBuf};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info};

use crate::certificate::is_name;
use crate::gate::Admissions;
use crate::heard::Heard;
use crate::invite::Occasion;
use crate::streams::Incoming;
use crate::{Certificate, Invite, InviteId, NodeId};

/// The protocol of joining, the only one that strangers can speak.
pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/warren/join/1");
const VERSION: u8 = 1;
/// The longest greeting, in bytes.
pub const GREETING_BYTES_MAX: usize = 4 << 10;
/// The longest gift, in bytes.
pub const GIFT_BYTES_MAX: usize = 48 << 10;
/// How long one message may take.
const MESSAGE_WAIT: Duration = Duration::from_secs(10);
/// How long the mesh may take to decide.
const DECISION_WAIT: Duration = Duration::from_secs(30);

#[derive(Serialize, Deserialize)]
struct Hello(u8, ByteArray<32>);
#[derive(Serialize, Deserialize)]
struct Challenge(ByteArray<32>);
#[derive(Serialize, Deserialize)]
struct Plea(ByteArray<64>, String, String, ByteBuf);
#[derive(Serialize, Deserialize)]
struct Verdict(Vec<ByteBuf>);

/// Somebody who proved to hold an invite, and asks to be let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Application {
    /// Which invite.
    pub invite: InviteId,
    /// Who asks; it has proved its key.
    pub node: NodeId,
    /// The site it wants to be in.
    pub zone: String,
    /// What it wants to be called.
    pub name: String,
    /// What its owner says, opaque here.
    pub greeting: Bytes,
}

/// What makes a stranger a member. Its `Debug` leaves out the gift, which holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Welcome {
    /// The certificate of the node that answers.
    pub own: Certificate,
    /// The certificate of the new member.
    pub yours: Certificate,
    /// What its owner needs to begin, opaque here; at most [`GIFT_BYTES_MAX`]. Only the new member can read it.
    pub gift: Bytes,
}

impl fmt::Debug for Welcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Welcome")
            .field("own", &self.own)
            .field("yours", &self.yours)
            .finish_non_exhaustive()
    }
}

/// The invite is unknown, used by another, expired or revoked, or this node cannot decide. The joiner is not told which.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not welcome")]
pub struct NotWelcome;

/// Decides who is let in.
pub trait Host: Send + Sync + 'static {
    /// Redeems an invite: exactly one node ever succeeds with one invite, whichever members are asked. The same node asking
    /// again (the first answer may have been lost) gets the same welcome.
    fn redeem(&self, application: Application) -> BoxFuture<'static, Result<Welcome, NotWelcome>>;
}

/// Why a message of the other side ends the conversation.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("a message that makes no sense")]
    Malformed,
    #[error("refused")]
    Refused,
    #[error("it is not of the mesh that the invite is for")]
    Impostor,
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
}

/// The answering side.
pub(crate) struct Hall {
    pub(crate) host: Arc<dyn Host>,
    pub(crate) admissions: Admissions,
    pub(crate) own: NodeId,
    pub(crate) tasks: TaskTracker,
    pub(crate) stop: CancellationToken,
}

impl Hall {
    /// Hears strangers, a few at once, until stopped. A redemption under way is finished, not dropped.
    pub(crate) async fn hear(self: Arc<Self>, mut incoming: mpsc::Receiver<Incoming>) {
        let heard = Heard::default();
        let stop = self.stop.clone();
        while let Some(Some(mut stranger)) = stop.run_until_cancelled(incoming.recv()).await {
            // Beyond that the stream is reset; who is honest tries again.
            let Some(turn) = heard.turn(stranger.peer) else {
                continue;
            };
            let hall = Arc::clone(&self);
            self.tasks.spawn(async move {
                let Some(joiner) = NodeId::of_peer(&stranger.peer) else {
                    return;
                };
                match hall.answer(&mut stranger.stream, joiner).await {
                    Ok(name) => info!(%joiner, name, "node joined"),
                    Err(error) => debug!(%joiner, %error, "did not join"),
                }
                drop((turn, stranger.place));
            });
        }
    }

    async fn answer<S>(&self, stream: &mut S, joiner: NodeId) -> Result<String, Failure>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Hello(version, invite) = receive(stream, MESSAGE_WAIT).await?;
        let mut nonce = [0; 32];
        getrandom::fill(&mut nonce).map_err(Failure::Random)?;
        send(stream, &Challenge(ByteArray::new(nonce))).await?;
        let Plea(proof, zone, name, greeting) = receive(stream, MESSAGE_WAIT).await?;
        let occasion = self.admissions.signer().map(|mesh| Occasion {
            mesh,
            joiner,
            responder: self.own,
            nonce,
        });
        let invite = InviteId::from_bytes(*invite);
        let sound = version == VERSION
            && is_name(&zone)
            && is_name(&name)
            && greeting.len() <= GREETING_BYTES_MAX
            && occasion.is_some_and(|occasion| invite.proves(&occasion, &proof));
        let application = Application {
            invite,
            node: joiner,
            zone,
            name: name.clone(),
            greeting: Bytes::from(greeting.into_vec()),
        };
        let welcome = if sound {
            timeout(DECISION_WAIT, self.redeemed(application))
                .await
                .ok()
                .flatten()
        } else {
            None
        };
        let Some(welcome) = welcome else {
            send(stream, &Verdict(Vec::new())).await?;
            return Err(Failure::Refused);
        };
        let parts = [welcome.own.bytes(), welcome.yours.bytes(), &welcome.gift];
        send(
            stream,
            &Verdict(parts.map(|part| ByteBuf::from(part.to_vec())).into()),
        )
        .await?;
        Ok(name)
    }

    /// In a task of its own: a joiner that hangs up must not stop the mesh half-way.
    async fn redeemed(&self, application: Application) -> Option<Welcome> {
        let host = Arc::clone(&self.host);
        let deciding = self.tasks.spawn(async move { host.redeem(application).await });
        let welcome = deciding.await.ok()?.ok()?;
        (welcome.gift.len() <= GIFT_BYTES_MAX).then_some(welcome)
    }
}

/// What a joiner says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applicant {
    /// The site it wants to be in.
    pub zone: String,
    /// What it wants to be called.
    pub name: String,
    /// What its owner says, opaque here; at most [`GREETING_BYTES_MAX`].
    pub greeting: Bytes,
}

/// The joining side: asks `responder`, whose key the connection has proved.
pub(crate) async fn ask<S>(
    stream: &mut S,
    invite: &Invite,
    own: NodeId,
    responder: NodeId,
    applicant: &Applicant,
) -> Result<Welcome, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    send(stream, &Hello(VERSION, ByteArray::new(*invite.id().as_bytes()))).await?;
    let Challenge(nonce) = receive(stream, MESSAGE_WAIT).await?;
    let proof = invite.prove(&Occasion {
        mesh: invite.mesh(),
        joiner: own,
        responder,
        nonce: *nonce,
    });
    let plea = Plea(
        ByteArray::new(proof),
        applicant.zone.clone(),
        applicant.name.clone(),
        ByteBuf::from(applicant.greeting.to_vec()),
    );
    send(stream, &plea).await?;
    let Verdict(parts) = receive(stream, DECISION_WAIT + MESSAGE_WAIT).await?;
    let [theirs, yours, gift] = <[ByteBuf; 3]>::try_from(parts).map_err(|_| Failure::Refused)?;
    let verified = |bytes: &[u8], node: NodeId| {
        let certificate = Certificate::verify(bytes, &invite.mesh()).map_err(|_| Failure::Impostor)?;
        (certificate.claims().node == node)
            .then_some(certificate)
            .ok_or(Failure::Impostor)
    };
    Ok(Welcome {
        own: verified(&theirs, responder)?,
        yours: verified(&yours, own)?,
        gift: Bytes::from(gift.into_vec()),
    })
}

async fn send<W: AsyncWrite + Unpin, T: Serialize>(stream: &mut W, message: &T) -> Result<(), Failure> {
    let mut bytes = vec![0; 2];
    ciborium::into_writer(message, &mut bytes).map_err(|_| Failure::Malformed)?;
    let length = u16::try_from(bytes.len() - 2).map_err(|_| Failure::Malformed)?;
    if let Some(first) = bytes.first_chunk_mut::<2>() {
        *first = length.to_be_bytes();
    }
    let sending = async {
        stream.write_all(&bytes).await?;
        stream.flush().await
    };
    timeout(MESSAGE_WAIT, sending)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    Ok(())
}

async fn receive<R: AsyncRead + Unpin, T: DeserializeOwned>(
    stream: &mut R,
    wait: Duration,
) -> Result<T, Failure> {
    timeout(wait, read_message(stream))
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

async fn read_message<R: AsyncRead + Unpin, T: DeserializeOwned>(stream: &mut R) -> Result<T, Failure> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).await?;
    let mut bytes = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut bytes).await?;
    let mut rest = bytes.as_slice();
    let message = ciborium::from_reader(&mut rest).map_err(|_| Failure::Malformed)?;
    if rest.is_empty() {
        Ok(message)
    } else {
        Err(Failure::Malformed)
    }
}

/// Reads any bytes as each of the messages, one after another, as fuzzing does.
#[cfg(any(test, feature = "hostile"))]
pub(crate) async fn read_hostile(bytes: &[u8]) {
    drop(read_message::<_, Hello>(&mut &*bytes).await);
    drop(read_message::<_, Challenge>(&mut &*bytes).await);
    drop(read_message::<_, Plea>(&mut &*bytes).await);
    drop(read_message::<_, Verdict>(&mut &*bytes).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build();
        runtime.unwrap().block_on(future)
    }

    /// The four messages of one conversation, one after another.
    async fn conversation() -> Vec<u8> {
        let mut bytes = Vec::new();
        let part = |byte| ByteBuf::from(vec![byte; 3]);
        send(&mut bytes, &Hello(VERSION, ByteArray::new([1; 32])))
            .await
            .unwrap();
        send(&mut bytes, &Challenge(ByteArray::new([2; 32])))
            .await
            .unwrap();
        let plea = Plea(
            ByteArray::new([3; 64]),
            "Ben's flat".into(),
            "ben".into(),
            part(4),
        );
        send(&mut bytes, &plea).await.unwrap();
        let verdict = Verdict(vec![part(5), part(6), part(7)]);
        send(&mut bytes, &verdict).await.unwrap();
        bytes
    }

    #[test]
    fn the_first_format_stays_readable() {
        let fixture = include_bytes!("../fixtures/join-1");
        assert_eq!(now(conversation()), fixture);
        let mut rest = &fixture[..];
        now(async {
            let Hello(version, invite) = receive(&mut rest, MESSAGE_WAIT).await.unwrap();
            assert_eq!((version, *invite), (1, [1; 32]));
            let Challenge(nonce) = receive(&mut rest, MESSAGE_WAIT).await.unwrap();
            assert_eq!(*nonce, [2; 32]);
            let Plea(_, zone, name, _) = receive(&mut rest, MESSAGE_WAIT).await.unwrap();
            assert_eq!((zone.as_str(), name.as_str()), ("Ben's flat", "ben"));
            let Verdict(parts) = receive(&mut rest, MESSAGE_WAIT).await.unwrap();
            assert_eq!(parts.len(), 3);
        });
        assert!(rest.is_empty());
    }
}
