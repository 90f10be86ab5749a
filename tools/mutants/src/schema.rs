//! Writes mutants into the text of a file, each behind its switch.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::{Mutant, lines, read};

/// Why it is not in the program: `{"name", "why"}`, `why` being the compiler's word or one of the next two.
pub const LEFT_OUT: &str = "left_out.jsonl";
/// Computed by the compiler: no switch is looked at.
pub const CONSTANT: &str = "constant";
/// A function that returns `impl Trait` returns one type, with or without a mutant.
pub const OPAQUE: &str = "opaque";

const SWITCH: &str = include_str!("switch.rs");
const FEATURES: &str = "#![allow(internal_features)]\n#![feature(core_intrinsics, const_eval_select)]\n";

/// Where in a file mutants go, by the place that `cargo mutants` names.
#[derive(Default)]
struct Places {
    /// An operator or a field: the expression it belongs to, and whether that has a `let` in it.
    expressions: HashMap<usize, (Range<usize>, bool)>,
    /// An arm: the end of its pattern, and its guard.
    arms: HashMap<usize, (usize, Option<Range<usize>>)>,
    /// What only the compiler computes.
    constants: Vec<Range<usize>>,
}

fn range(node: &impl Spanned) -> Range<usize> {
    node.span().byte_range()
}

fn has_let(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => has_let(&binary.left) || has_let(&binary.right),
        _ => false,
    }
}

impl<'ast> Visit<'ast> for Places {
    fn visit_expr_binary(&mut self, node: &'ast syn::ExprBinary) {
        let with_let = has_let(&node.left) || has_let(&node.right);
        self.expressions.insert(range(&node.op).start, (range(node), with_let));
        visit::visit_expr_binary(self, node);
    }

    fn visit_expr_unary(&mut self, node: &'ast syn::ExprUnary) {
        self.expressions.insert(range(&node.op).start, (range(node), false));
        visit::visit_expr_unary(self, node);
    }

    fn visit_expr_struct(&mut self, node: &'ast syn::ExprStruct) {
        for field in &node.fields {
            self.expressions.insert(range(field).start, (range(node), false));
        }
        visit::visit_expr_struct(self, node);
    }

    fn visit_arm(&mut self, node: &'ast syn::Arm) {
        let guard = node.guard.as_ref().map(|(_, guard)| range(guard.as_ref()));
        self.arms.insert(range(node).start, (range(&node.pat).end, guard));
        visit::visit_arm(self, node);
    }

    fn visit_item_const(&mut self, node: &'ast syn::ItemConst) {
        self.constants.push(range(node));
        visit::visit_item_const(self, node);
    }

    fn visit_impl_item_const(&mut self, node: &'ast syn::ImplItemConst) {
        self.constants.push(range(node));
        visit::visit_impl_item_const(self, node);
    }

    fn visit_item_static(&mut self, node: &'ast syn::ItemStatic) {
        self.constants.push(range(node));
        visit::visit_item_static(self, node);
    }
}

/// What a mutant does to a piece of text.
enum Site {
    /// Put before the text at this place.
    Before(Vec<(usize, String)>),
    /// The expression as it is, or instead of it others.
    Instead(Vec<(usize, String)>),
}

/// A file with its mutants in it, and where they stand there.
struct Written<'a> {
    text: &'a str,
    /// By start, the outer first; what is put before something is before it.
    sites: Vec<(Range<usize>, Site)>,
    next: usize,
    out: String,
    alternatives: Vec<(Range<usize>, Vec<usize>)>,
}

impl Written<'_> {
    fn copy(&mut self, until: usize, mut at: usize) {
        while let Some((place, _)) = self.sites.get(self.next)
            && place.end <= until
        {
            let (place, site) = (place.clone(), self.next);
            self.next += 1;
            self.out.push_str(&self.text[at..place.start]);
            self.write(place.clone(), site);
            at = place.end;
        }
        self.out.push_str(&self.text[at..until]);
    }

    fn write(&mut self, place: Range<usize>, site: usize) {
        let whole = self.out.len();
        match &self.sites[site].1 {
            Site::Before(texts) => {
                for (number, text) in texts {
                    let start = self.out.len();
                    self.out.push_str(text);
                    self.alternatives.push((start..self.out.len(), vec![*number]));
                }
            }
            Site::Instead(others) => {
                let others = others.clone();
                self.out.push('(');
                for (number, text) in &others {
                    self.out.push_str(&format!("if crate::mutant({number}) {{ "));
                    let start = self.out.len();
                    self.out.push_str(text);
                    self.alternatives.push((start..self.out.len(), vec![*number]));
                    self.out.push_str(" } else ");
                }
                self.out.push_str("{ ");
                self.copy(place.end, place.start);
                self.out.push_str(" })");
                let numbers = others.into_iter().map(|(number, _)| number).collect();
                self.alternatives.push((whole..self.out.len(), numbers));
            }
        }
    }
}

