//! What does not work says what to do next, on one line or two, and changes nothing.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::kit::*;

const ANY: &str = "127.0.0.1:0";

#[test]
fn a_port_in_use_and_a_store_in_use_are_said() {
    let folder = Folder::new("in-use");
    let home = folder.path("home");
    let address = &fixed_address();
    let (ledger, url) = Served::start(&home, &["serve", "--listen", address]);
    assert_eq!(url, format!("http://{address}"));
    let taken = sdpp(&folder.path("other"), &["serve", "--listen", address]);
    let said = stderr(&taken);
    assert_eq!(taken.status.code(), Some(11), "somebody else has it: {said}");
    assert!(said.contains(address.as_str()) && said.contains("--listen"), "{said}");
    let said = refused(&home, &["serve", "--listen", ANY]);
    assert!(said.contains("has it open"), "{said}");
    ledger.stop();
    let (again, _) = Served::start(&home, &["serve", "--listen", address]);
    again.stop();
}

#[test]
fn a_name_is_for_ever() {
    let folder = Folder::new("name");
    let home = folder.path("home");
    let (ledger, _) = Served::start(&home, &["serve", "--listen", ANY, "--origin", "ledger.example/1"]);
    ledger.stop();
    let key = line(&home, &["key", "--as", "ledger"]);
    assert!(text(&key["verifier"]).starts_with("ledger.example/1+"));
    let said = refused(&home, &["serve", "--listen", ANY, "--origin", "ledger.example/2"]);
    assert!(said.contains("ledger.example/1") && said.contains("--home"), "{said}");
    let (ledger, _) = Served::start(&home, &["serve", "--listen", ANY]);
    ledger.stop();
    assert!(refused(&folder.path("a"), &["serve", "--listen", "0.0.0.0:0"]).contains("--origin"));
    assert!(refused(&folder.path("b"), &["serve", "--listen", ANY, "--origin", "a b"]).contains("cannot be a name"));
    assert!(refused(&home, &["key", "--name", "x"]).contains("only a ledger and a witness"));
}

#[test]
fn trial_money_is_for_this_machine_only() {
    let folder = Folder::new("grant");
    let home = folder.path("home");
    let said = refused(&home, &["serve", "--listen", "0.0.0.0:0", "--origin", "x", "--dev-grant", "5"]);
    assert!(said.contains("loopback"), "{said}");
    assert!(!home.exists(), "nothing was begun");
    let (ledger, url) = Served::start(&home, &["serve", "--listen", ANY]);
    assert!(refused(&home, &["grant", "--ledger", &url]).contains("--dev-grant"));
    ledger.stop();
}

#[test]
fn another_ledger_at_a_trusted_place_is_refused_with_both_keys() {
    let folder = Folder::new("pin");
    let (home, people) = (folder.path("home"), folder.path("people"));
    let (ledger, url) = Served::start(&home, &["serve", "--listen", ANY]);
    let first = sdpp(&people, &["balance", "--ledger", &url]);
    assert!(first.status.success());
    let said = stderr(&first);
    assert!(said.contains("trusted on first use") && said.contains("quorum 0"), "{said}");
    let second = sdpp(&people, &["balance", "--ledger", &url]);
    assert_eq!((second.status.code(), stderr(&second).as_str()), (Some(0), ""), "a warning is given once");

    let true_key = text(&line(&home, &["key", "--as", "ledger"])["verifier"]).to_owned();
    let other_key = text(&line(&folder.path("other"), &["key", "--as", "ledger"])["verifier"]).to_owned();
    let file = people.join("known-ledgers");
    let known = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, known.replace(&true_key, &other_key)).unwrap();
    for more in [&[][..], &["--trust-ledger", &true_key], &["--trust-ledger", &other_key]] {
        let said = refused(&people, &[&["balance", "--ledger", &url][..], more].concat());
        assert!(said.contains(&true_key) && said.contains(&other_key) && said.contains("known-ledgers"), "{said}");
    }
    std::fs::write(&file, "").unwrap();
    let said = refused(&people, &["balance", "--ledger", &url, "--trust-ledger", &other_key]);
    assert!(said.contains(&true_key) && said.contains(&other_key), "{said}");
    std::fs::write(&file, format!("{url} {true_key}\n")).unwrap();
    assert!(refused(&people, &["balance", "--ledger", &url]).contains("line 1"), "a pin is not overlooked");
    ledger.stop();
}

