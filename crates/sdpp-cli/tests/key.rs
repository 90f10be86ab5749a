//! `sdpp key`, as people use it: the real program and real files, and a real ledger to tell.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "ledger/kit.rs"]
mod kit;

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use kit::{Folder, Served, stderr, text};
use sdpp_proto::statement::{KeyNotice, RevokeReason};
use serde_json::Value;

const PASSPHRASE: &str = "correct horse battery";
const OTHER: &str = "staple of the other kind";

/// The program with these variables and nobody at the keyboard.
fn run_with(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
    command.args(args).arg("--home").arg(home).stdin(Stdio::null());
    for name in ["HOME", "KEY", "LOG", "PASSPHRASE", "PASSPHRASE_FILE", "NEW_PASSPHRASE", "NEW_PASSPHRASE_FILE"] {
        command.env_remove(format!("SDPP_{name}"));
    }
    let output = command.envs(variables.iter().copied()).output().expect("the program starts");
    for said in [&output.stdout, &output.stderr] {
        let said = String::from_utf8_lossy(said);
        assert!(!said.contains(PASSPHRASE) && !said.contains(OTHER), "{args:?} tells a passphrase: {said}");
        assert!(!seeds(home).iter().any(|seed| said.contains(seed)), "{args:?} tells a key: {said}");
    }
    output
}

fn line_with(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> Value {
    let output = run_with(home, args, variables);
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{args:?}: {error}: {output:?}"))
}

fn line(home: &Path, args: &[&str]) -> Value {
    line_with(home, args, &[])
}

fn refused_with(home: &Path, args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = run_with(home, args, variables);
    assert_eq!(output.status.code(), Some(1), "{args:?}: {}", stderr(&output));
    assert!(output.stdout.is_empty(), "{output:?}");
    stderr(&output)
}

fn refused(home: &Path, args: &[&str]) -> String {
    refused_with(home, args, &[])
}

/// All files of a home.
fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.map(|entry| entry.unwrap().path()) {
        if entry.is_dir() { found.extend(files(&entry)) } else { found.push(entry) }
    }
    found.sort();
    found
}

/// All secrets that lie in a home in clear.
fn seeds(home: &Path) -> Vec<String> {
    let texts = files(home).into_iter().filter_map(|path| std::fs::read_to_string(path).ok());
    texts.filter_map(|text| Some(text.strip_prefix("SDPP-SECRET-KEY-1 ")?.trim_end().to_owned())).collect()
}

