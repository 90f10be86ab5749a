//! From the broker.

use bytes::{Buf, Bytes, BytesMut};

use super::{ConnAck, Malformed, Packet, Publish, Qos, Step, Version};

const CONNACK: u8 = 2;
const PUBLISH: u8 = 3;
const SUBACK: u8 = 9;
const PINGRESP: u8 = 13;
const DISCONNECT: u8 = 14;

/// Refusals of MQTT 3.1.1 in the order of their codes, as MQTT 5 has them.
const V3_REFUSALS: [u8; 5] = [0x84, 0x85, 0x88, 0x86, 0x87];

/// Takes packets off a stream.
pub(crate) struct Decoder {
    version: Version,
    packet_max: usize,
    /// What is left of a message that is passed over.
    skip: usize,
}

type Result<T> = std::result::Result<T, Malformed>;

impl Decoder {
    pub(crate) const fn new(version: Version, packet_max: usize) -> Self {
        Self { version, packet_max, skip: 0 }
    }

    /// The next packet; none if it is not whole yet.
    pub(crate) fn next(&mut self, input: &mut BytesMut) -> Result<Option<Packet>> {
        let gone = self.skip.min(input.len());
        input.advance(gone);
        self.skip = self.skip.saturating_sub(gone);
        let Some((first, length, header)) = fixed_header(input)? else { return Ok(None) };
        if length > self.packet_max {
            return self.pass_over(input, (first, length, header));
        }
        let whole = header.saturating_add(length);
        if input.len() < whole {
            input.reserve(whole.saturating_sub(input.len()));
            return Ok(None);
        }
        let mut packet = input.split_to(whole);
        packet.advance(header);
        self.packet(first, &packet).map(Some)
    }

    /// A message that is too large is not kept, but it has to be acknowledged: else the broker would
    /// send it again for ever.
    fn pass_over(&mut self, input: &mut BytesMut, head: (u8, usize, usize)) -> Result<Option<Packet>> {
        let (first, length, header) = head;
        if first >> 4 != PUBLISH {
            return Err(Malformed("a packet that is too large"));
        }
        let qos = qos_of(first)?;
        let mut body = Reader(input.get(header..).unwrap_or_default());
        let Ok(topic) = body.binary() else { return Ok(None) };
        let id = if qos == Qos::AtMostOnce { 0 } else { body.u16().unwrap_or(0) };
        if qos != Qos::AtMostOnce && id == 0 {
            let head_max = topic.len().saturating_add(4);
            let arrived = input.len().saturating_sub(header) >= head_max;
            return if arrived { Err(Malformed("a packet id of zero")) } else { Ok(None) };
        }
        self.skip = header.saturating_add(length);
        let gone = self.skip.min(input.len());
        input.advance(gone);
        self.skip = self.skip.saturating_sub(gone);
        Ok(Some(Packet::TooLarge { qos, id }))
    }

    fn packet(&self, first: u8, body: &[u8]) -> Result<Packet> {
        let mut body = Reader(body);
        match first >> 4 {
            CONNACK => self.connack(body),
            PUBLISH => self.publish(first, body),
            4 => self.acknowledgement(Step::Ack, body),
            5 => self.acknowledgement(Step::Rec, body),
            6 => self.acknowledgement(Step::Rel, body),
            7 => self.acknowledgement(Step::Comp, body),
            SUBACK => {
                let id = body.u16()?;
                self.properties(&mut body, |_, _| {})?;
                Ok(Packet::SubAck { id, reasons: body.0.to_vec() })
            }
            PINGRESP => Ok(Packet::PingResp),
            DISCONNECT => Ok(Packet::Disconnect { reason: body.u8().unwrap_or(0) }),
            _ => Err(Malformed("a packet that brokers do not send")),
        }
    }

    fn connack(&self, mut body: Reader<'_>) -> Result<Packet> {
        let session_present = body.u8()? & 1 != 0;
        let code = body.u8()?;
        let mut connack = ConnAck::of(session_present, code);
        // A broker that knows no MQTT 5 says so in the form of version 3.
        if self.version == Version::V3 || body.0.is_empty() {
            let refusal = usize::from(code).checked_sub(1).and_then(|place| V3_REFUSALS.get(place));
            connack.reason = if code == 0 { 0 } else { refusal.copied().unwrap_or(0x80) };
            return Ok(Packet::ConnAck(connack));
        }
        self.properties(&mut body, |id, value| match id {
            0x21 => connack.receive_max = u16::try_from(value).unwrap_or(u16::MAX),
            0x27 => connack.packet_max = Some(value),
            0x24 if value < 2 => connack.qos_max = if value == 0 { Qos::AtMostOnce } else { Qos::AtLeastOnce },
            0x13 => connack.keep_alive_s = u16::try_from(value).ok(),
            _ => {}
        })?;
        Ok(Packet::ConnAck(connack))
    }

