//! What libp2p does with nothing around it: the limit that the mesh is compared with.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use futures_util::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::swarm::{NetworkBehaviour, SwarmEvent};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol, Swarm, SwarmBuilder, noise, request_response, tcp, tls, yamux,
};
use serde_bytes::ByteBuf;
use tokio::task::JoinSet;

use super::{BLOCK_BYTES, CALL_BYTES, CALLS_AT_ONCE, STREAMS};

const BULK: StreamProtocol = StreamProtocol::new("/bench/bulk");
const CALLS: StreamProtocol = StreamProtocol::new("/bench/calls");
const CONNECT_WAIT: Duration = Duration::from_secs(10);
/// What is written and read at once.
const PIECE_BYTES: usize = 256 << 10;

/// The transports compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transport {
    Noise,
    Tls,
    Quic,
}

impl Transport {
    pub(super) const ALL: [Self; 3] = [Self::Noise, Self::Tls, Self::Quic];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Noise => "TCP + noise",
            Self::Tls => "TCP + TLS",
            Self::Quic => "QUIC",
        }
    }

    fn address(self) -> Multiaddr {
        let text = if self == Self::Quic {
            "/ip4/127.0.0.1/udp/0/quic-v1"
        } else {
            "/ip4/127.0.0.1/tcp/0"
        };
        text.parse().unwrap_or_else(|_| Multiaddr::empty())
    }
}

#[derive(NetworkBehaviour)]
struct Behaviour {
    bulk: libp2p_stream::Behaviour,
    calls: request_response::cbor::Behaviour<ByteBuf, ByteBuf>,
}

fn swarm(transport: Transport) -> Result<Swarm<Behaviour>> {
    let tcp = tcp::Config::default().nodelay(true);
    let builder = SwarmBuilder::with_new_identity().with_tokio();
    let behaviour = || Behaviour {
        bulk: libp2p_stream::Behaviour::new(),
        calls: request_response::cbor::Behaviour::new(
            [(CALLS, request_response::ProtocolSupport::Full)],
            request_response::Config::default(),
        ),
    };
    let swarm = match transport {
        Transport::Tls => builder
            .with_tcp(tcp, tls::Config::new, yamux::Config::default)?
            .with_quic()
            .with_behaviour(|_| behaviour())?
            .build(),
        Transport::Noise | Transport::Quic => builder
            .with_tcp(tcp, noise::Config::new, yamux::Config::default)?
            .with_quic()
            .with_behaviour(|_| behaviour())?
            .build(),
    };
    Ok(swarm)
}

/// Two connected swarms.
async fn pair(transport: Transport) -> Result<(Swarm<Behaviour>, Swarm<Behaviour>)> {
    let (mut near, mut far) = (swarm(transport)?, swarm(transport)?);
    far.listen_on(transport.address())?;
    let connecting = async {
        let address = loop {
            if let SwarmEvent::NewListenAddr { address, .. } = far.select_next_some().await {
                break address;
            }
        };
        near.dial(address)?;
        loop {
            tokio::select! {
                event = near.select_next_some() => {
                    if matches!(event, SwarmEvent::ConnectionEstablished { .. }) {
                        return anyhow::Ok(());
                    }
                }
                _ = far.select_next_some() => {}
            }
        }
    };
    tokio::time::timeout(CONNECT_WAIT, connecting)
        .await
        .context("connect bare swarms")??;
    Ok((near, far))
}

/// Bytes per second that a few streams carry.
pub(super) async fn bulk(transport: Transport, turn: Duration) -> Result<f64> {
    let (near, far) = pair(transport).await?;
    let to = *far.local_peer_id();
    let mut control = near.behaviour().bulk.new_control();
    let mut incoming = far.behaviour().bulk.new_control().accept(BULK)?;
    let received = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    tasks.spawn(turn_over(near));
    tasks.spawn(turn_over(far));
    let counted = Arc::clone(&received);
    tasks.spawn(async move {
        let mut readers = JoinSet::new();
        while let Some((_, mut stream)) = incoming.next().await {
            let counted = Arc::clone(&counted);
            readers.spawn(async move {
                let mut buffer = vec![0; PIECE_BYTES];
                while let Ok(read @ 1..) = stream.read(&mut buffer).await {
                    counted.fetch_add(read as u64, Ordering::Relaxed);
                }
            });
        }
    });
    for _ in 0..STREAMS {
        let mut stream = control.open_stream(to, BULK).await?;
        tasks.spawn(async move {
            let block = vec![7; BLOCK_BYTES];
            loop {
                for piece in block.chunks(PIECE_BYTES) {
                    if stream.write_all(piece).await.is_err() {
                        return;
                    }
                }
            }
        });
    }
    let rate = super::rate_of(&received, turn).await;
    tasks.shutdown().await;
    Ok(rate)
}

async fn turn_over(mut swarm: Swarm<Behaviour>) {
    loop {
        swarm.select_next_some().await;
    }
}

/// Calls per second with many at once.
pub(super) async fn calls(transport: Transport, turn: Duration) -> Result<f64> {
    let (near, far) = pair(transport).await?;
    let to = *far.local_peer_id();
    let stop = Arc::new(AtomicBool::new(false));
    let answering = tokio::spawn(answer(far));
    let asking = tokio::spawn(ask(near, to, Arc::clone(&stop)));
    tokio::time::sleep(turn).await;
    stop.store(true, Ordering::Relaxed);
    let rate = asking.await??;
    answering.abort();
    Ok(rate)
}

async fn answer(mut swarm: Swarm<Behaviour>) {
    loop {
        if let SwarmEvent::Behaviour(BehaviourEvent::Calls(request_response::Event::Message {
            message: request_response::Message::Request { request, channel, .. },
            ..
        })) = swarm.select_next_some().await
        {
            // Who asked may have gone.
            let _ = swarm.behaviour_mut().calls.send_response(channel, request);
        }
    }
}

async fn ask(mut swarm: Swarm<Behaviour>, to: PeerId, stop: Arc<AtomicBool>) -> Result<f64> {
    let request = ByteBuf::from(vec![7; CALL_BYTES]);
    for _ in 0..CALLS_AT_ONCE {
        swarm.behaviour_mut().calls.send_request(&to, request.clone());
    }
    let (start, mut answered) = (Instant::now(), 0_u32);
    while !stop.load(Ordering::Relaxed) {
        if let SwarmEvent::Behaviour(BehaviourEvent::Calls(event)) = swarm.select_next_some().await {
            match event {
                request_response::Event::Message { .. } => answered += 1,
                request_response::Event::OutboundFailure { error, .. } => bail!("bare call failed: {error}"),
                _ => continue,
            }
            swarm.behaviour_mut().calls.send_request(&to, request.clone());
        }
    }
    Ok(f64::from(answered) / start.elapsed().as_secs_f64())
}
