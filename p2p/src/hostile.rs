//! Gives bytes that nobody wrote to everything that reads what other nodes send: what fuzzing and property tests call.
//!
//! Random bytes rarely get past a length or a first byte. So each reader of framed messages meets its input twice: as it is,
//! and with the length before it put right.

use crate::frame::{BODY_BYTES_MAX, Head, read_body, read_head};
use crate::{Certificate, Invite, InviteId, MeshId, MeshKey, NodeId, callback, introduction, join, removal};

fn mesh() -> MeshId {
    MeshKey::from_secret(&[7; 32]).id()
}

fn node() -> NodeId {
    NodeId::of(&ed25519_dalek::SigningKey::from_bytes(&[8; 32]).verifying_key())
}

/// Reads `bytes` as everything that a stranger may send, or paste: the messages of joining in any order, notices, certificates
/// and invites.
///
/// # Panics
/// A reader took what nobody signed, or read an invite that it cannot write.
pub fn join(bytes: &[u8]) {
    let framed = u16::try_from(bytes.len())
        .ok()
        .map(|length| [&length.to_be_bytes()[..], bytes].concat());
    for bytes in [Some(bytes), framed.as_deref()].into_iter().flatten() {
        now(join::read_hostile(bytes));
    }
    callback::read_hostile(bytes, &InviteId::from_bytes([9; 32]), &node());
    introduction::read_hostile(bytes, &mesh(), &node());
    removal::read_hostile(bytes, &mesh(), &node());
    assert!(
        Certificate::verify(bytes, &mesh()).is_err(),
        "the mesh never signed that"
    );
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(invite) = Invite::parse(text) {
        let written = invite.text();
        let again = Invite::parse(&written).map(|again| (again.id(), again.mesh(), again.expires_s()));
        assert_eq!(again, Ok((invite.id(), invite.mesh(), invite.expires_s())));
    }
}

/// Reads `bytes` as a stream of calls, as far as it makes sense.
///
/// # Panics
/// A head is taken whose body would have no bound, or that reads otherwise when it is written.
pub fn call(bytes: &[u8]) {
    let check = |head: Head| {
        assert!(head.length <= BODY_BYTES_MAX, "{head:?}");
        let written = head.encode();
        let again = written.get(1..).and_then(Head::decode);
        assert_eq!(again, Some(head));
    };
    if let Some(head) = Head::decode(bytes) {
        check(head);
    }
    let mut rest = bytes;
    now(async {
        while let Ok(Some(head)) = read_head(&mut rest).await {
            check(head);
            // What is not there is not waited for; a length that lies costs no more than it says.
            if head.length > rest.len() || read_body(&mut rest, head.length).await.is_err() {
                break;
            }
        }
    });
}

/// Runs what never waits, since everything it reads is there.
fn now(future: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime without threads").block_on(future);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Bytes that look like CBOR more often than chance has it: heads of arrays, byte strings and texts with small lengths.
    fn like_cbor() -> impl Strategy<Value = Vec<u8>> {
        let byte = prop_oneof![
            3 => 0_u8..32,
            3 => 0x80_u8..0x88,
            2 => 0x40_u8..0x5b,
            1 => Just(0x58_u8),
            1 => 0x60_u8..0x78,
            2 => any::<u8>(),
        ];
        proptest::collection::vec(byte, 0..300)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_bytes_of_a_stranger_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            join(&bytes);
        }

        #[test]
        fn nor_do_those_that_look_like_messages(bytes in like_cbor()) {
            join(&bytes);
            call(&bytes);
        }

        #[test]
        fn nor_does_text_that_looks_like_an_invite(text in "[wW][rR][nN]1[qpzry9x8gf2tvdw0s3jn54khce6mua7l \n]{0,200}") {
            join(text.as_bytes());
        }

        #[test]
        fn no_bytes_of_a_member_do_harm(
            heads in proptest::collection::vec((any::<u64>(), 0_u8..5, any::<u32>(), prop_oneof![0_u32..40, any::<u32>()]), 0..5),
            rest in proptest::collection::vec(any::<u8>(), 0..100),
        ) {
            let mut bytes = Vec::new();
            for (id, kind, wait, length) in heads {
                let mut head = vec![0];
                ciborium::into_writer(&(id, kind, wait, length), &mut head).unwrap();
                head[0] = u8::try_from(head.len() - 1).unwrap();
                bytes.extend(head);
                bytes.extend(vec![0; usize::try_from(length.min(64)).unwrap()]);
            }
            bytes.extend(rest);
            call(&bytes);
        }
    }
}
