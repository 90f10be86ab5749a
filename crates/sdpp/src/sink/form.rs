//! The forms in which messages are written.

use std::io;

use base64ct::{Base64, Encoding as _};
use sdpp_proto::message::{self, Message};
use sdpp_proto::statement::Signing;

use super::csv::{Columns, Csv};
use super::{Stream, invalid, json};
use crate::topic;

/// How messages stand in lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Encoding {
    /// As they are. One with a line break in it is an error: it would be two after a crash.
    #[default]
    Raw,
    /// As JSON strings; they must be UTF-8.
    JsonString,
    /// In base64 (RFC 4648, with padding).
    Base64,
}

/// The form in which messages are written.
///
/// Messages that keep their topic ([`topic::SCHEMA`]) stand in lines as one JSON object each,
/// whatever the encoding: `{"topic":…,"payload":…}`, where the payload is its JSON if it is JSON, else
/// its text if it is UTF-8; else the member is `payload_base64`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Form {
    /// One message a line.
    Lines(Encoding),
    /// JSON objects as rows.
    Csv(Csv),
    /// The canonical form: what an auditor needs to check digests.
    Canonical,
}

impl Form {
    fn name(&self) -> &'static str {
        match self {
            Self::Lines(Encoding::Raw) => "lines",
            Self::Lines(Encoding::JsonString) => "json-lines",
            Self::Lines(Encoding::Base64) => "base64-lines",
            Self::Csv(_) => "csv",
            Self::Canonical => "canonical",
        }
    }
}

/// Writes messages in a form.
pub(super) struct Former {
    form: Form,
    /// Messages keep their topic.
    topics: bool,
    signing: Signing,
    /// Columns of a CSV file, once they are known.
    columns: Option<Columns>,
}

impl Former {
    pub(super) const fn new(form: Form) -> Self {
        Self { form, topics: false, signing: Signing::Window, columns: None }
    }

    pub(super) const fn form(&self) -> &Form {
        &self.form
    }

    pub(super) fn name(&self) -> &'static str {
        self.form.name()
    }

    pub(super) fn begin(&mut self, stream: &Stream) {
        self.topics = stream.schema == topic::SCHEMA;
        self.signing = stream.signing;
    }

    /// The header that a CSV file has already, or none.
    pub(super) fn header(&mut self, line: Option<&[u8]>) -> io::Result<()> {
        self.columns = line.map(Columns::parse).transpose()?;
        Ok(())
    }

    /// Appends a message.
    pub(super) fn write(&mut self, seq: u64, message: &Message<'_>, out: &mut Vec<u8>) -> io::Result<()> {
        let before = out.len();
        let written = match &self.form {
            Form::Canonical => canonical(message, out),
            Form::Csv(csv) => csv.write(&mut self.columns, (message.bytes, self.topics), out),
            Form::Lines(_) if self.topics => topic_line(message.bytes, out),
            Form::Lines(encoding) => line(*encoding, message.bytes, out),
        };
        written.map_err(|error| {
            out.truncate(before);
            io::Error::new(error.kind(), format!("message {seq}: {error}"))
        })
    }

    /// Bytes that the first `messages` messages take in a file of this form, beginning at `data`; none
    /// if there are fewer.
    pub(super) fn length_of(&self, messages: u64, data: &mut dyn io::BufRead) -> io::Result<Option<u64>> {
        let mut length = 0u64;
        let head = u64::from(matches!(self.form, Form::Csv(_)) && messages > 0);
        for _ in 0..messages.saturating_add(head) {
            let one = match self.form {
                Form::Canonical => canonical_length(self.signing, data)?,
                Form::Lines(_) => line_length(data, false)?,
                Form::Csv(_) => line_length(data, true)?,
            };
            let Some(one) = one else { return Ok(None) };
            length = length.saturating_add(one);
        }
        Ok(Some(length))
    }
}