/// Names that a `no_std` crate may not have in every file.
fn with_paths(replacement: &str) -> String {
    let mut text = replacement.replace("vec!", "::std::vec!");
    for (name, path) in [("Vec::", "vec"), ("Box::", "boxed"), ("String::", "string")] {
        text = text.replace(name, &format!("::std::{path}::{name}"));
    }
    text
}

fn insert<'a>(text: &'a str, mutants: &[&Mutant], left_out: &mut BTreeMap<usize, String>) -> Written<'a> {
    let mut places = Places::default();
    places.visit_file(&syn::parse_file(text).expect("a file that compiles"));
    let mut sites: BTreeMap<(usize, bool, usize, bool), Site> = BTreeMap::new();
    for mutant in mutants {
        let (number, span) = (mutant.number, mutant.range(text));
        if places.constants.iter().any(|constant| constant.contains(&span.start)) {
            left_out.entry(number).or_insert_with(|| CONSTANT.into());
        }
        if mutant.genre == "FnValue" && mutant.name.split_once(" -> ").is_some_and(|(_, rest)| rest.contains("impl ")) {
            left_out.entry(number).or_insert_with(|| OPAQUE.into());
        }
        if left_out.contains_key(&number) {
            continue;
        }
        let mut before = |at: usize, text: String| {
            let site = sites.entry((at, false, 0, false)).or_insert_with(|| Site::Before(Vec::new()));
            let Site::Before(texts) = site else { unreachable!("text is put before it") };
            texts.push((number, text));
        };
        let (place, inner, other) = match mutant.genre.as_str() {
            "FnValue" => {
                before(
                    span.start,
                    format!("if crate::mutant({number}) {{ return {}; }} ", with_paths(&mutant.replacement)),
                );
                continue;
            }
            "MatchArm" => match places.arms[&span.start].clone() {
                (end, None) => {
                    before(end, format!(" if !crate::mutant({number})"));
                    continue;
                }
                (_, Some(guard)) => (guard, false, "false".into()),
            },
            "MatchArmGuard" => (span, false, mutant.replacement.clone()),
            _ => {
                let (whole, with_let) = places.expressions[&span.start].clone();
                if with_let {
                    left_out.insert(number, "no operator but && takes a let".into());
                    continue;
                }
                let other =
                    format!("{}{}{}", &text[whole.start..span.start], mutant.replacement, &text[span.end..whole.end]);
                (whole, true, other)
            }
        };
        let key = (place.start, true, usize::MAX - place.end, inner);
        let site = sites.entry(key).or_insert_with(|| Site::Instead(Vec::new()));
        let Site::Instead(others) = site else { unreachable!("an expression has others") };
        others.push((number, other));
    }
    let place = |start: usize, whole: bool, end: usize| if whole { start..usize::MAX - end } else { start..start };
    let sites = sites.into_iter().map(|((start, whole, end, _), site)| (place(start, whole, end), site)).collect();
    let mut written = Written { text, sites, next: 0, out: String::new(), alternatives: Vec::new() };
    written.copy(text.len(), 0);
    written
}