    fn publish(&self, first: u8, mut body: Reader<'_>) -> Result<Packet> {
        let qos = qos_of(first)?;
        let topic = body.binary()?;
        let topic = std::str::from_utf8(topic).map_err(|_| Malformed("a topic that is not UTF-8"))?;
        let id = if qos == Qos::AtMostOnce { 0 } else { body.u16()? };
        if qos != Qos::AtMostOnce && id == 0 {
            return Err(Malformed("a packet id of zero"));
        }
        self.properties(&mut body, |_, _| {})?;
        // We allow no aliases.
        if topic.is_empty() {
            return Err(Malformed("a message without a topic"));
        }
        // Copied: a small message that waits must not keep a large buffer alive.
        let payload = Bytes::copy_from_slice(body.0);
        Ok(Packet::Publish(Publish { qos, retain: first & 1 != 0, topic: topic.to_owned(), id, payload }))
    }

    fn acknowledgement(&self, step: Step, mut body: Reader<'_>) -> Result<Packet> {
        let id = body.u16()?;
        // A reason of zero may be left out.
        let reason = body.u8().unwrap_or(0);
        Ok(Packet::Ack { step, id, reason })
    }

    /// Reads the properties of MQTT 5, those with a number to the caller (§2.2.2).
    fn properties(&self, body: &mut Reader<'_>, mut number: impl FnMut(u8, u32)) -> Result<()> {
        if self.version == Version::V3 {
            return Ok(());
        }
        let length = body.varint()?;
        let mut properties = Reader(body.take(length)?);
        while !properties.0.is_empty() {
            let id = properties.u8()?;
            match id {
                0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => number(id, properties.u8()?.into()),
                0x13 | 0x21 | 0x22 | 0x23 => number(id, properties.u16()?.into()),
                0x02 | 0x11 | 0x18 | 0x27 => number(id, properties.u32()?),
                0x0b => drop(properties.varint()?),
                0x03 | 0x08 | 0x09 | 0x12 | 0x15 | 0x16 | 0x1a | 0x1c | 0x1f => drop(properties.binary()?),
                0x26 => {
                    properties.binary()?;
                    properties.binary()?;
                }
                _ => return Err(Malformed("an unknown property")),
            }
        }
        Ok(())
    }
}

fn qos_of(first: u8) -> Result<Qos> {
    Qos::of_bits(first >> 1 & 3).ok_or(Malformed("a quality of service that is none"))
}

/// First byte, length of the rest, length of the header; none if it is not whole yet.
fn fixed_header(input: &[u8]) -> Result<Option<(u8, usize, usize)>> {
    let Some((first, rest)) = input.split_first() else { return Ok(None) };
    let mut reader = Reader(rest);
    match reader.varint() {
        Ok(length) => Ok(Some((*first, length, input.len().saturating_sub(reader.0.len())))),
        Err(_) if rest.len() < 4 => Ok(None),
        Err(error) => Err(error),
    }
}

