//! Just enough of JSON to write vectors: stable order, stable spelling.

use std::fmt::Write as _;

/// A value. Amounts and other numbers that a double cannot hold are written as decimal text.
#[derive(Clone)]
pub(crate) enum Json {
    Null,
    Bool(bool),
    Number(u64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

/// An object of the given members.
pub(crate) fn object<const N: usize>(members: [(&str, Json); N]) -> Json {
    Json::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Text.
pub(crate) fn text(text: impl Into<String>) -> Json {
    Json::Text(text.into())
}

/// Bytes, in lower-case hex.
pub(crate) fn hex(bytes: impl AsRef<[u8]>) -> Json {
    Json::Text(to_hex(bytes.as_ref()))
}

/// A number that may be large, as decimal text.
pub(crate) fn large(number: impl ToString) -> Json {
    Json::Text(number.to_string())
}

/// A list.
pub(crate) fn list(values: impl IntoIterator<Item = Json>) -> Json {
    Json::List(values.into_iter().collect())
}

pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(crate) fn from_hex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair).unwrap());
    digits.map(|pair| u8::from_str_radix(pair, 16).unwrap()).collect()
}

impl Json {
    /// A file's text.
    pub(crate) fn to_file(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out.push('\n');
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(value) => write!(out, "{value}").unwrap(),
            Self::Text(value) => write_text(out, value),
            Self::List(values) => {
                let items = values.iter().map(|value| (None, value));
                write_all(out, depth, ['[', ']'], items);
            }
            Self::Object(members) => {
                let items = members.iter().map(|(name, value)| (Some(name.as_str()), value));
                write_all(out, depth, ['{', '}'], items);
            }
        }
    }
}

fn write_all<'a>(
    out: &mut String,
    depth: usize,
    [open, close]: [char; 2],
    items: impl Iterator<Item = (Option<&'a str>, &'a Json)>,
) {
    out.push(open);
    let mut first = true;
    for (name, value) in items {
        out.push_str(if first { "\n" } else { ",\n" });
        first = false;
        out.push_str(&" ".repeat(depth + 1));
        if let Some(name) = name {
            write_text(out, name);
            out.push_str(": ");
        }
        value.write(out, depth + 1);
    }
    if !first {
        out.push('\n');
        out.push_str(&" ".repeat(depth));
    }
    out.push(close);
}

fn write_text(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => write!(out, "\\u{:04x}", u32::from(c)).unwrap(),
            c => out.push(c),
        }
    }
    out.push('"');
}
