//! Every rule catches what it is for, and leaves alone what it should.

use crate::budgets;
use crate::house::{House, Problem};
use crate::{manifests, planted, points, spec, words};

/// Where the problems are, as `path:line`.
fn places(problems: &[Problem]) -> Vec<String> {
    let full = problems.iter().map(ToString::to_string);
    full.map(|text| text.splitn(3, ':').take(2).collect::<Vec<_>>().join(":")).collect()
}

/// A function whose `fn` and closing brace are `lines` lines apart, both counted.
fn function(name: &str, lines: usize) -> String {
    format!("fn {name}() {{\n{}}}\n", "    step();\n".repeat(lines.saturating_sub(2)))
}

#[test]
fn a_function_over_the_limit_is_caught_in_tests_too() {
    let long = function("long", 71);
    let test = format!("#[cfg(test)]\nmod tests {{\n    #[test]\n    {}}}\n", function("long", 71));
    let just = function("just", 70);
    let short: String = (0..40).map(|n| function(&format!("short_{n}"), 5)).collect();
    let house = House::of(&[("long.rs", &long), ("test.rs", &test), ("just.rs", &just), ("short.rs", &short)]);
    assert_eq!(places(&budgets::function_lines(&house)), ["long.rs:1", "test.rs:4"]);
}

#[test]
fn more_than_one_long_function_in_twenty_is_caught() {
    let short: String = (0..19).map(|n| function(&format!("short_{n}"), 49)).collect();
    let long = function("long", 50);
    let house = House::of(&[("short.rs", &short), ("a.rs", &long), ("tests/t.rs", &long)]);
    assert!(places(&budgets::function_lines(&house)).is_empty(), "one in twenty may be long, tests do not count");
    let house = House::of(&[("short.rs", &short), ("a.rs", &long), ("b.rs", &long)]);
    assert_eq!(places(&budgets::function_lines(&house)), ["a.rs:1", "b.rs:1"]);
}

#[test]
fn long_files_are_caught() {
    let (huge, long) = ("//\n".repeat(1_001), "//\n".repeat(601));
    let house = House::of(&[("huge.rs", &huge), ("huge.md", &huge)]);
    assert_eq!(places(&budgets::file_lines(&house)), ["huge.rs:1001"]);
    let names: Vec<String> = (0..9).map(|n| format!("{n}.rs")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), long.as_str())).collect();
    assert_eq!(budgets::file_lines(&House::of(&files)).len(), 9);
    assert!(budgets::file_lines(&House::of(&files[1..])).is_empty());
}

#[test]
fn six_parameters_are_caught_except_for_foreign_traits() {
    let six = "a: u8, b: u8, c: u8, d: u8, e: u8, f: u8";
    let text = format!(
        "trait Ours {{\n    fn ours({six});\n}}\nimpl Ours for T {{\n    fn ours({six}) {{}}\n}}\n\
         impl Theirs for T {{\n    fn theirs({six}) {{}}\n}}\nimpl T {{\n    fn five(&self, a: u8, b: u8, c: u8, d: u8, e: u8) {{}}\n}}\n"
    );
    let house = House::of(&[("a.rs", &text)]);
    assert_eq!(places(&budgets::parameters(&house)), ["a.rs:2", "a.rs:5"]);
}

#[test]
fn sixteen_fields_are_caught_except_on_the_wire() {
    let fields = |count: usize| (0..count).map(|n| format!("f{n}: u8, ")).collect::<String>();
    let text = format!(
        "struct Sixteen {{ {} }}\nstruct Fifteen {{ {} }}\n#[derive(Encode)]\nstruct Wire {{ {} }}\n\
         #[derive(minicbor::Encode)]\nstruct Wider {{ {} }}\n",
        fields(16),
        fields(15),
        fields(24),
        fields(25)
    );
    assert_eq!(places(&budgets::fields(&House::of(&[("a.rs", &text)]))), ["a.rs:1", "a.rs:6"]);
}

#[test]
fn a_fourth_feature_is_caught() {
    let manifest = "[features]\ndefault = [\"a\"]\na = []\nb = [\n    \"x\",\n]\nc = []\nd = []\n";
    let house = House::of(&[("crates/x/Cargo.toml", manifest), ("crates/x/src/lib.rs", "")]);
    assert_eq!(places(&manifests::features(&house)), ["crates/x/Cargo.toml:8"]);
}

#[test]
fn arrows_that_point_up_are_caught() {
    let proto = "[dependencies]\nsdpp-rail.workspace = true\n[dev-dependencies]\nsdpp-sim.workspace = true\n";
    let ledger = "[target.'cfg(unix)'.dependencies]\nrail = { package = \"sdpp-rail\" }\nup = { package = \"sdpp\" }\n";
    let sdpp = "[dependencies.sdpp-ledger]\npath = \"x\"\n[dependencies.sdpp-rail]\npath = \"x\"\n";
    let house = House::of(&[
        ("crates/sdpp-proto/Cargo.toml", proto),
        ("crates/sdpp-rail/Cargo.toml", "[dependencies]\nsdpp-proto = { path = \"x\" }\n"),
        ("crates/sdpp-ledger/Cargo.toml", ledger),
        ("crates/sdpp/Cargo.toml", sdpp),
        ("crates/sdpp-cli/Cargo.toml", "[dependencies]\nsdpp = {}\nsdpp-sim = {}\n"),
        ("crates/sdpp-sim/Cargo.toml", "[dependencies]\nsdpp = {}\nsdpp-cli = {}\n"),
        ("crates/sdpp-new/Cargo.toml", ""),
    ]);
    let found = places(&manifests::arrows(&house));
    let expected = [("proto", 2), ("ledger", 3), ("", 2), ("sim", 3), ("new", 1)];
    let expected = expected.map(|(name, line)| match name {
        "" => format!("crates/sdpp/Cargo.toml:{line}"),
        name => format!("crates/sdpp-{name}/Cargo.toml:{line}"),
    });
    assert_eq!(found, expected);
}

