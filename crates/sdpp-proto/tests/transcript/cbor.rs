//! CBOR as a tree that can be changed in one place, and the maps of `spec/sdpp.cddl`: what the middle needs to
//! change exactly one field of anything that travels.

use std::collections::BTreeMap;

use minicbor::data::{Tag, Type};
use minicbor::{Decoder, Encoder};

/// A value of the wire.
#[derive(Clone, PartialEq, Debug)]
pub enum Value {
    Number(u64),
    Negative(i64),
    Bytes(Vec<u8>),
    Text(String),
    Bool(bool),
    List(Vec<Self>),
    Map(Vec<(u64, Self)>),
    Tagged(u64, Box<Self>),
}

impl Value {
    pub fn read(bytes: &[u8]) -> Self {
        let mut d = Decoder::new(bytes);
        let value = Self::one(&mut d);
        assert_eq!(d.position(), bytes.len(), "bytes are left over");
        value
    }

    fn one(d: &mut Decoder<'_>) -> Self {
        match d.datatype().unwrap() {
            Type::Bytes => Self::Bytes(d.bytes().unwrap().to_vec()),
            Type::String => Self::Text(d.str().unwrap().to_owned()),
            Type::Bool => Self::Bool(d.bool().unwrap()),
            Type::Array => {
                let length = d.array().unwrap().unwrap();
                Self::List((0..length).map(|_| Self::one(d)).collect())
            }
            Type::Map => {
                let length = d.map().unwrap().unwrap();
                Self::Map((0..length).map(|_| (d.u64().unwrap(), Self::one(d))).collect())
            }
            Type::Tag => {
                let tag = d.tag().unwrap().as_u64();
                Self::Tagged(tag, Box::new(Self::one(d)))
            }
            Type::I8 | Type::I16 | Type::I32 | Type::I64 => Self::Negative(d.i64().unwrap()),
            _ => Self::Number(d.u64().unwrap()),
        }
    }

    pub fn write(&self) -> Vec<u8> {
        let mut e = Encoder::new(Vec::new());
        self.put(&mut e);
        e.into_writer()
    }

    fn put(&self, e: &mut Encoder<Vec<u8>>) {
        match self {
            Self::Number(number) => drop(e.u64(*number).unwrap()),
            Self::Negative(number) => drop(e.i64(*number).unwrap()),
            Self::Bytes(bytes) => drop(e.bytes(bytes).unwrap()),
            Self::Text(text) => drop(e.str(text).unwrap()),
            Self::Bool(value) => drop(e.bool(*value).unwrap()),
            Self::List(list) => {
                e.array(list.len() as u64).unwrap();
                list.iter().for_each(|value| value.put(e));
            }
            Self::Map(map) => {
                e.map(map.len() as u64).unwrap();
                for (key, value) in map {
                    e.u64(*key).unwrap();
                    value.put(e);
                }
            }
            Self::Tagged(tag, value) => {
                e.tag(Tag::new(*tag)).unwrap();
                value.put(e);
            }
        }
    }

    /// The member of a map.
    pub fn member(&mut self, key: u64) -> Option<&mut Self> {
        let Self::Map(map) = self else { panic!("not a map: {self:?}") };
        map.iter_mut().find(|(at, _)| *at == key).map(|(_, value)| value)
    }

    pub fn bytes(&mut self) -> &mut Vec<u8> {
        let Self::Bytes(bytes) = self else { panic!("not bytes: {self:?}") };
        bytes
    }

    /// The map at the end of all steps but the last, and the last key.
    fn parent(&mut self, path: &[u64]) -> (&mut Vec<(u64, Self)>, u64) {
        let (last, before) = path.split_last().unwrap();
        let mut at = self;
        for key in before {
            at = at.member(*key).unwrap();
            // Of a list the first one stands for all.
            if let Self::List(list) = at {
                at = list.first_mut().unwrap();
            }
        }
        let Self::Map(map) = at else { panic!("not a map: {at:?}") };
        (map, *last)
    }

    /// Leaves one field out.
    pub fn without(&self, path: &[u64]) -> Self {
        let mut left = self.clone();
        let (map, key) = left.parent(path);
        map.retain(|(at, _)| *at != key);
        left
    }