fn seller_file(home: &Path, name: &str) -> PathBuf {
    home.join("seller").join(name)
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn seller(home: &Path, variables: &[(&str, &str)]) -> String {
    text(&line_with(home, &["key", "show", "--role", "seller"], variables)["key"]).to_owned()
}

#[test]
fn a_key_is_shown_with_its_address_and_code() {
    let folder = Folder::new("key-show");
    let home = folder.path("home");
    let output = run_with(&home, &["key", "show"], &[]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(stderr(&output).contains("no keys"), "{output:?}");
    assert!(!home.exists(), "looking makes nothing");

    let shown = line(&home, &["key", "show", "--role", "seller"]);
    let key = text(&shown["key"]);
    assert!(key.starts_with("z6Mk"), "{key}");
    assert_eq!(text(&shown["did"]), format!("did:key:{key}"));
    assert_eq!(text(&shown["file"]), seller_file(&home, "key").display().to_string());
    assert_eq!((&shown["passphrase"], &shown["qr"]), (&Value::from(false), &Value::Null));
    assert_eq!(line(&home, &["key", "show"]), shown, "the only role that has one");

    let address = ["key", "show", "--role", "seller", "--qr", "--uri", "data.example.org:7411/weather"];
    let shown = line(&home, &address);
    assert_eq!(text(&shown["uri"]), format!("sdpp://{key}@data.example.org:7411/weather"));
    let rows = shown["qr"].as_array().unwrap();
    let width = text(&rows[0]).chars().count();
    assert_eq!(rows.len(), width.div_ceil(2), "two modules in a character");
    assert!(rows.iter().all(|row| text(row).chars().all(|c| " ▀▄█".contains(c))));
    // The corner of every code: a dark frame of seven modules, behind four light ones.
    assert!(text(&rows[2]).starts_with("    █▀▀▀▀▀█ "), "{}", text(&rows[2]));
    assert_ne!(line(&home, &address[..5])["qr"], shown["qr"], "of the key alone");
    let wrong = run_with(&home, &["key", "show", "--role", "seller", "--uri", "nowhere"], &[]);
    assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
}

#[test]
fn a_passphrase_locks_a_key_and_leaves_nothing_in_clear() {
    let folder = Folder::new("key-lock");
    let home = folder.path("home");
    let key = seller(&home, &[]);
    let path = seller_file(&home, "key");
    let clear = read(&path);
    let old = path.metadata().unwrap().ino();
    let lock = ["key", "passphrase", "--role", "seller"];
    assert!(refused(&home, &lock).contains("SDPP_PASSPHRASE_FILE"), "nobody is there to type");
    assert!(refused_with(&home, &lock, &[("SDPP_PASSPHRASE", "short")]).contains("at least"));
    assert_eq!(read(&path), clear, "nothing was changed");

    assert_eq!(line_with(&home, &lock, &[("SDPP_PASSPHRASE", PASSPHRASE)])["passphrase"], true);
    let locked = read(&path);
    assert!(locked.starts_with(&format!("SDPP-SECRET-KEY-2 {key} argon2id m=65536,t=3,p=4 ")), "{locked}");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_ne!(path.metadata().unwrap().ino(), old, "replaced, not written over");
    assert!(seeds(&home).is_empty());
    assert_eq!(files(&home), std::slice::from_ref(&path), "no other file is left over");

    // Who it is needs no passphrase; what signs does.
    let shown = line(&home, &["key", "show", "--role", "seller"]);
    assert_eq!((text(&shown["key"]), &shown["passphrase"]), (key.as_str(), &Value::from(true)));
    let account = ["ledger", "key", "--as", "seller"];
    let said = refused(&home, &account);
    assert!(said.contains("has a passphrase") && said.contains("SDPP_PASSPHRASE_FILE"), "{said}");
    let said = refused_with(&home, &account, &[("SDPP_PASSPHRASE", OTHER)]);
    assert!(said.contains("the passphrase is wrong") && said.contains("seller/key"), "{said}");
    let right = [("SDPP_PASSPHRASE", PASSPHRASE)];
    assert_eq!(text(&line_with(&home, &account, &right)["account"]), key);
    let credential = folder.path("credential");
    std::fs::write(&credential, format!("{PASSPHRASE}\n")).unwrap();
    let by_file = folder.text("credential");
    assert_eq!(text(&line_with(&home, &account, &[("SDPP_PASSPHRASE_FILE", &by_file)])["account"]), key);
    let nowhere = folder.text("nowhere");
    let said = refused_with(&home, &account, &[("SDPP_PASSPHRASE_FILE", &nowhere)]);
    assert!(said.contains("SDPP_PASSPHRASE_FILE") && said.contains("nowhere"), "{said}");

    // Another one, and none.
    let said = refused_with(&home, &lock, &right);
    assert!(said.contains("SDPP_NEW_PASSPHRASE"), "{said}");
    line_with(&home, &lock, &[right[0], ("SDPP_NEW_PASSPHRASE", OTHER)]);
    assert_ne!(read(&path), locked);
    assert!(refused_with(&home, &account, &right).contains("passphrase is wrong"));
    let other = [("SDPP_PASSPHRASE", OTHER)];
    assert_eq!(text(&line_with(&home, &account, &other)["account"]), key);
    let remove = ["key", "passphrase", "--role", "seller", "--remove"];
    assert!(refused_with(&home, &remove, &right).contains("passphrase is wrong"));
    line_with(&home, &remove, &other);
    assert_eq!(read(&path), clear);

    // One changed digit of the file is noticed.
    line_with(&home, &lock, &right);
    let locked = read(&path);
    let flipped = if locked.contains("t=3") { locked.replace("t=3", "t=2") } else { panic!("{locked}") };
    std::fs::write(&path, flipped).unwrap();
    assert!(refused_with(&home, &account, &right).contains("was changed"));
}

#[test]
fn a_key_that_is_made_with_a_passphrase_at_hand_is_never_in_clear() {
    let folder = Folder::new("key-born-locked");
    let home = folder.path("home");
    let right = [("SDPP_PASSPHRASE", PASSPHRASE)];
    let key = seller(&home, &right);
    assert!(read(seller_file(&home, "key")).starts_with("SDPP-SECRET-KEY-2 "));
    assert_eq!(text(&line_with(&home, &["ledger", "key", "--as", "seller"], &right)["account"]), key);
    // The next key and old ones are locked as well.
    let rotated = line_with(&home, &["key", "rotate", "--role", "seller", "--no-ledger"], &right);
    assert_eq!(text(&rotated["old"]), key);
    assert!(read(seller_file(&home, "key.old-1")).contains(&key));
    assert!(read(seller_file(&home, "key")).contains(text(&rotated["key"])));
    line_with(&home, &["key", "passphrase", "--role", "seller"], &[right[0], ("SDPP_NEW_PASSPHRASE", OTHER)]);
    assert!(seeds(&home).is_empty());
    let old = [("SDPP_KEY", "key.old-1"), ("SDPP_PASSPHRASE", OTHER)];
    assert_eq!(text(&line_with(&home, &["ledger", "key", "--as", "seller"], &old)["account"]), key);
}

#[test]
fn a_copy_is_taken_and_takes_nothing_away() {
    let folder = Folder::new("key-import");
    let (home, copies) = (folder.path("home"), folder.path("copies"));
    std::fs::create_dir_all(&copies).unwrap();
    let first = seller(&home, &[]);
    let copy = copies.join("copy");
    std::fs::copy(seller_file(&home, "key"), &copy).unwrap();
    let elsewhere = folder.path("elsewhere");
    let import = ["key", "import", "--role", "seller", &copy.display().to_string()].map(str::to_owned);
    let import: Vec<&str> = import.iter().map(String::as_str).collect();
    assert_eq!(text(&line(&elsewhere, &import)["key"]), first);
    assert_eq!(seller(&elsewhere, &[]), first);
    assert_eq!(line(&elsewhere, &import)["old"], Value::Null, "it is there already");

    // Another one is there: only if told so, and it is kept.
    let third = folder.path("third");
    let own = seller(&third, &[]);
    let said = refused(&third, &import);
    assert!(said.contains("--replace") && said.contains(&own), "{said}");
    assert_eq!(seller(&third, &[]), own);
    let done = line(&third, &[&import[..], &["--replace"]].concat());
    assert_eq!(text(&done["old"]), seller_file(&third, "key.old-1").display().to_string());
    assert_eq!(seller(&third, &[]), first);
    let account = ["ledger", "key", "--as", "seller"];
    let old = line_with(&third, &account, &[("SDPP_KEY", "key.old-1")]);
    assert_eq!(text(&old["account"]), own);
    assert!(refused_with(&third, &account, &[("SDPP_KEY", "key.old-2")]).contains("there is no"));
    assert!(refused_with(&third, &account, &[("SDPP_KEY", "../buyer/key")]).contains("names a key of the role"));

    // A locked copy has to open; what is no key, or others can read, is refused.
    line_with(&home, &["key", "passphrase", "--role", "seller"], &[("SDPP_PASSPHRASE", PASSPHRASE)]);
    std::fs::copy(seller_file(&home, "key"), &copy).unwrap();
    let fourth = folder.path("fourth");
    assert!(refused(&fourth, &import).contains("has a passphrase"));
    let taken = line_with(&fourth, &import, &[("SDPP_PASSPHRASE", PASSPHRASE)]);
    assert_eq!((text(&taken["key"]), &taken["passphrase"]), (first.as_str(), &Value::from(true)));
    assert!(seeds(&fourth).is_empty());
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert!(refused(&fourth, &import).contains("others can use"));
    std::fs::write(&copy, "hello").unwrap();
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert!(refused(&fourth, &import).contains("not a key"));
}

/// A ledger, and a key that somebody asks it for.
struct World {
    folder: Folder,
    ledger: Served,
    url: String,
}

impl World {
    fn new(name: &str) -> Self {
        let folder = Folder::new(name);
        let (ledger, url) = Served::start(&folder.path("station"), &["serve", "--listen", "127.0.0.1:0"]);
        Self { folder, ledger, url }
    }

    fn home(&self) -> PathBuf {
        self.folder.path("home")
    }

    /// What somebody else is told of a key, and with which exit code.
    fn check(&self, key: &str) -> (Value, i32) {
        let output = run_with(&self.folder.path("asker"), &["key", "check", key, "--ledger", &self.url], &[]);
        let told = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"));
        (told, output.status.code().unwrap())
    }
}

#[test]
fn a_key_is_rotated_and_revoked_and_everybody_can_know() {
    let world = World::new("key-ends");
    let home = world.home();
    let first = seller(&home, &[]);
    let (told, code) = world.check(&first);
    assert_eq!((text(&told["standing"]), code), ("good", 0));
    assert!(!world.folder.path("asker/buyer/key").exists(), "asking needs no key");

    let done = line(&home, &["key", "rotate", "--role", "seller", "--ledger", &world.url]);
    let second = seller(&home, &[]);
    assert_eq!((text(&done["old"]), text(&done["key"])), (first.as_str(), second.as_str()));
    assert_ne!(first, second);
    assert!(!seller_file(&home, "key.next").exists());
    let statement = std::fs::read(text(&done["statement"])).unwrap();
    let KeyNotice::Rotation(said) = KeyNotice::parse(&statement).unwrap() else { panic!("no rotation") };
    assert_eq!((said.key.to_string(), said.successor.to_string()), (first.clone(), second.clone()));
    let (told, code) = world.check(&first);
    assert_eq!((text(&told["standing"]), text(&told["to"]), code), ("rotated", second.as_str(), 3));
    assert_eq!(told["record"], done["recorded"]["record"]);
    assert_eq!(world.check(&second).1, 0);
    let logged = run_with(&home, &["ledger", "log", "--ledger", &world.url], &[]);
    let logged = String::from_utf8(logged.stdout).unwrap();
    assert!(logged.contains(&format!("\"ends\":\"{first}\"")), "{logged}");

    // The old key cannot turn again, and still signs what has to be settled.
    let old = [("SDPP_KEY", "key.old-1")];
    assert_eq!(text(&line_with(&home, &["ledger", "key", "--as", "seller"], &old)["account"]), first);
    let said = refused_with(&home, &["key", "rotate", "--role", "seller", "--ledger", &world.url], &old);
    assert!(said.contains("only the key in use"), "{said}");

    // Stolen after all: it ends itself; that is final, and the new one stands.
    assert_eq!(run_with(&home, &["key", "revoke", "--role", "seller"], &[]).status.code(), Some(2), "without --yes");
    let exposed = ["key", "revoke", "--role", "seller", "--yes", "--reason", "exposed", "--ledger", &world.url];
    let done = line_with(&home, &exposed, &old);
    assert_eq!(text(&done["key"]), first);
    let (told, code) = world.check(&first);
    assert_eq!((text(&told["standing"]), text(&told["reason"]), code), ("revoked", "exposed", 4));
    assert_eq!(told["record"], done["recorded"]["record"]);
    assert_eq!(world.check(&second).1, 0);

    // The key in use goes, and the next use makes another.
    let done = line(&home, &["key", "revoke", "--role", "seller", "--yes", "--renew", "--ledger", &world.url]);
    assert_eq!(world.check(&second).1, 4);
    let third = seller(&home, &[]);
    assert!(third != second && third != first);
    assert!(text(&done["old_file"]).ends_with("key.old-2"), "{done}");
    // A revoked key gives way to nothing.
    std::fs::rename(seller_file(&home, "key.old-2"), seller_file(&home, "key")).unwrap();
    let said = refused(&home, &["key", "rotate", "--role", "seller", "--ledger", &world.url]);
    assert!(said.contains("was revoked"), "{said}");
    world.ledger.stop();
}

#[test]
fn a_rotation_that_was_interrupted_goes_on() {
    let world = World::new("key-again");
    let home = world.home();
    let first = seller(&home, &[]);
    // No ledger: nothing changes, unless nobody is to be told.
    let nowhere = kit::fixed_address();
    let rotate = |url: &str| ["key", "rotate", "--role", "seller", "--ledger", url].map(str::to_owned);
    let away = rotate(&format!("http://{nowhere}"));
    let said = refused(&home, &away.each_ref().map(String::as_str));
    assert!(said.contains("Nothing was changed") && said.contains("--no-ledger"), "{said}");
    assert_eq!(files(&home.join("seller")), [seller_file(&home, "key")]);

    // It ended behind the record and before the change of keys.
    let here = rotate(&world.url);
    let here = here.each_ref().map(String::as_str);
    let done = line(&home, &here);
    std::fs::rename(seller_file(&home, "key"), seller_file(&home, "key.next")).unwrap();
    std::fs::rename(seller_file(&home, "key.old-1"), seller_file(&home, "key")).unwrap();
    assert_eq!(seller(&home, &[]), first);
    let again = line(&home, &here);
    assert_eq!((&again["key"], &again["old"]), (&done["key"], &done["old"]));
    assert_eq!(text(&world.check(&first).0["to"]), text(&done["key"]));

    // Another ledger, or another copy of the old key: the first successor counts.
    std::fs::copy(seller_file(&home, "key.old-1"), seller_file(&home, "key")).unwrap();
    let said = refused(&home, &here);
    assert!(said.contains("gave way") && said.contains(text(&done["key"])), "{said}");
    world.ledger.stop();
}

#[test]
fn a_statement_that_was_put_by_is_recorded_by_anybody() {
    let world = World::new("key-record");
    let home = world.home();
    let key = seller(&home, &[]);
    // Made in advance, for the day on which the key is gone.
    let done = line(&home, &["key", "revoke", "--role", "seller", "--yes", "--reason", "retired", "--no-ledger"]);
    assert_eq!(done["recorded"], Value::Null);
    assert_eq!(world.check(&key).1, 0);
    let file = text(&done["statement"]);
    let KeyNotice::Revocation(said) = KeyNotice::parse(&std::fs::read(file).unwrap()).unwrap() else { panic!() };
    assert_eq!((said.key.to_string(), said.reason), (key.clone(), RevokeReason::Retired));

    let finder = world.folder.path("finder");
    let recorded = line(&finder, &["key", "record", file, "--ledger", &world.url]);
    assert_eq!((text(&recorded["key"]), &recorded["id"]), (key.as_str(), &done["id"]));
    assert_eq!(world.check(&key).1, 4);
    assert_eq!(line(&finder, &["key", "record", file, "--ledger", &world.url]), recorded, "once");

    let mut forged = std::fs::read(file).unwrap();
    *forged.last_mut().unwrap() ^= 1;
    let path = world.folder.path("forged");
    std::fs::write(&path, forged).unwrap();
    let said = refused(&finder, &["key", "record", &path.display().to_string(), "--ledger", &world.url]);
    assert!(said.contains("does not verify"), "{said}");

    // The statement is there even where the ledger is not.
    let address = format!("http://{}", kit::fixed_address());
    let said = refused(&home, &["key", "revoke", "--role", "seller", "--yes", "--ledger", &address]);
    assert!(said.contains("no ledger has it") && said.contains("sdpp key record"), "{said}");
    assert_eq!(
        files(&home.join("seller")).iter().filter(|file| file.extension().is_some_and(|end| end == "cose")).count(),
        2
    );
    world.ledger.stop();
}
