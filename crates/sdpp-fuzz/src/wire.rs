//! Frames, control items and the bodies of clear frames.

use std::fmt::Debug;

use minicbor::{Decode, Encode};
use sdpp_proto::codec;
use sdpp_proto::frame::{self, FrameHeader, FrameKind};
use sdpp_proto::keys::{Direction, Traffic, TrafficKey};
use sdpp_proto::limits;
use sdpp_proto::wire::{self, Ask, Hello, MenuReply, OrderPlain, SealedOrder, SealedSession, SessionPlain};
use zeroize::Zeroizing;

use crate::choices::{Choices, flip};

/// A key that this target knows, at its first frame.
fn traffic() -> TrafficKey {
    Traffic::new(&[1; 32], &Zeroizing::new([2; 32])).direction(Direction::ToBuyer)
}

/// Headers and clear frames as they come, and any plaintext in a sealed frame.
///
/// A header means the same when more bytes follow; no frame is longer than its kind allows; a frame is written again
/// as it was read; what was not sealed under the key does not open.
pub(crate) fn frame(data: &[u8]) {
    header(data);
    clear(data);
    sealed(data);
}

fn header(data: &[u8]) {
    match FrameHeader::peek(data) {
        Ok(None) => assert!(data.len() < limits::FRAME_HEADER_LEN),
        Ok(Some(header)) => {
            assert!(header.body_len <= header.kind.body_max());
            assert_eq!(header.to_bytes(), data[..limits::FRAME_HEADER_LEN]);
        }
        // Length and type are enough to refuse.
        Err(offence) => assert_eq!(FrameHeader::peek(&data[..5]), Err(offence)),
    }
}

fn clear(data: &[u8]) {
    let Ok(header) = FrameHeader::of_frame(data) else { return };
    assert_eq!(header.frame_len(), data.len());
    if header.kind == FrameKind::Sealed {
        assert!(frame::open_sealed(&mut traffic(), &mut data.to_vec()).is_err(), "nobody sealed this");
    } else {
        let mut again = Vec::new();
        frame::write_clear(&mut again, header.kind, &data[limits::FRAME_HEADER_LEN..]);
        assert_eq!(again, data);
    }
}

fn sealed(plain: &[u8]) {
    if plain.len() > limits::FRAME_PLAIN_MAX {
        return;
    }
    let whole = seal(plain);
    let mut copy = whole.clone();
    match frame::open_sealed(&mut traffic(), &mut copy) {
        Ok(opened) => {
            assert!(opened.control.len() <= limits::CONTROL_MAX);
            let mut again = Vec::new();
            frame::write_sealed(&mut again, &mut traffic(), opened.messages, opened.control);
            assert_eq!(again, whole, "one frame for these parts");
        }
        Err(_) => assert!(!adds_up(plain)),
    }
    let mut changed = whole;
    flip(&mut changed, &mut Choices::new(plain));
    assert!(frame::open_sealed(&mut traffic(), &mut changed).is_err(), "every bit is protected");
}

/// A frame with any plaintext, as a peer with the key can make it.
fn seal(plain: &[u8]) -> Vec<u8> {
    let body_len = plain.len() + limits::TAG_LEN;
    let mut whole = FrameHeader { kind: FrameKind::Sealed, body_len, counter: 0 }.to_bytes().to_vec();
    let header = whole.clone();
    let mut body = vec![0; body_len];
    traffic().seal(&header, [plain, &[]], &mut body).expect("the first frame of a key");
    whole.extend_from_slice(&body);
    whole
}

/// Whether a plaintext ends with the length of control items that fit into it.
fn adds_up(plain: &[u8]) -> bool {
    plain.split_last_chunk::<4>().is_some_and(|(rest, length)| {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        length <= limits::CONTROL_MAX && length <= rest.len()
    })
}

/// Control items and the bodies of clear frames: the first byte says of which kind the rest is.
pub(crate) fn control(data: &[u8]) {
    let Some((kind, body)) = data.split_first() else { return };
    match kind % 8 {
        0 => controls(body),
        1 => round_trip::<Hello>(body, limits::HELLO_MAX),
        2 => round_trip::<MenuReply>(body, limits::MENU_BODY_MAX),
        3 => round_trip::<Ask>(body, limits::HELLO_MAX),
        4 => round_trip::<SealedOrder>(body, limits::SEALED_HANDSHAKE_MAX),
        5 => round_trip::<OrderPlain>(body, limits::SEALED_HANDSHAKE_MAX),
        6 => round_trip::<SealedSession>(body, limits::SEALED_HANDSHAKE_MAX),
        _ => round_trip::<SessionPlain>(body, limits::SEALED_HANDSHAKE_MAX),
    }
}

fn controls(bytes: &[u8]) {
    let Ok(items) = wire::read_controls(bytes) else { return };
    assert!(items.len() <= limits::CONTROL_ITEMS_MAX);
    let mut again = Vec::new();
    items.iter().for_each(|item| item.write(&mut again));
    assert_eq!(again, bytes, "one encoding for these items");
}

/// What is accepted is written again as it was, and means the same.
pub(crate) fn round_trip<T>(bytes: &[u8], max: usize)
where
    T: Encode<()> + for<'b> Decode<'b, ()> + PartialEq + Debug,
{
    let Ok(value) = codec::decode::<T>(bytes, max) else { return };
    assert!(bytes.len() <= max);
    let again = codec::encode(&value);
    assert_eq!(again, bytes, "one encoding for this value");
    assert_eq!(codec::decode::<T>(&again, max).as_ref(), Ok(&value));
}
