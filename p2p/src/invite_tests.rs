//! Promises of an invite: it survives people, opens one door once, and proves without being shown.

use proptest::prelude::*;

use super::*;
use crate::MeshKey;
use crate::address::tests::any_address;

fn mesh() -> MeshId {
    MeshKey::from_secret(&[1; 32]).id()
}

fn node(seed: u8) -> NodeId {
    NodeId::of(&SigningKey::from_bytes(&[seed; 32]).verifying_key())
}

fn fixed() -> Invite {
    Invite {
        mesh: mesh(),
        role: Role::Trusted,
        seed: Zeroizing::new([5; 16]),
        expires_s: 1_800_000_000,
        addresses: vec![
            "203.0.113.7:4001".parse().unwrap(),
            "192.168.1.20:4001".parse().unwrap(),
        ],
    }
}

fn occasion() -> Occasion {
    Occasion {
        mesh: mesh(),
        joiner: node(2),
        responder: node(3),
        nonce: [4; 32],
    }
}

#[test]
fn the_first_format_stays_readable() {
    let text = include_str!("../fixtures/invite-1");
    assert_eq!(Invite::parse(text), Ok(fixed()));
    assert_eq!(fixed().text().as_str(), text.trim());
}

#[test]
fn an_invite_with_two_addresses_stays_short_enough_to_read_out() {
    assert!(fixed().text().len() <= 124, "{}", fixed().text().len());
}

#[test]
fn what_mail_and_chat_programs_do_to_a_line_is_forgiven() {
    let text = fixed().text();
    let (first, second) = text.split_at(40);
    for pasted in [
        format!("  {}\n", &*text),
        format!("{first}\r\n   {second}"),
        format!("\"{}\"", &*text),
        text.to_uppercase(),
        fixed().qr_text().to_string(),
    ] {
        assert_eq!(Invite::parse(&pasted), Ok(fixed()), "{pasted:?}");
    }
}

#[test]
fn an_invite_that_cannot_be_used_says_what_to_do() {
    let text = fixed().text();
    let newer = bech32::encode_lower::<Bech32m>(PREFIX, &[9, 1, 2]).unwrap();
    let senseless = bech32::encode_lower::<Bech32m>(PREFIX, &[1, 1, 2]).unwrap();
    let other = bech32::encode_lower::<Bech32m>(Hrp::parse("abc").unwrap(), &[1]).unwrap();
    for (pasted, expected) in [
        ("", InvalidInvite::NotAnInvite),
        ("hello", InvalidInvite::NotAnInvite),
        (&other, InvalidInvite::NotAnInvite),
        (&"wrn1".repeat(1000), InvalidInvite::NotAnInvite),
        (&text[..text.len() - 1], InvalidInvite::Damaged),
        ("wrn1é", InvalidInvite::Damaged),
        (&newer, InvalidInvite::Newer(9)),
        (&senseless, InvalidInvite::Malformed),
    ] {
        assert_eq!(Invite::parse(pasted), Err(expected), "{pasted:?}");
    }
    assert!(
        InvalidInvite::NotAnInvite
            .to_string()
            .contains("copy the whole line")
    );
    assert!(InvalidInvite::Newer(9).to_string().contains("update this box"));
}

#[test]
fn a_proof_is_worth_nothing_on_any_other_occasion() {
    let proof = fixed().prove(&occasion());
    assert!(fixed().id().proves(&occasion(), &proof));
    let others = [
        Occasion {
            mesh: MeshKey::from_secret(&[8; 32]).id(),
            ..occasion()
        },
        Occasion {
            joiner: node(8),
            ..occasion()
        },
        Occasion {
            responder: node(8),
            ..occasion()
        },
        Occasion {
            nonce: [8; 32],
            ..occasion()
        },
    ];
    for other in others {
        assert!(!fixed().id().proves(&other, &proof));
    }
    assert!(
        !Invite::new(mesh(), Role::Vault, 0, Vec::new())
            .unwrap()
            .id()
            .proves(&occasion(), &proof)
    );
}

#[test]
fn an_invite_in_a_log_shows_no_secret() {
    let shown = format!("{:?}", fixed());
    assert!(!shown.contains("5, 5, 5") && !shown.contains("0505"), "{shown}");
}

#[test]
fn long_names_never_make_an_invite_that_cannot_be_read_back() {
    let name = format!("{}.example", "x".repeat(240));
    let addresses = vec![Address::named(&name, 1).unwrap(); ADDRESSES_MAX + 3];
    let invite = Invite::new(mesh(), Role::Witness, u64::MAX, addresses).unwrap();
    let read = Invite::parse(&invite.text()).unwrap();
    assert_eq!(read.id(), invite.id());
    assert!(!read.addresses().is_empty());
}

proptest! {
    #[test]
    fn an_invite_survives_being_written_and_read(
        seed: [u8; 16],
        expires_s in 0..=EXPIRY_MAX,
        role in prop_oneof![Just(Role::Trusted), Just(Role::Vault), Just(Role::Witness)],
        addresses in proptest::collection::vec(any_address(), 0..=ADDRESSES_MAX),
    ) {
        let invite = Invite { mesh: mesh(), role, seed: Zeroizing::new(seed), expires_s, addresses };
        prop_assert_eq!(Invite::parse(&invite.text()), Ok(invite.clone()));
        prop_assert_eq!(Invite::parse(&invite.qr_text()), Ok(invite));
    }

    #[test]
    fn one_mistyped_letter_is_always_noticed(at in 4_usize..120, letter in "[a-z0-9]") {
        let mut text = fixed().text().to_string();
        let at = 4 + at % (text.len() - 4);
        prop_assume!(&text[at..=at] != letter.as_str());
        text.replace_range(at..=at, &letter);
        prop_assert_eq!(Invite::parse(&text), Err(InvalidInvite::Damaged));
    }

    #[test]
    fn any_text_is_refused_without_harm(text: String) {
        prop_assert!(Invite::parse(&text).is_err());
    }

    #[test]
    fn any_bytes_with_a_good_checksum_are_refused_or_kept_whole(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = bytes;
        bytes.insert(0, VERSION);
        let text = bech32::encode_lower::<Bech32m>(PREFIX, &bytes).unwrap();
        if let Ok(invite) = Invite::parse(&text) {
            prop_assert_eq!(Invite::parse(&invite.text()), Ok(invite));
        }
    }
}
