//! Whom to believe about a ledger: named by options, or pinned when it was first used.
//!
//! `known-ledgers` in the home has a line for each ledger: URL, verifier key, quorum, witnesses. It is
//! plain text for people, who may change it.

use std::fs;
use std::io;

use sdpp_log::{Policy, VerifierKey};

use super::Failure;
use crate::exit::{Exit, failed};
use crate::home::Home;

const FILE: &str = "known-ledgers";
const ABOUT: &str = "# URL, verifier key, quorum, verifier keys of witnesses. Remove a line to trust that ledger anew.";

/// What somebody says on the command line.
#[derive(Clone, Default)]
pub(super) struct Asked {
    pub(super) key: Option<VerifierKey>,
    pub(super) witnesses: Vec<VerifierKey>,
    pub(super) quorum: Option<usize>,
}

/// A ledger that is trusted.
#[derive(Clone, PartialEq, Eq)]
struct Pin {
    url: String,
    key: VerifierKey,
    quorum: usize,
    witnesses: Vec<VerifierKey>,
}

impl Pin {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let (url, key, quorum) = (words.next()?, words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        let witnesses = words.map(|word| word.parse().ok()).collect::<Option<_>>()?;
        Some(Self { url: url.to_owned(), key, quorum, witnesses })
    }

    fn line(&self) -> String {
        let witnesses: String = self.witnesses.iter().map(|witness| format!(" {witness}")).collect();
        format!("{} {} {}{witnesses}", self.url, self.key, self.quorum)
    }

    fn policy(&self) -> Result<Policy, Failure> {
        let policy = Policy::new(self.key.clone(), self.witnesses.clone(), self.quorum);
        policy.map_err(|error| format!("{}: {error}; see --trust-ledger, --witness and --quorum", self.url).into())
    }
}

/// The policy for a ledger that says that this is its key; kept for the next time.
pub(super) fn policy(home: &Home, url: &str, claimed: &VerifierKey, asked: &Asked) -> Result<Policy, Failure> {
    let lines = read(home)?;
    let pinned = lines.iter().filter_map(|line| Pin::parse(line)).find(|pin| pin.url == url);
    let path = home.file(FILE);
    if let Some(pin) = pinned.as_ref().filter(|pin| pin.key != *claimed) {
        let (known, path) = (&pin.key, path.display());
        let what = format!(
            "{url} is not the ledger that it was\n  trusted  {known}\n  shown    {claimed}\nIf the ledger was really \
             replaced, remove its line from {path}; else somebody else answers there"
        );
        return Err(failed(Exit::Dishonest, what));
    }
    if let Some(named) = asked.key.as_ref().filter(|named| *named != claimed) {
        let what = format!(
            "{url} is another ledger than --trust-ledger says\n  named    {named}\n  shown    {claimed}\nAsk its operator"
        );
        return Err(failed(Exit::Dishonest, what));
    }
    let wanted = wanted(url, claimed, asked, pinned.as_ref());
    let policy = wanted.policy()?;
    if pinned.as_ref() == Some(&wanted) {
        return Ok(policy);
    }
    if pinned.is_none() && asked.key.is_none() {
        warn(&wanted);
    } else if pinned.is_some() {
        eprintln!("from now on {} of {} witnesses must have cosigned", wanted.quorum, wanted.witnesses.len());
    }
    let others = lines.into_iter().filter(|line| Pin::parse(line).is_none_or(|pin| pin.url != url));
    let mut all: Vec<String> = others.filter(|line| line != ABOUT).collect();
    all.insert(0, ABOUT.to_owned());
    all.push(wanted.line());
    home.replace(FILE, &(all.join("\n") + "\n"))?;
    Ok(policy)
}

/// What is pinned, with what the options change.
fn wanted(url: &str, claimed: &VerifierKey, asked: &Asked, pinned: Option<&Pin>) -> Pin {
    let (witnesses, quorum) = match pinned {
        Some(pin) if asked.witnesses.is_empty() => (pin.witnesses.clone(), pin.quorum),
        Some(_) | None => (asked.witnesses.clone(), asked.witnesses.len()),
    };
    Pin { url: url.to_owned(), key: claimed.clone(), quorum: asked.quorum.unwrap_or(quorum), witnesses }
}

fn warn(pin: &Pin) {
    eprintln!("warning: {} is trusted on first use, with the key that it shows\n  {}", pin.url, pin.key);
    if pin.quorum == 0 {
        eprintln!("  quorum 0: no witness has to see what it shows, so it could show others another history");
    }
    eprintln!("  better: compare the key with what its operator says, or name it with --trust-ledger");
}

fn read(home: &Home) -> Result<Vec<String>, Failure> {
    let path = home.file(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display()).into()),
    };
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    for (number, line) in (1..).zip(&lines) {
        let comment = line.trim().is_empty() || line.starts_with('#');
        if !comment && Pin::parse(line).is_none() {
            // Skipping it would trust anew what somebody meant to pin.
            let path = path.display();
            return Err(
                format!("{path}, line {number}: not URL, key, quorum and witnesses; correct or remove it").into()
            );
        }
    }
    Ok(lines)
}