fn canonical(message: &Message<'_>, out: &mut Vec<u8>) -> io::Result<()> {
    out.extend_from_slice(&message.time_us.to_be_bytes());
    // The protocol's own limit is far below.
    let length = u32::try_from(message.bytes.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(message.bytes);
    out.extend_from_slice(message.signature.map_or(&[][..], |signature| signature));
    Ok(())
}

/// Passes one message; none if it is not whole.
fn canonical_length(signing: Signing, data: &mut dyn io::BufRead) -> io::Result<Option<u64>> {
    let mut header = [0; sdpp_proto::limits::MESSAGE_HEADER_LEN];
    match data.read_exact(&mut header) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let payload = message::stated_length(&header).and_then(|length| usize::try_from(length).ok()).unwrap_or(usize::MAX);
    let whole = u64::try_from(message::encoded_len(payload, signing)).unwrap_or(u64::MAX);
    let rest = whole.saturating_sub(u64::try_from(header.len()).unwrap_or(u64::MAX));
    let passed = io::copy(&mut io::Read::take(data, rest), &mut io::sink())?;
    Ok((passed == rest).then_some(whole))
}

/// Passes one line; none if it does not end. In a CSV file a line break may stand inside quotes.
fn line_length(data: &mut dyn io::BufRead, quoted: bool) -> io::Result<Option<u64>> {
    let (mut length, mut line, mut inside) = (0u64, Vec::new(), false);
    loop {
        line.clear();
        let read = io::BufRead::read_until(data, b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Ok(None);
        }
        length = length.saturating_add(u64::try_from(read).unwrap_or(u64::MAX));
        inside ^= quoted && line.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        if !inside {
            return Ok(Some(length));
        }
    }
}

fn line(encoding: Encoding, bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    match encoding {
        Encoding::Raw if bytes.contains(&b'\n') => {
            return Err(invalid("holds a line break: keep this stream as JSON strings, in base64 or canonical".into()));
        }
        Encoding::Raw => out.extend_from_slice(bytes),
        Encoding::JsonString => {
            let text = std::str::from_utf8(bytes);
            json::quote(text.map_err(|_| invalid("is no text: keep this stream in base64 or canonical".into()))?, out);
        }
        Encoding::Base64 => out.extend_from_slice(Base64::encode_string(bytes).as_bytes()),
    }
    out.push(b'\n');
    Ok(())
}

fn topic_line(bytes: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
    let (topic, payload) = topic::split(bytes).map_err(|error| invalid(error.to_string()))?;
    out.extend_from_slice(b"{\"topic\":");
    json::quote(topic, out);
    if let Some(value) = json::value(payload) {
        out.extend_from_slice(b",\"payload\":");
        json::compact(value, out);
    } else if let Ok(text) = std::str::from_utf8(payload) {
        out.extend_from_slice(b",\"payload\":");
        json::quote(text, out);
    } else {
        out.extend_from_slice(b",\"payload_base64\":");
        json::quote(&Base64::encode_string(payload), out);
    }
    out.extend_from_slice(b"}\n");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(schema: &str) -> Stream {
        Stream { topic: "t".into(), schema: schema.into(), signing: Signing::Window }
    }

    fn written(form: Form, schema: &str, messages: &[&[u8]]) -> io::Result<String> {
        let mut former = Former::new(form);
        former.begin(&stream(schema));
        let mut out = Vec::new();
        for (seq, bytes) in (0..).zip(messages) {
            former.write(seq, &Message { time_us: 0, bytes, signature: None }, &mut out)?;
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn an_encoding_takes_what_a_plain_line_cannot() {
        let broken: &[&[u8]] = &[b"a\nb", b""];
        let error = written(Form::Lines(Encoding::Raw), "", broken).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        assert!(error.to_string().starts_with("message 0: "), "{error}");
        assert_eq!(written(Form::Lines(Encoding::JsonString), "", broken).unwrap(), "\"a\\nb\"\n\"\"\n");
        assert_eq!(written(Form::Lines(Encoding::Base64), "", broken).unwrap(), "YQpi\n\n");
        written(Form::Lines(Encoding::JsonString), "", &[b"\xff"]).unwrap_err();
        assert_eq!(written(Form::Lines(Encoding::Base64), "", &[b"\xff"]).unwrap(), "/w==\n");
    }

    #[test]
    fn messages_with_a_topic_are_json_lines() {
        let message = |payload: &[u8]| {
            let mut message = Vec::new();
            topic::join("a/\"b", payload, &mut message).unwrap();
            message
        };
        let messages = [message(b"{ \"t\": 1.10,\n \"u\": [ ] }"), message(b"22.5 C"), message(b"\xff"), message(b"7")];
        let messages: Vec<&[u8]> = messages.iter().map(Vec::as_slice).collect();
        for encoding in [Encoding::Raw, Encoding::Base64] {
            let text = written(Form::Lines(encoding), topic::SCHEMA, &messages).unwrap();
            let wanted = [
                r#"{"topic":"a/\"b","payload":{"t":1.10,"u":[]}}"#,
                r#"{"topic":"a/\"b","payload":"22.5 C"}"#,
                r#"{"topic":"a/\"b","payload_base64":"/w=="}"#,
                r#"{"topic":"a/\"b","payload":7}"#,
            ];
            assert_eq!(text.lines().collect::<Vec<_>>(), wanted);
        }
        // Of another schema, the same bytes are only bytes.
        assert_ne!(written(Form::Lines(Encoding::Base64), "json", &messages).unwrap().get(..1), Some("{"));
        written(Form::Lines(Encoding::Raw), topic::SCHEMA, &[b"\x00"]).unwrap_err();
    }
}