#[test]
fn std_in_the_core_is_caught() {
    let proto = ("crates/sdpp-proto/src/lib.rs", "//! Pure.\n#![no_std]\n");
    let log = ("crates/sdpp-log/src/lib.rs", "//! Not #![no_std]\n");
    let house = House::of(&[proto, log]);
    assert_eq!(places(&manifests::no_std(&house)), ["crates/sdpp-log/src/lib.rs:1"]);
    assert_eq!(places(&manifests::limits(&house)), ["crates/sdpp-proto/src/limits.rs:1"]);
}

#[test]
fn words_are_caught() {
    let text = [
        concat!("fn a() { to", "do!() }"),
        concat!("// FIX", "ME later"),
        "// a word like PREFIXXXES is none",
        concat!("#[ig", "nore = \"slow\"]"),
        concat!("#[ig", "nore = \"set SDPP_SLOW=1\"]"),
    ]
    .join("\n");
    let path = ["", "root", "x"].join("/");
    let house = House::of(&[("a.rs", &text), ("a.md", &path)]);
    assert_eq!(places(&words::leftovers(&house)), ["a.rs:1", "a.rs:2"]);
    assert_eq!(places(&words::ignored(&house)), ["a.rs:4"]);
    assert_eq!(places(&words::machine_paths(&house)), ["a.md:1"]);
}

#[test]
fn allows_without_a_reason_are_caught() {
    let text = "#![allow(a)]\n#[allow(b)] // because\nfn b() {}\n#[allow(\n    c,\n    reason = \"why\"\n)]\nfn c() {}\n\
                #[cfg(not(test))]\nmod d {\n    #[allow(d)]\n    fn d() {}\n}\n#[cfg(test)]\nmod tests {\n    #[allow(e)]\n    fn e() {}\n}\n";
    let house = House::of(&[("a.rs", text), ("tests/t.rs", "#![allow(a)]\n")]);
    assert_eq!(places(&words::allows(&house)), ["a.rs:1", "a.rs:11"]);
}

#[test]
fn spec_rules_without_offence_or_test_are_caught() {
    let spec = "\
| **[F-01]** | MUST | `Offence::TooLong` | `test: long_is_refused` |
**[F-02]** MUST `Offence::TooLong`
**[F-03]** MUST `test: long_is_refused`
**[F-04]** MUST `Offence::Unknown` `test: long_is_refused`
**[F-05]** MUST `Offence::TooLong` `test: nobody_wrote_it`
**[F-6]** MUST `Offence::Sized` `test: frame::long_is_refused`
**[F-01]** MUST `Offence::Sized` `test: long_is_refused`
A reference to [F-01] is free.
";
    let offences = "pub enum Offence {\n    /// Unknown\n    Sized { bytes: u64 },\n    TooLong,\n}\nstruct Unknown;\n";
    let house = House::of(&[
        ("spec/protocol.md", spec),
        ("crates/sdpp-proto/src/offence.rs", offences),
        ("crates/sdpp-proto/tests/frames.rs", "#[test]\nfn long_is_refused() {}\n"),
    ]);
    let expected = [2, 3, 4, 5, 6, 7].map(|line| format!("spec/protocol.md:{line}"));
    assert_eq!(places(&spec::check(&house)), expected);
}

#[test]
fn a_stale_patch_and_one_without_headers_are_caught() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let diff = "diff --git a/gone.rs b/gone.rs\ncheck: too late\n";
    let house = House::of(&[("tools/planted/00-gone.patch", diff)]);
    let stale = "tools/planted/00-gone.patch:1";
    assert_eq!(places(&planted::patches(&house, &root)), [stale, stale, stale, "tools/planted:0"]);
    let file = &House::of(&[("a.patch", "What it is.\ncheck: true\nexpects: a word\n\ndiff --git a/x b/x\n")]).files[0];
    assert!(planted::headers(file).is_empty());
}

#[test]
fn a_durable_write_without_a_failpoint_is_caught() {
    let text = "fn bare(store: &mut S) {\n    store.flush();\n}\nfn pointed(file: F) {\n    failpoint::before(Deed::File);\n    \
                file.sync_all();\n}\n#[cfg(test)]\nmod tests {\n    fn test(store: &mut S) {\n        store.flush();\n    }\n}\n";
    let elsewhere = ("crates/sdpp-sim/src/a.rs", text);
    let house = House::of(&[("crates/sdpp/src/a.rs", text), elsewhere]);
    assert_eq!(places(&points::missing(&house)), ["crates/sdpp/src/a.rs:2"]);
}