#[test]
fn a_key_that_others_can_read_is_refused_and_never_shown() {
    let folder = Folder::new("key");
    let home = folder.path("home");
    let output = sdpp(&home, &["key"]);
    let file = home.join("buyer/key");
    assert!(stderr(&output).contains(file.to_str().unwrap()), "it says where the new key is");
    let secret = std::fs::read_to_string(&file).unwrap();
    let digits = secret.trim_end().strip_prefix("SDPP-SECRET-KEY-1 ").expect("a clear prefix");
    assert_eq!(digits.len(), 64);
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let all = format!("{}{}", String::from_utf8_lossy(&output.stdout), stderr(&output));
    assert!(!all.contains(digits));
    let again = sdpp(&home, &["key"]);
    assert_eq!((stderr(&again).as_str(), again.stdout), ("", output.stdout), "the same key, without a word");

    let mode = |mode| std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
    for open in [0o640, 0o604, 0o660] {
        mode(open);
        assert!(refused(&home, &["key"]).contains("chmod 600"));
    }
    mode(0o600);
    for bad in ["", "x", &secret[..40], &secret.to_uppercase(), &format!("{secret}x")] {
        std::fs::write(&file, bad).unwrap();
        let said = refused(&home, &["key"]);
        assert!(said.contains("is not a key") && !said.contains(digits), "{said}");
    }
}

#[test]
fn a_witness_needs_a_log_and_keeps_to_it() {
    let folder = Folder::new("witness");
    let home = folder.path("home");
    assert!(refused(&home, &["witness", "--listen", ANY]).contains("--log"));
    let log = text(&line(&home, &["key", "--as", "ledger"])["verifier"]).to_owned();
    let place = fixed_address();
    let (witness, at) = Served::start(&home, &["witness", "--listen", &place, "--log", &log]);
    let key = text(&line(&home, &["key", "--as", "witness"])["verifier"]).to_owned();
    until(|| witness.said().contains(&key));
    let option = format!("{key}={at}");
    let serve = ["serve", "--listen", ANY, "--witness", &option];
    let (ledger, url) = Served::start(&home, &serve);
    until(|| ledger.said().contains("cosigned"));
    let balance = ["balance", "--ledger", &url, "--witness", &key];
    assert!(sdpp(&home, &balance).status.success());
    ledger.stop();
    witness.stop();

    // The same name with another key is another log; a witness's key is none.
    let other = text(&line(&folder.path("other"), &["key", "--as", "ledger"])["verifier"]).to_owned();
    assert!(refused(&home, &["witness", "--listen", ANY, "--log", &other]).contains("another key"));
    assert!(refused(&home, &["witness", "--listen", ANY, "--log", &key]).contains("not of a ledger"));

    // A ledger whose witness is away may start when it is told to; then its witness comes back.
    let said = refused(&home, &serve);
    assert!(said.contains("--without-witness") && said.contains(&at), "{said}");
    let forgetful = refused(&home, &["serve", "--listen", ANY]);
    assert!(forgetful.contains("--without-witness"), "who was asked once is remembered: {forgetful}");
    let (ledger, url) = Served::start(&home, &[&serve[..], &["--without-witness"]].concat());
    until(|| ledger.said().contains("did not cosign"));
    let balance = ["balance", "--ledger", &url, "--witness", &key];
    assert!(refused(&home, &balance).contains("0 of 1 needed witnesses"));
    let (witness, _) = Served::start(&home, &["witness", "--listen", &place]);
    until(|| sdpp(&home, &balance).status.success());
    ledger.stop();
    witness.stop();
}

#[test]
fn both_signals_end_a_server_in_good_order() {
    let folder = Folder::new("signal");
    let home = folder.path("home");
    for signal in ["INT", "TERM"] {
        let (mut ledger, url) = Served::start(&home, &["serve", "--listen", ANY, "--dev-grant", "5"]);
        let granted = line(&home, &["grant", "--ledger", &url]);
        assert_eq!(granted["again"], signal == "TERM");
        ledger.signal(signal);
        assert_eq!(ledger.wait().code(), Some(0), "{}", ledger.said());
        assert!(refused(&home, &["balance", "--ledger", &url]).contains("does not answer"));
    }
}

/// Somebody who does not come to an end holds a server up only until it is told a second time.
#[test]
fn a_second_signal_leaves_at_once() {
    use std::io::Write as _;
    let folder = Folder::new("twice");
    let (mut ledger, url) = Served::start(&folder.path("home"), &["serve", "--listen", ANY]);
    let mut slow = std::net::TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    let head = "POST /v1/entries HTTP/1.1\r\nhost: x\r\ncontent-type: application/cose\r\ncontent-length: 10\r\n\r\nab";
    slow.write_all(head.as_bytes()).unwrap();
    // The request is at work when another one is answered.
    assert!(sdpp(&folder.path("home"), &["balance", "--ledger", &url]).status.success());
    ledger.signal("INT");
    until(|| ledger.said().contains("stopping"));
    ledger.signal("INT");
    assert_eq!(ledger.wait().code(), Some(130), "{}", ledger.said());
}

