//! The report as one JSON object (RFC 8259), for programs. Amounts are strings: they have 128 bits.

use std::fmt::{Display, Write as _};

use sdpp_proto::statement::Kind;

use super::report::{Finding, Missing, Note, Party, Report, Totals, Verdict};

/// Writes one object; commas are its concern.
struct Object {
    out: String,
}

impl Object {
    const fn new() -> Self {
        Self { out: String::new() }
    }

    fn key(&mut self, key: &str) {
        self.out.push(if self.out.is_empty() { '{' } else { ',' });
        quote(&mut self.out, key);
        self.out.push(':');
    }

    fn raw(&mut self, key: &str, json: &str) {
        self.key(key);
        self.out.push_str(json);
    }

    fn number(&mut self, key: &str, number: u64) {
        self.raw(key, &number.to_string());
    }

    fn text(&mut self, key: &str, text: impl Display) {
        self.key(key);
        quote(&mut self.out, &text.to_string());
    }

    /// Leaves the key out where there is nothing.
    fn maybe(&mut self, key: &str, text: Option<impl Display>) {
        if let Some(text) = text {
            self.text(key, text);
        }
    }

    fn end(mut self) -> String {
        if self.out.is_empty() {
            self.out.push('{');
        }
        self.out.push('}');
        self.out
    }
}

fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c.is_control() => {
                // Control characters lie in the first plane: four digits are enough.
                let escaped = write!(out, "\\u{:04x}", u32::from(c));
                debug_assert!(escaped.is_ok(), "writing to memory");
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

fn finding(finding: &Finding) -> String {
    let mut object = Object::new();
    object.maybe("statement", finding.statement);
    object.maybe("kind", finding.kind.map(Kind::name));
    if let Some(position) = finding.position {
        object.number("position", position);
    }
    object.text("by", Party::name(finding.by));
    object.text("rule", finding.rule);
    object.maybe("conflicts_with", finding.conflicts_with);
    object.text("text", &finding.text);
    object.end()
}

fn missing(missing: &Missing) -> String {
    let mut object = Object::new();
    object.text("what", missing.name());
    object.text("text", missing);
    object.end()
}

fn totals(totals: &Totals) -> String {
    let mut object = Object::new();
    object.number("statements", totals.statements);
    object.number("messages", totals.messages);
    object.number("bytes", totals.bytes);
    object.number("windows", totals.windows);
    object.number("invoices", totals.invoices);
    object.number("invoices_void", totals.invoices_void);
    object.number("payments", totals.payments);
    object.text("due", totals.due);
    object.text("paid", totals.paid);
    object.text("credited", totals.credited);
    object.text("unpaid", totals.unpaid);
    object.number("forgiven", totals.forgiven);
    object.number("records", totals.records);
    object.number("digests", totals.digests);
    object.end()
}

fn note(note: &Note) -> String {
    let mut object = Object::new();
    object.text("topic", note.topic.name());
    object.maybe("statement", note.statement);
    object.text("text", &note.text);
    object.end()
}

impl Report {
    /// The report as one line of JSON. Names of keys, rules, parties and topics are stable; texts are not.
    pub fn to_json(&self) -> String {
        let mut object = Object::new();
        object.text("verdict", self.verdict.name());
        match &self.verdict {
            Verdict::Clean => {}
            Verdict::False(found) => object.raw("finding", &finding(found)),
            Verdict::Incomplete(what) => object.raw("missing", &missing(what)),
        }
        object.maybe("order", self.order);
        object.text("seller", self.seller);
        object.maybe("buyer", self.buyer);
        object.maybe("asset", self.asset.as_ref());
        object.raw("totals", &totals(&self.totals));
        let notes: Vec<String> = self.notes.iter().map(note).collect();
        object.raw("notes", &format!("[{}]", notes.join(",")));
        object.number("notes_left_out", self.notes_left_out);
        object.end()
    }
}