/// What is left of a packet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed("a packet that is cut"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Malformed("a packet that is cut"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16> {
        self.fixed().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32> {
        self.fixed().map(u32::from_be_bytes)
    }

    /// Bytes or text with their length in 16 bits (§1.5.4).
    fn binary(&mut self) -> Result<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    /// A number of one to four bytes (§1.5.5).
    fn varint(&mut self) -> Result<usize> {
        let mut value = 0usize;
        for shift in [0, 7, 14, 21] {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a length of more than four bytes"))
    }
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    /// All packets of a stream that arrives in pieces of this size.
    fn decode(version: Version, bytes: &[u8], piece: usize) -> Result<Vec<Packet>> {
        let (mut decoder, mut input, mut packets) = (Decoder::new(version, 40), BytesMut::new(), Vec::new());
        for part in bytes.chunks(piece) {
            input.extend_from_slice(part);
            while let Some(packet) = decoder.next(&mut input)? {
                packets.push(packet);
            }
        }
        assert!(input.is_empty(), "nothing is left over");
        Ok(packets)
    }

    fn publish(topic: &str, payload: &[u8]) -> Publish {
        Publish { qos: Qos::AtLeastOnce, retain: false, topic: topic.into(), id: 7, payload: payload.to_vec().into() }
    }

    #[test]
    fn packets_are_taken_off_however_they_arrive() {
        let v3 = b"\x20\x02\x01\x00\x32\x08\0\x03a/b\0\x07x\x90\x03\0\x01\x80\xd0\0\x40\x02\0\x07";
        let v5 = b"\x20\x0d\x00\x00\x0a\x24\x01\x21\0\x05\x27\0\0\x01\0\x32\x0b\0\x03a/b\0\x07\x02\x01\x01x\x90\x04\0\x01\0\x80\xd0\0\x40\x03\0\x07\x87";
        for piece in 1..=v5.len() {
            let packets = decode(Version::V3, v3, piece).unwrap();
            assert_eq!(packets.len(), 5);
            assert_eq!(packets[1], Packet::Publish(publish("a/b", b"x")));
            assert_eq!(packets[4], Packet::Ack { step: Step::Ack, id: 7, reason: 0 });
            let packets = decode(Version::V5, v5, piece).unwrap();
            let Packet::ConnAck(connack) = packets[0] else { panic!("{packets:?}") };
            let limits = (connack.qos_max, connack.receive_max, connack.packet_max);
            assert_eq!(limits, (Qos::AtLeastOnce, 5, Some(256)));
            assert_eq!(packets[1], Packet::Publish(publish("a/b", b"x")));
            assert_eq!(packets[2], Packet::SubAck { id: 1, reasons: vec![0x80] });
            assert_eq!(packets[4], Packet::Ack { step: Step::Ack, id: 7, reason: 0x87 });
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_passed_over_and_named() {
        let mut stream = b"\x32\x60\0\x03a/b\0\x07".to_vec();
        stream.extend_from_slice(&[0x30; 0x60 - 7]);
        stream.extend_from_slice(b"\xd0\0");
        for piece in 1..=stream.len() {
            let packets = decode(Version::V3, &stream, piece).unwrap();
            assert_eq!(packets, [Packet::TooLarge { qos: Qos::AtLeastOnce, id: 7 }, Packet::PingResp], "{piece}");
        }
        assert!(decode(Version::V3, b"\x20\x60\0", 3).is_err(), "only messages may be large");
    }

    #[test]
    fn a_broker_of_version_3_is_understood_when_it_refuses_version_5() {
        let packets = decode(Version::V5, b"\x20\x02\x00\x01", 4).unwrap();
        let Packet::ConnAck(connack) = packets[0] else { panic!("{packets:?}") };
        assert_eq!(connack.reason, 0x84);
        for (code, reason) in [(0, 0), (1, 0x84), (2, 0x85), (3, 0x88), (4, 0x86), (5, 0x87), (6, 0x80)] {
            let packets = decode(Version::V3, &[0x20, 2, 0, code], 4).unwrap();
            let Packet::ConnAck(connack) = packets[0] else { panic!("{packets:?}") };
            assert_eq!(connack.reason, reason);
        }
    }

    #[test]
    fn nonsense_is_an_error_and_never_a_panic() {
        let bad: [&[u8]; 9] = [
            b"\x20\x01\x00",
            b"\x32\x05\0\x03a/b",
            b"\x32\x07\0\x03a/b\0\0",
            b"\x36\x07\0\x03a/b\0\x01",
            b"\x30\x04\0\x02\xff\xff",
            b"\x30\x02\0\0",
            b"\x10\x00",
            b"\xf0\x00",
            b"\x20\xff\xff\xff\xff\x01",
        ];
        for bytes in bad {
            assert!(decode(Version::V3, bytes, 64).is_err(), "{bytes:?}");
        }
        for bytes in [&b"\x30\x06\0\x01a\x02\x7f\0"[..], b"\x30\x04\0\x01a\x09", b"\x30\x06\0\x01a\x02\x03\0"] {
            assert!(decode(Version::V5, bytes, 64).is_err(), "{bytes:?}");
        }
        // Any bytes at all: an error or packets, but no panic.
        let mut state = 1u64;
        for _ in 0..20_000 {
            let bytes: Vec<u8> = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (state >> 56).to_le_bytes()[0] & 0x3f
            })
            .take(24)
            .collect();
            for version in [Version::V3, Version::V5] {
                let (mut decoder, mut input) = (Decoder::new(version, 40), BytesMut::from(&bytes[..]));
                while let Ok(Some(_)) = decoder.next(&mut input) {}
            }
        }
    }
}