    /// Changes one field and nothing else; one that is not there is put there.
    pub fn with_other(&self, field: &Field) -> Self {
        let mut changed = self.clone();
        let (map, key) = changed.parent(&field.path);
        match map.iter_mut().find(|(at, _)| *at == key) {
            Some((_, value)) => *value = value.other(),
            None => {
                map.push((key, fresh(&field.kind)));
                map.sort_by_key(|(key, _)| *key);
            }
        }
        changed
    }

    /// Another value of the same type.
    fn other(&self) -> Self {
        match self {
            Self::Number(0) => Self::Number(1),
            Self::Number(number) => Self::Number(number - 1),
            Self::Negative(number) => Self::Negative(number - 1),
            Self::Bool(value) => Self::Bool(!value),
            Self::Text(text) => Self::Text(format!("{text}x")),
            Self::Bytes(bytes) => {
                let mut bytes = bytes.clone();
                match bytes.last_mut() {
                    Some(last) => *last ^= 1,
                    None => bytes.push(1),
                }
                Self::Bytes(bytes)
            }
            Self::List(list) => Self::List(list.iter().chain(list.last()).cloned().collect()),
            // One of its members stands for it.
            Self::Map(map) => {
                let mut map = map.clone();
                if let Some((_, value)) = map.first_mut() {
                    *value = value.other();
                }
                Self::Map(map)
            }
            Self::Tagged(..) => panic!("a statement is changed by its parts"),
        }
    }
}

/// A value for a field that was left out.
fn fresh(kind: &str) -> Value {
    match kind {
        "u8" | "u16" | "u32" | "u64" | "amount" | "timestamp" => Value::Number(1),
        "text" => Value::Text("x".to_owned()),
        "forgiven" => Value::Map(vec![(1, Value::Number(0)), (2, Value::Number(0)), (4, Value::Number(0))]),
        "ask-quote" => Value::Map(vec![(1, Value::Number(1)), (2, Value::Number(1))]),
        _ => Value::Bytes(vec![7; 32]),
    }
}

/// A field of a structure, and where it stands in the structure that was asked for.
#[derive(Clone, Debug)]
pub struct Field {
    /// Structure and field as the CDDL names them: `order.limit`.
    pub name: String,
    pub kind: String,
    /// Keys from the outermost map to it.
    pub path: Vec<u64>,
    /// It is a map of its own, or a list of such: it changes when one of its members does.
    pub has_members: bool,
}

type Maps = BTreeMap<String, Vec<(u64, String, String)>>;

/// The maps of the CDDL: key, name and kind of each member.
fn maps() -> Maps {
    let source = include_str!("../../../../spec/sdpp.cddl");
    let mut maps = Maps::new();
    let mut open: Option<(String, Vec<_>)> = None;
    for line in source.lines() {
        if let Some(name) = line.strip_suffix(" = {") {
            open = Some((name.to_owned(), Vec::new()));
        } else if line == "}" {
            maps.extend(open.take());
        } else if let (Some((_, members)), Some((member, name))) = (&mut open, line.split_once(';')) {
            let member = member.trim().trim_start_matches("? ").trim_end_matches(',');
            let (key, kind) = member.split_once(" => ").unwrap();
            members.push((key.parse().unwrap(), name.trim().to_owned(), kind.trim_end_matches(',').to_owned()));
        }
    }
    maps
}

/// All fields of a structure, those of the structures in it too.
pub fn fields(root: &str) -> Vec<Field> {
    let mut found = Vec::new();
    collect(&maps(), root, &[], &mut found);
    assert!(!found.is_empty(), "the CDDL has no map {root}");
    found
}

fn collect(maps: &Maps, name: &str, path: &[u64], found: &mut Vec<Field>) {
    for (key, member, kind) in maps.get(name).into_iter().flatten() {
        let path: Vec<u64> = path.iter().copied().chain([*key]).collect();
        let inner = kind.trim_start_matches("[* ").trim_end_matches(']');
        let has_members = maps.contains_key(inner);
        let field = Field { name: format!("{name}.{member}"), kind: kind.clone(), path: path.clone(), has_members };
        found.push(field);
        collect(maps, inner, &path, found);
    }
}
