//! A disk without room, as a limit on the size of files shows it.

use std::path::Path;
use std::process::Command;

use sdpp_ledger::entry::Issue;
use sdpp_ledger::http::{ClientOptions, HttpLedger};
use sdpp_ledger::{Body, Entry, LedgerService as _, ServiceError};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::Amount;
use tokio::runtime::Runtime;
use zeroize::Zeroizing;

use crate::kit::*;

/// Largest file of the server, in units of the shell: 512 or 1,024 bytes.
const BLOCKS: u32 = 1024;
/// More entries than fit.
const ENTRIES_MAX: u16 = 10_000;

/// The server behind a shell that limits its files. Without the signal a write just fails.
fn limited(home: &Path) -> Command {
    let plain = command(home, &["serve", "--listen", "127.0.0.1:0", "--origin", "full.example"]);
    let mut shell = Command::new("sh");
    let script = format!("trap '' XFSZ; ulimit -f {BLOCKS}; exec \"$0\" \"$@\"");
    shell.arg("-c").arg(script).arg(plain.get_program()).args(plain.get_args());
    shell.env_remove("SDPP_HOME").env_remove("SDPP_LOG");
    shell
}

fn at(runtime: &Runtime, url: &str) -> HttpLedger {
    HttpLedger::new(url, ClientOptions::new(runtime.handle().clone())).unwrap()
}

#[test]
fn a_full_disk_loses_nothing_and_says_so() {
    let folder = Folder::new("full");
    let home = folder.path("home");
    let served = Served::spawn(limited(&home));
    let runtime = Runtime::new().unwrap();
    let http = at(&runtime, &served.url());
    let key = SigningKey::from_seed(&Zeroizing::new([7; 32]));
    let entry = |number: u16| {
        let mut reference = [0; 32];
        reference[..2].copy_from_slice(&number.to_be_bytes());
        let (symbol, amount) = ("coin".to_owned(), Amount::new(1));
        let issue = Issue { symbol, to: key.public(), amount, reference: Bytes32(reference) };
        Entry::sign(&key, "full.example", Body::Issue(issue))
    };
    let mut places = Vec::new();
    let failed = (0..ENTRIES_MAX).find_map(|number| match runtime.block_on(http.submit(entry(number).bytes())) {
        Ok(submitted) => {
            places.push(submitted.index);
            None
        }
        Err(error) => Some((number, error)),
    });
    let (number, error) = failed.expect("the limit is below what is written");
    assert_eq!(error, ServiceError::Unknown, "the write may have come through");
    assert!(number > 0, "some were taken");

    // From then on it says that it takes nothing, shows what it has, and tells its operator.
    assert_eq!(runtime.block_on(http.submit(entry(number + 1).bytes())), Err(ServiceError::Frozen));
    let last = *places.last().unwrap();
    assert_eq!(runtime.block_on(http.entries(last, 1)).unwrap()[0], entry(number - 1).bytes().to_vec());
    until(|| served.said().contains("a write failed"));
    let url =
        format!("http://{}", served.said().lines().find_map(|line| line.split_once("url        http://")).unwrap().1);
    let said = refused(&home, &["issue", "peas", "1", "--to", &key.public().to_string(), "--ledger", &url]);
    assert!(said.contains("takes nothing more"), "{said}");
    served.stop();

    // With room again all is there, and asking again tells what became of the last one.
    let (served, url) = Served::start(&home, &["serve", "--listen", "127.0.0.1:0"]);
    let http = at(&runtime, &url);
    for (number, index) in (0..).zip(&places) {
        assert_eq!(runtime.block_on(http.entries(*index, 1)).unwrap()[0], entry(number).bytes().to_vec());
        assert_eq!(runtime.block_on(http.submit(entry(number).bytes())).unwrap().index, *index);
    }
    assert!(runtime.block_on(http.submit(entry(number).bytes())).unwrap().index > last);
    assert!(runtime.block_on(http.submit(entry(number + 1).bytes())).is_ok());
    served.stop();
}
