//! JSON objects as rows of a table (RFC 4180, lines end with a line feed).

use std::io;

use serde_json::value::RawValue;

use super::{invalid, json};
use crate::topic;

/// Columns that a header has at most.
const COLUMNS_MAX: usize = 1024;

/// JSON objects as rows: the members of the object, one level deep. Text stands as it is, other
/// values as their JSON, null and what is missing as nothing. Messages that keep their topic have it
/// in the column `topic`, and a payload that is no object in the column `payload`.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Csv {
    /// The columns; other members are left out. None: those of the first message, and a later one
    /// with another member is an error, so that nothing is lost unseen.
    pub columns: Option<Vec<String>>,
}

/// The columns of a table that was begun.
pub(super) struct Columns(Vec<String>);

/// A member and its text.
type Cell = (String, String);

impl Columns {
    /// Reads a header.
    pub(super) fn parse(line: &[u8]) -> io::Result<Self> {
        let text = std::str::from_utf8(line).map_err(|_| invalid("the file's header is no text".into()))?;
        let (mut columns, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut letters = text.trim_end_matches(['\n', '\r']).chars().peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '"' if quoted && letters.peek() == Some(&'"') => {
                    letters.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => columns.push(std::mem::take(&mut field)),
                letter => field.push(letter),
            }
        }
        columns.push(field);
        Ok(Self(columns))
    }
}

impl Csv {
    /// Appends a row, and the header before the first.
    pub(super) fn write(
        &self,
        columns: &mut Option<Columns>,
        (bytes, topics): (&[u8], bool),
        out: &mut Vec<u8>,
    ) -> io::Result<()> {
        let cells = if topics { topic_cells(bytes)? } else { object_cells(bytes)? };
        let known = match columns {
            Some(columns) => columns,
            None => {
                let wanted = self.columns.clone();
                let names = wanted.unwrap_or_else(|| cells.iter().map(|(name, _)| name.clone()).collect());
                if names.is_empty() || names.len() > COLUMNS_MAX {
                    return Err(invalid("makes no header: name the columns".into()));
                }
                row(names.iter().map(String::as_str), out);
                columns.insert(Columns(names))
            }
        };
        let other = cells.iter().find(|(name, _)| !known.0.contains(name));
        if let Some((name, _)) = other.filter(|_| self.columns.is_none()) {
            return Err(invalid(format!(
                "has '{name}', which the header has not: name the columns, or keep it as lines"
            )));
        }
        let value = |column: &String| cells.iter().find(|(name, _)| name == column).map_or("", |(_, text)| text);
        row(known.0.iter().map(value), out);
        Ok(())
    }
}

fn object_cells(bytes: &[u8]) -> io::Result<Vec<Cell>> {
    let members = json::members(bytes);
    let members = members.ok_or_else(|| invalid("is no JSON object: keep this stream as lines".into()))?;
    Ok(members.0.into_iter().map(|(name, value)| (name, cell(value))).collect())
}

fn topic_cells(bytes: &[u8]) -> io::Result<Vec<Cell>> {
    let (topic, payload) = topic::split(bytes).map_err(|error| invalid(error.to_string()))?;
    let mut cells = vec![("topic".to_owned(), topic.to_owned())];
    match json::members(payload) {
        Some(members) => cells.extend(members.0.into_iter().map(|(name, value)| (name, cell(value)))),
        None => {
            let text = std::str::from_utf8(payload);
            let text = text.map_err(|_| invalid("has a payload that is no text: keep this stream as lines".into()))?;
            cells.push(("payload".to_owned(), json::string(text).unwrap_or_else(|| text.to_owned())));
        }
    }
    Ok(cells)
}

fn cell(value: &RawValue) -> String {
    let value = value.get();
    if value == "null" {
        return String::new();
    }
    json::string(value).unwrap_or_else(|| {
        let mut out = Vec::new();
        json::compact(value, &mut out);
        String::from_utf8(out).unwrap_or_default()
    })
}

fn row<'a>(fields: impl Iterator<Item = &'a str>, out: &mut Vec<u8>) {
    for (at, field) in fields.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if field.contains(['"', ',', '\n', '\r']) {
            out.push(b'"');
            out.extend_from_slice(field.replace('"', "\"\"").as_bytes());
            out.push(b'"');
        } else {
            out.extend_from_slice(field.as_bytes());
        }
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(columns: Option<&[&str]>, messages: &[&str]) -> io::Result<String> {
        let csv = Csv { columns: columns.map(|names| names.iter().map(|name| (*name).to_owned()).collect()) };
        let (mut known, mut out) = (None, Vec::new());
        for message in messages {
            csv.write(&mut known, (message.as_bytes(), false), &mut out)?;
        }
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn objects_become_rows() {
        let messages = [
            r#"{"time":"12:00","temp":21.50,"at":{"lat": 1, "lon": 2}}"#,
            r#"{"temp":-3e2,"time":"a \"b\", c\nd"}"#,
            r#"{"temp":null,"time":""}"#,
        ];
        let wanted = "time,temp,at\n12:00,21.50,\"{\"\"lat\"\":1,\"\"lon\"\":2}\"\n\"a \"\"b\"\", c\nd\",-3e2,\n,,\n";
        assert_eq!(rows(None, &messages).unwrap(), wanted);
        assert_eq!(rows(Some(&["temp", "x"]), &messages).unwrap(), "temp,x\n21.50,\n-3e2,\n,\n");
        let error = rows(None, &[r#"{"a":1}"#, r#"{"a":1,"b":2}"#]).unwrap_err();
        assert!(error.to_string().contains("'b'"), "{error}");
        rows(None, &["[1]"]).unwrap_err();
        rows(None, &["{}"]).unwrap_err();
    }

    #[test]
    fn a_header_is_read_as_it_was_written() {
        let mut out = Vec::new();
        row(["a", "b,\"c\"", ""].into_iter(), &mut out);
        assert_eq!(Columns::parse(&out).unwrap().0, ["a", "b,\"c\"", ""]);
    }

    #[test]
    fn a_topic_is_a_column() {
        let (mut known, mut out, mut message) = (None, Vec::new(), Vec::new());
        for payload in [&br#"{"t":1}"#[..], br#"{"t":2}"#] {
            topic::join("a/b", payload, &mut message).unwrap();
            Csv::default().write(&mut known, (&message, true), &mut out).unwrap();
        }
        assert_eq!(out, b"topic,t\na/b,1\na/b,2\n");
        let (mut known, mut out) = (None, Vec::new());
        topic::join("a/b", b"22.5", &mut message).unwrap();
        Csv::default().write(&mut known, (&message, true), &mut out).unwrap();
        assert_eq!(out, b"topic,payload\na/b,22.5\n");
    }
}
