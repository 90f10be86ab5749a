//! Reads `spec/sdpp.cddl`, as far as its maps go, and shows payloads by the names it gives.

use std::collections::BTreeMap;

use minicbor::Decoder;
use minicbor::data::Type;

use crate::json::{Json, hex, large, text};

/// One member of a map.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Field {
    pub(crate) key: u64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) optional: bool,
}

/// The maps of the CDDL by their rules' names.
pub(crate) struct Cddl(pub(crate) BTreeMap<String, Vec<Field>>);

impl Cddl {
    pub(crate) fn read() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../spec/sdpp.cddl");
        let source = std::fs::read_to_string(path).unwrap();
        let mut rules = BTreeMap::new();
        let mut open: Option<(String, Vec<Field>)> = None;
        for line in source.lines() {
            if let Some(name) = line.strip_suffix(" = {") {
                open = Some((name.to_owned(), Vec::new()));
            } else if line == "}" {
                rules.extend(open.take());
            } else if let (Some((_, fields)), Some((member, name))) = (&mut open, line.split_once(';')) {
                fields.extend(field(member.trim(), name.trim()));
            }
        }
        Self(rules)
    }

    /// A payload of this rule, by name.
    pub(crate) fn show(&self, rule: &str, payload: &[u8]) -> Json {
        let mut decoder = Decoder::new(payload);
        let shown = self.value(rule, &mut decoder);
        assert_eq!(decoder.position(), payload.len(), "{rule} has bytes left over");
        shown
    }

    fn value(&self, kind: &str, d: &mut Decoder<'_>) -> Json {
        if let Some(fields) = self.0.get(kind) {
            return self.map(fields, d);
        }
        if let Some(inner) = kind.strip_prefix("[* ").and_then(|rest| rest.strip_suffix(']')) {
            let length = d.array().unwrap().unwrap();
            return Json::List((0..length).map(|_| self.value(inner, d)).collect());
        }
        match (kind, d.datatype().unwrap()) {
            ("amount", _) => large(d.decode::<sdpp_proto::money::Amount>().unwrap()),
            (_, Type::Bytes) => hex(d.bytes().unwrap()),
            (_, Type::String) => text(d.str().unwrap()),
            (_, Type::Bool) => Json::Bool(d.bool().unwrap()),
            _ => Json::Number(d.u64().unwrap()),
        }
    }

    fn map(&self, fields: &[Field], d: &mut Decoder<'_>) -> Json {
        let length = d.map().unwrap().unwrap();
        let member = |_| {
            let key = d.u64().unwrap();
            let field = fields.iter().find(|field| field.key == key).unwrap();
            (field.name.clone(), self.value(&field.kind, d))
        };
        Json::Object((0..length).map(member).collect())
    }
}

fn field(member: &str, name: &str) -> Option<Field> {
    let (optional, member) = match member.strip_prefix("? ") {
        Some(rest) => (true, rest),
        None => (false, member),
    };
    let (key, kind) = member.split_once(" => ")?;
    let kind = kind.trim().trim_end_matches(',').to_owned();
    Some(Field { key: key.parse().ok()?, name: name.to_owned(), kind, optional })
}

/// The maps of a Rust source: every struct with `#[cbor(map)]`, by its name in the CDDL.
pub(crate) fn maps_of_source(source: &str) -> BTreeMap<String, Vec<Field>> {
    let mut maps = BTreeMap::new();
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        if line != "#[cbor(map)]" {
            continue;
        }
        let header = lines.next().unwrap();
        let name = header.split_once("struct ").unwrap().1.trim_end_matches(" {");
        let mut fields = Vec::new();
        let mut attribute = "";
        for line in lines.by_ref().map(str::trim).take_while(|line| *line != "}") {
            if line.starts_with("#[") {
                attribute = line;
            } else if let Some((name, kind)) = line.split_once(": ").filter(|_| !line.starts_with("//")) {
                let name = name.trim_start_matches("pub ");
                fields.push(rust_field(attribute, name, kind.trim_end_matches(',')));
            }
        }
        maps.insert(kebab(name), fields);
    }
    maps
}

fn rust_field(attribute: &str, name: &str, kind: &str) -> Field {
    let key = attribute.split_once("n(").unwrap().1.split_once(')').unwrap().0;
    let inner = kind.strip_prefix("Option<").and_then(|rest| rest.strip_suffix('>'));
    let optional = inner.is_some();
    let kind = match inner.unwrap_or(kind) {
        "Vec<u8>" if attribute.contains("minicbor::bytes") => "bstr".to_owned(),
        "String" => "text".to_owned(),
        array if array.starts_with("ByteArray<") => {
            let size = array.trim_start_matches("ByteArray<").trim_end_matches('>');
            format!("bstr .size {size}")
        }
        list if list.starts_with("Vec<") => {
            let one = list.trim_start_matches("Vec<").trim_end_matches('>');
            let one = if one == "String" { "text".to_owned() } else { kebab(one) };
            format!("[* {one}]")
        }
        other => kebab(other),
    };
    Field { key: key.parse().unwrap(), name: name.to_owned(), kind, optional }
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_ascii_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.push(c.to_ascii_lowercase());
    }
    out
}
