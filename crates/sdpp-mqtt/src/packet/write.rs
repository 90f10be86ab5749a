//! To the broker.

use bytes::{BufMut, BytesMut};
use zeroize::Zeroizing;

use super::{Qos, Step, Version};
use crate::options::Login;

/// A new connection (§3.1).
pub(crate) struct Connect<'a> {
    pub(crate) client_id: &'a str,
    pub(crate) login: Option<&'a Login>,
    pub(crate) keep_alive_s: u16,
    /// Forget what was before.
    pub(crate) clean: bool,
    /// Seconds that the session outlives the connection.
    pub(crate) session_s: u32,
    pub(crate) receive_max: u16,
    pub(crate) packet_max: u32,
}

/// A message to be published.
#[derive(Clone, Copy)]
pub(crate) struct Outgoing<'a> {
    pub(crate) again: bool,
    pub(crate) qos: Qos,
    pub(crate) id: u16,
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// A property of the message (MQTT 5), its name and value.
    pub(crate) property: Option<(&'a str, &'a str)>,
}

/// In a buffer of its own, which is erased: it may hold a password.
pub(crate) fn write_connect(version: Version, connect: &Connect<'_>) -> Zeroizing<Vec<u8>> {
    let mut properties = Vec::new();
    if version == Version::V5 {
        properties.put_u8(0x11);
        properties.put_u32(connect.session_s);
        properties.put_u8(0x21);
        properties.put_u16(connect.receive_max);
        properties.put_u8(0x27);
        properties.put_u32(connect.packet_max);
    }
    let texts = connect.login.map_or(0, |login| login.user().len().saturating_add(login.password().len()));
    let length = texts.saturating_add(connect.client_id.len()).saturating_add(64);
    // Large enough from the start: growing would leave a copy behind.
    let mut body = Zeroizing::new(Vec::with_capacity(length));
    put_text(&mut *body, "MQTT");
    body.put_u8(match version {
        Version::V3 => 4,
        Version::V5 => 5,
    });
    let login = if connect.login.is_some() { 0b1100_0000 } else { 0 };
    body.put_u8(login | u8::from(connect.clean) << 1);
    body.put_u16(connect.keep_alive_s);
    if version == Version::V5 {
        put_varint(&mut *body, properties.len());
        body.put_slice(&properties);
    }
    put_text(&mut *body, connect.client_id);
    if let Some(login) = connect.login {
        put_text(&mut *body, login.user());
        put_text(&mut *body, login.password());
    }
    let mut packet = Zeroizing::new(Vec::with_capacity(length.saturating_add(8)));
    finish(0x10, &body, &mut *packet);
    packet
}

/// `retained`: whether messages that the broker keeps are wanted now (MQTT 5).
pub(crate) fn write_subscribe(version: Version, filters: &[String], (qos, retained): (Qos, bool), out: &mut BytesMut) {
    let mut body = BytesMut::new();
    // Any id: this connection publishes nothing.
    body.put_u16(1);
    if version == Version::V5 {
        body.put_u8(0);
    }
    for filter in filters {
        put_text(&mut body, filter);
        let no_retained = if version == Version::V5 && !retained { 0b0010_0000 } else { 0 };
        body.put_u8(qos.bits() | no_retained);
    }
    finish(0x82, &body, out);
}

pub(crate) fn write_publish(version: Version, message: &Outgoing<'_>, out: &mut BytesMut) {
    let mut head = BytesMut::new();
    put_text(&mut head, message.topic);
    if message.qos != Qos::AtMostOnce {
        head.put_u16(message.id);
    }
    if version == Version::V5 {
        let mut properties = BytesMut::new();
        if let Some((name, value)) = message.property {
            properties.put_u8(0x26);
            put_text(&mut properties, name);
            put_text(&mut properties, value);
        }
        put_varint(&mut head, properties.len());
        head.extend_from_slice(&properties);
    }
    let again = if message.again && message.qos != Qos::AtMostOnce { 0b1000 } else { 0 };
    out.put_u8(0x30 | again | message.qos.bits() << 1);
    put_varint(out, head.len().saturating_add(message.payload.len()));
    out.extend_from_slice(&head);
    out.extend_from_slice(message.payload);
}

pub(crate) fn write_ack(step: Step, id: u16, out: &mut BytesMut) {
    let first = match step {
        Step::Ack => 0x40,
        Step::Rec => 0x50,
        Step::Rel => 0x62,
        Step::Comp => 0x70,
    };
    finish(first, &id.to_be_bytes(), out);
}

pub(crate) fn write_ping(out: &mut BytesMut) {
    finish(0xc0, &[], out);
}

pub(crate) fn write_disconnect(out: &mut BytesMut) {
    finish(0xe0, &[], out);
}

fn finish(first: u8, body: &[u8], out: &mut impl BufMut) {
    out.put_u8(first);
    put_varint(out, body.len());
    out.put_slice(body);
}

/// Every text is checked where it enters: none is longer than 65,535 bytes.
fn put_text(out: &mut impl BufMut, text: &str) {
    out.put_u16(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn put_varint(out: &mut impl BufMut, mut value: usize) {
    loop {
        let low = u8::try_from(value & 0x7f).unwrap_or(0x7f);
        value >>= 7;
        if value == 0 {
            return out.put_u8(low);
        }
        out.put_u8(low | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_written_as_both_versions_have_it() {
        let message = Outgoing {
            again: true,
            qos: Qos::AtLeastOnce,
            id: 7,
            topic: "a/b",
            payload: &[b'x'; 200],
            property: Some(("sdpp-seq", "5")),
        };
        let mut out = BytesMut::new();
        write_publish(Version::V3, &message, &mut out);
        assert_eq!(&out[..10], b"\x3a\xcf\x01\0\x03a/b\0\x07");
        assert_eq!(out.len(), 10 + 200);
        out.clear();
        write_publish(Version::V5, &Outgoing { payload: b"x", ..message }, &mut out);
        assert_eq!(&out[..], b"\x3a\x17\0\x03a/b\0\x07\x0e\x26\0\x08sdpp-seq\0\x015x");
    }
}