#[test]
fn wrong_words_get_an_answer() {
    let folder = Folder::new("words");
    let home: &Path = &folder.path("home");
    for (args, says) in [
        (&["balance", "--ledger", "nonsense"][..], "not a URL"),
        (&["balance", "--ledger", "http://127.0.0.1:1"], "does not answer"),
        (&["transfer", "1.5", "uUSD", "--to", "z6Mk"], "whole number"),
        (&["transfer", "0", "uUSD", "--to", "z6Mk"], "whole number"),
        (&["transfer", "1", "uUSD", "--to", "z6Mk"], "not an Ed25519 key"),
        (&["channel", "show", "abc"], "64 digits"),
        (&["serve", "--witness", "key"], "VKEY=URL"),
        (&["serve", "--tls-cert", "x"], "--tls-key"),
        (&["serve", "--tls-cert", "no-such-file", "--tls-key", "x"], "no-such-file"),
        (&["channel", "open", "--grace", "soon"], "not a duration"),
    ] {
        let output = sdpp(home, args);
        assert!(!output.status.success(), "{args:?}");
        assert!(stderr(&output).contains(says), "{args:?}: {}", stderr(&output));
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for file in std::fs::read_dir(from).unwrap() {
        let file = file.unwrap();
        std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
    }
}

#[test]
fn a_ledger_that_tells_another_history_is_caught_and_the_proof_kept() {
    let folder = Folder::new("history");
    let (home, people, address) = (folder.path("home"), folder.path("people"), fixed_address());
    let serve = ["serve", "--listen", &address, "--dev-grant", "5"];
    let (ledger, url) = Served::start(&home, &serve);
    let at = ["--ledger", &url];
    let run = |args: &[&str]| sdpp(&people, &[args, &at].concat());
    assert!(run(&["grant"]).status.success());
    ledger.stop();
    copy(&home.join("ledger"), &folder.path("backup"));
    let (ledger, _) = Served::start(&home, &serve);
    assert!(run(&["grant", "--as", "seller"]).status.success());
    assert!(run(&["balance"]).status.success());
    ledger.stop();

    // The operator goes back to the backup, and on from there: nobody's replica follows.
    copy(&folder.path("backup"), &home.join("ledger"));
    let (ledger, _) = Served::start(&home, &serve);
    assert!(sdpp(&folder.path("others"), &[&["grant"][..], &at].concat()).status.success());
    let said = refused(&people, &[&["balance"][..], &at].concat());
    assert!(said.contains("not to be trusted"), "{said}");
    let proof = said.trim_end().rsplit("The proof is in ").next().unwrap();
    let proof = std::fs::read_to_string(proof).unwrap();
    let origin = format!("{address}/ledger\n");
    assert_eq!(proof.matches(&origin).count(), 2, "two notes of one log: {proof}");
    let said = refused(&people, &[&["transfer", "1", "uUSD", "--to"][..], &[&account(&people)], &at].concat());
    assert!(said.contains("not to be trusted"), "{said}");
    ledger.stop();
}

fn account(home: &Path) -> String {
    text(&line(home, &["key"])["account"]).to_owned()
}

#[test]
fn commands_of_one_role_take_turns() {
    let folder = Folder::new("turns");
    let home = folder.path("home");
    let (ledger, url) = Served::start(&home, &["serve", "--listen", ANY, "--dev-grant", "50"]);
    let to = account(&folder.path("other"));
    let ledger_at = ["--ledger", &url];
    line(&home, &[&["grant"][..], &ledger_at].concat());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| line(&home, &[&["transfer", "1", "uUSD", "--to", &to][..], &ledger_at].concat()));
        }
    });
    assert_eq!(line(&home, &[&["balance"][..], &ledger_at].concat())["amount"], "42");
    // A program that is about to end still has its replica open.
    let locks = std::fs::read_dir(home.join("buyer")).unwrap().map(|entry| entry.unwrap().path());
    let mut locks: Vec<_> = locks.filter(|path| path.to_string_lossy().ends_with(".db.lock")).collect();
    locks.retain(|path| path.to_string_lossy().contains("ledger-replica-"));
    locks.sort();
    let held = std::fs::File::open(locks.first().unwrap()).unwrap();
    held.try_lock().unwrap();
    assert_eq!(line(&home, &[&["balance"][..], &ledger_at].concat())["amount"], "42", "by another replica");
    ledger.stop();
}
