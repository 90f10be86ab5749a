//! Clear frames and control items, and what is neither.

use sdpp_proto::codec::{self, Bytes32, StatementId};
use sdpp_proto::frame::{FrameHeader, FrameKind, write_clear};
use sdpp_proto::limits;
use sdpp_proto::offence::Offence;
use sdpp_proto::statement::Kind;
use sdpp_proto::wire::{Ask, AskQuote, Control, Hello, error_body, read_controls};

use crate::AnyProvider;
use crate::cddl::Cddl;
use crate::json::{Json, hex, large, list, object, text};

const KINDS: [(FrameKind, &str); 8] = [
    (FrameKind::Hello, "hello"),
    (FrameKind::Menu, "menu"),
    (FrameKind::Ask, "ask"),
    (FrameKind::Answer, "answer"),
    (FrameKind::Order, "order"),
    (FrameKind::Session, "session"),
    (FrameKind::Sealed, "sealed"),
    (FrameKind::Error, "error"),
];

/// A frame's name by its kind.
pub(crate) fn name(kind: FrameKind) -> &'static str {
    KINDS.iter().find(|(known, _)| *known == kind).unwrap().1
}

pub(crate) fn all(_: AnyProvider) -> Json {
    let headers = KINDS.map(|(kind, name)| {
        let max = kind.body_max();
        let header = |body_len| FrameHeader { kind, body_len, counter: 0 }.to_bytes();
        assert_eq!(FrameHeader::peek(&header(max)), Ok(Some(FrameHeader { kind, body_len: max, counter: 0 })));
        assert_eq!(FrameHeader::peek(&header(max + 1)), Err(Offence::FrameTooLong));
        object([
            ("type", text(name)),
            ("code", Json::Number(kind.code().into())),
            ("body_max", large(max)),
            ("longest", hex(header(max))),
            ("too_long", hex(header(max + 1))),
        ])
    });
    object([
        ("types", list(headers)),
        ("clear", clear()),
        ("refused_headers", refused_headers()),
        ("control", control()),
        ("refused_control", refused_control()),
    ])
}

fn clear() -> Json {
    let hello = Hello { versions: vec![2], suites: vec![2, 1], nonce: Bytes32([0x42; 32]) };
    let sample = Ask { product: 1, quote: None };
    let quote = Ask { product: 1, quote: Some(AskQuote { option: 2, quantity: 1_000_000 }) };
    let cases = [
        (FrameKind::Hello, "hello", codec::encode(&hello)),
        (FrameKind::Ask, "ask", codec::encode(&sample)),
        (FrameKind::Ask, "ask", codec::encode(&quote)),
    ];
    let shown = cases.map(|(kind, rule, body)| {
        let fields = Cddl::read().show(rule, &body);
        clear_frame(kind, fields, &body)
    });
    let error = error_body(Offence::BadHello.code());
    list(shown.into_iter().chain([clear_frame(FrameKind::Error, Json::Number(110), &error)]))
}

fn clear_frame(kind: FrameKind, fields: Json, body: &[u8]) -> Json {
    let mut frame = Vec::new();
    write_clear(&mut frame, kind, body);
    let header = FrameHeader::peek(&frame).unwrap().unwrap();
    assert_eq!((header.kind, header.frame_len(), header.counter), (kind, frame.len(), 0));
    object([("type", text(name(kind))), ("fields", fields), ("frame", hex(&frame))])
}

fn refused_headers() -> Json {
    let unknown = [0, 9, 255].map(|code| {
        let header = [0, 0, 0, 0, code];
        assert_eq!(FrameHeader::peek(&header), Err(Offence::UnknownFrame));
        object([("header", hex(header)), ("code", Json::Number(Offence::UnknownFrame.code().into()))])
    });
    let long = [0xff, 0xff, 0xff, 0xff, 7];
    assert_eq!(FrameHeader::peek(&long), Err(Offence::FrameTooLong));
    let long = object([("header", hex(long)), ("code", Json::Number(Offence::FrameTooLong.code().into()))]);
    list(unknown.into_iter().chain([long]))
}

fn control() -> Json {
    let record = Bytes32([0x0c; 32]);
    let item = |control: Control<'_>, fields: Json| {
        let mut bytes = Vec::new();
        control.write(&mut bytes);
        assert_eq!(read_controls(&bytes), Ok(vec![control]));
        object([("item", fields), ("bytes", hex(&bytes))])
    };
    let envelope = |kind, statement, verification: Option<Bytes32>| {
        let shown = verification.map_or(Json::Null, |record| hex(record.0));
        let code = codec::encode(&kind)[0];
        let fields = list([Json::Number(code.into()), hex(statement), shown]);
        item(Control::Statement { kind, statement, verification }, fields)
    };
    let recorded = Control::Recorded { statement: StatementId([0x0a; 32]), record };
    let mut items: Vec<Json> = Kind::ALL.iter().map(|kind| envelope(*kind, b"statement", None)).collect();
    items.push(envelope(Kind::Invoice, b"statement", Some(record)));
    items.extend([
        item(Control::Cut(0), list([Json::Number(32), Json::Number(0)])),
        item(Control::Cut(65_536), list([Json::Number(32), Json::Number(65_536)])),
        item(Control::Exit, list([Json::Number(33)])),
        item(Control::Error(164), list([Json::Number(34), Json::Number(164)])),
        item(recorded, list([Json::Number(35), hex([0x0a; 32]), hex(record.0)])),
    ]);
    list(items)
}

fn refused_control() -> Json {
    let mut many = Vec::new();
    (0..=limits::CONTROL_ITEMS_MAX).for_each(|_| Control::Exit.write(&mut many));
    let cases: [(&str, Vec<u8>); 10] = [
        ("an empty array", vec![0x80]),
        ("no array", vec![0x18, 0x21]),
        ("an array of indefinite length", vec![0x9f, 0x18, 0x21, 0xff]),
        ("an error without its code", vec![0x81, 0x18, 0x22]),
        ("a kind that does not exist", vec![0x82, 0x0e, 0x40]),
        ("a control code that does not exist", vec![0x81, 0x18, 0x24]),
        ("an integer longer than needed", vec![0x82, 0x18, 0x20, 0x18, 0x01]),
        ("a record of 31 bytes", [&[0x83, 0x05, 0x40, 0x58, 31][..], &[0; 31]].concat()),
        ("cut off", vec![0x82, 0x05, 0x42, 0x00]),
        ("one item too many", many),
    ];
    list(cases.map(|(why, bytes)| {
        assert_eq!(read_controls(&bytes), Err(Offence::BadControl), "{why}");
        object([("why", text(why)), ("bytes", hex(&bytes))])
    }))
}