/// Writes the mutants, asks the compiler, leaves out what it refuses, and so on until it refuses nothing.
pub fn write(mutants: &[Mutant]) {
    let mut files: BTreeMap<&str, Vec<&Mutant>> = BTreeMap::new();
    mutants.iter().for_each(|mutant| files.entry(&mutant.file).or_default().push(mutant));
    let packages: BTreeSet<&str> = mutants.iter().map(|mutant| mutant.package.as_str()).collect();
    packages.iter().for_each(|package| prepare(package));
    let numbers: HashMap<&str, usize> = mutants.iter().map(|mutant| (mutant.name.as_str(), mutant.number)).collect();
    let mut left_out = BTreeMap::new();
    for line in lines(LEFT_OUT) {
        let text = |key: &str| line[key].as_str().unwrap_or_default();
        numbers.get(text("name")).map(|number| left_out.insert(*number, text("why").to_owned()));
    }
    loop {
        let mut alternatives = HashMap::new();
        for (file, mutants) in &files {
            let text = read(Path::new("plain").join(file));
            let written = insert(&text, mutants, &mut left_out);
            let target = Path::new("tree").join(file);
            if read(&target) != written.out {
                fs::write(target, &written.out).expect("the copy can be written");
            }
            alternatives.insert(*file, written.alternatives);
        }
        let refused = refused(&packages, &alternatives);
        println!("{} left out, {} more are refused", left_out.len(), refused.len());
        let done = refused.is_empty();
        left_out.extend(refused);
        let line =
            |(number, why): (&usize, &String)| json!({"name": mutants[*number].name, "why": why}).to_string() + "\n";
        fs::write(LEFT_OUT, left_out.iter().map(line).collect::<String>()).expect("the list can be written");
        if done {
            return;
        }
    }
}

/// The switch and what it needs of the compiler.
fn prepare(package: &str) {
    let source = Path::new("tree/crates").join(package).join("src");
    fs::write(source.join("mutant.rs"), SWITCH).expect("the copy can be written");
    let plain = read(Path::new("plain/crates").join(package).join("src/lib.rs"));
    let plain = plain.replace("#[cfg(test)]\nextern crate std;\n", "");
    let whole = format!(
        "{FEATURES}{plain}\n#[allow(unused_extern_crates)]\nextern crate std;\nmod mutant;\npub(crate) use mutant::mutant;\n"
    );
    if read(source.join("lib.rs")) != whole {
        fs::write(source.join("lib.rs"), whole).expect("the copy can be written");
    }
}

/// The mutants in which the compiler finds errors, with the first words of the error.
fn refused(
    packages: &BTreeSet<&str>,
    alternatives: &HashMap<&str, Vec<(Range<usize>, Vec<usize>)>>,
) -> BTreeMap<usize, String> {
    let mut cargo = Command::new("cargo");
    cargo.args(["check", "--lib", "--keep-going", "--all-features", "--message-format=json"]).current_dir("tree");
    cargo.args(packages.iter().flat_map(|package| ["-p", package]));
    let output = cargo.stderr(std::process::Stdio::null()).output().expect("cargo runs");
    let (mut refused, mut unexplained) = (BTreeMap::new(), Vec::new());
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(value) = serde_json::from_str::<Value>(line) else { continue };
        let message = &value["message"];
        if message["level"] != "error" {
            continue;
        }
        let spans = message["spans"].as_array().into_iter().flatten();
        let mut spans: Vec<&Value> = spans.collect();
        spans.sort_by_key(|span| span["is_primary"] != true);
        let word = |key: &str| message[key].as_str().unwrap_or_default();
        let why = format!("{} {}", message["code"]["code"].as_str().unwrap_or_default(), word("message"));
        match spans.into_iter().find_map(|span| culprit(span, alternatives)) {
            Some(numbers) => refused.extend(numbers.iter().map(|number| (*number, why.clone()))),
            None if word("message").starts_with("aborting") => (),
            None => unexplained.push(word("rendered").to_owned()),
        }
    }
    if refused.is_empty() && (!unexplained.is_empty() || !output.status.success()) {
        let _ = OpenOptions::new()
            .append(true)
            .create(true)
            .open("errors.txt")
            .and_then(|mut file| unexplained.iter().try_for_each(|text| file.write_all(text.as_bytes())));
        panic!("the copy does not compile, and it is no mutant's fault:\n{}", unexplained.join("\n"));
    }
    refused
}

/// The innermost mutants around a place; of a macro's text, around the place where it is used.
fn culprit<'a>(
    mut span: &Value,
    alternatives: &'a HashMap<&str, Vec<(Range<usize>, Vec<usize>)>>,
) -> Option<&'a Vec<usize>> {
    while span["expansion"]["span"].is_object() {
        span = &span["expansion"]["span"];
    }
    let all = alternatives.get(span["file_name"].as_str()?)?;
    let (start, end) = (span["byte_start"].as_u64()? as usize, span["byte_end"].as_u64()? as usize);
    let around = all.iter().filter(|(place, _)| place.start <= start && end <= place.end);
    around.min_by_key(|(place, _)| place.len()).map(|(_, numbers)| numbers)
}
