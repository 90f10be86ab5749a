//! A ledger, its witness and a seller that are started again whenever they were killed.
#![allow(dead_code, reason = "each test file uses a part")]

use std::collections::{BTreeMap, VecDeque};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use crate::kit::*;

/// What each buyer gets from the ledger.
pub(crate) const GRANT: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    Buyer,
    Seller,
    Ledger,
    Witness,
}

/// What every order of a market is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deal {
    /// Messages of an order.
    pub(crate) count: usize,
    /// What one costs.
    pub(crate) price: u64,
    /// Messages per window, and outstanding windows: what both sides may lose in a crash.
    pub(crate) k: u64,
    pub(crate) windows: u64,
}

/// How a market is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) deal: Deal,
    /// Who cosigns; then everybody wants a cosignature, and the ledger publishes files.
    pub(crate) witnessed: bool,
    /// More of the seller's configuration.
    pub(crate) config: &'static str,
    /// Everybody writes down where they were.
    pub(crate) traced: bool,
}

/// How the next lives end: what they are told as failpoints, the next one first.
#[derive(Default)]
pub(crate) struct Fates(BTreeMap<Who, VecDeque<String>>);

impl Fates {
    pub(crate) fn put(&mut self, who: Who, lives: impl IntoIterator<Item = String>) {
        self.0.entry(who).or_default().extend(lives);
    }

    /// Nobody's next life is to end.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn has(&self, who: Who) -> bool {
        self.0.get(&who).is_some_and(|lives| !lives.is_empty())
    }

    fn next(&mut self, who: Who) -> Option<String> {
        self.0.get_mut(&who).and_then(VecDeque::pop_front)
    }
}

pub(crate) struct Market {
    pub(crate) folder: Folder,
    pub(crate) plan: Plan,
    at: BTreeMap<Who, String>,
    ledger: Option<Served>,
    witness: Option<Served>,
    seller: Option<Served>,
    pub(crate) fates: Fates,
    /// Kills since somebody asked.
    killed: Vec<Who>,
    /// Those that live with a failpoint.
    armed: Vec<Who>,
    /// How the buyer's command that runs is to end.
    buyer_fate: Option<String>,
    /// Commands of buyers so far.
    pub(crate) buyer_lives: usize,
    /// Verifier keys of the log and its witness.
    pub(crate) log: String,
    pub(crate) cosigner: String,
    /// Where the product is bought.
    pub(crate) address: String,
    /// Price of all that was bought so far: the seller's money.
    pub(crate) earned: u64,
}

/// Whether it was SIGKILL that ended a process.
pub(crate) fn was_killed(status: ExitStatus) -> bool {
    status.signal() == Some(9)
}

impl Market {
    pub(crate) fn open(name: &str, plan: Plan) -> Self {
        Self::open_with(name, plan, Fates::default())
    }

    /// The same, where the first lives end early.
    pub(crate) fn open_with(name: &str, plan: Plan, fates: Fates) -> Self {
        let folder = Folder::new(name);
        let text: String = (0..plan.deal.count * 2).map(|number| format!("message {number}\n")).collect();
        std::fs::write(folder.path("data"), text).unwrap();
        std::fs::create_dir_all(folder.path("seller")).unwrap();
        std::fs::write(folder.path("seller/sdpp.toml"), plan.config).unwrap();
        let at = [Who::Seller, Who::Ledger, Who::Witness].map(|who| (who, fixed_address())).into();
        let mut market = Self {
            folder,
            plan,
            at,
            ledger: None,
            witness: None,
            seller: None,
            fates,
            killed: Vec::new(),
            armed: Vec::new(),
            buyer_fate: None,
            buyer_lives: 0,
            log: String::new(),
            cosigner: String::new(),
            address: String::new(),
            earned: 0,
        };
        market.begin();
        market
    }

    fn begin(&mut self) {
        if self.plan.witnessed {
            self.log = self.verifier("ledger", &self.at[&Who::Ledger]);
            self.cosigner = self.verifier("witness", &self.at[&Who::Witness]);
            self.start(Who::Witness);
        }
        self.start(Who::Ledger);
        self.start(Who::Seller);
    }

    /// The verifier key of a role that is not there yet: key and name are made.
    fn verifier(&self, role: &str, at: &str) -> String {
        let name = format!("{at}/{role}");
        let line = self.lines(role, &["ledger", "key", "--as", role, "--name", &name, "--json"]);
        text(&line[0]["verifier"]).to_owned()
    }

    /// The program in a home of this name.
    pub(crate) fn command(&self, home: &str, args: &[&str]) -> Command {
        let mut command = clean(args);
        command.arg("--home").arg(self.folder.path(home)).env("SDPP_LEDGER", self.url(Who::Ledger));
        command
    }

    pub(crate) fn url(&self, who: Who) -> String {
        format!("http://{}", self.at[&who])
    }

    pub(crate) fn run(&self, home: &str, args: &[&str]) -> Output {
        self.command(home, args).output().unwrap()
    }

    /// The JSON lines of a command that succeeds.
    pub(crate) fn lines(&self, home: &str, args: &[&str]) -> Vec<Value> {
        let output = self.run(home, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Has a command end as it is fated to.
    pub(crate) fn fate(&mut self, who: Who, command: &mut Command) {
        self.armed.retain(|armed| *armed != who);
        let fate = self.fates.next(who);
        if let Some(failpoint) = &fate {
            command.env("SDPP_FAILPOINT", failpoint);
            self.armed.push(who);
        }
        if who == Who::Buyer {
            self.buyer_fate = fate;
        }
        if self.plan.traced {
            command.env("SDPP_FAILPOINT_TRACE", self.trace(who));
        }
    }

    /// Where somebody's points are written down.
    pub(crate) fn trace(&self, who: Who) -> std::path::PathBuf {
        self.folder.path(&format!("trace-{who:?}"))
    }

    /// Everybody writes down where they are, or nobody does.
    pub(crate) fn trace_from_now(&mut self, traced: bool) {
        if self.plan.traced != traced {
            self.plan.traced = traced;
            for who in [Who::Seller, Who::Ledger, Who::Witness] {
                self.stop(who);
            }
        }
        for who in [Who::Buyer, Who::Seller, Who::Ledger, Who::Witness] {
            // Who runs already goes on to write to this file.
            drop(std::fs::File::create(self.trace(who)).unwrap());
        }
        for who in [Who::Witness, Who::Ledger, Who::Seller] {
            if self.slot(who).is_none() && (who != Who::Witness || self.plan.witnessed) {
                self.start(who);
            }
        }
    }

    /// Whom a buyer or seller believes.
    fn believing(&self) -> Vec<&str> {
        if self.plan.witnessed { vec!["--witness", &self.cosigner] } else { Vec::new() }
    }

    fn serving(&self, who: Who) -> Command {
        let (grant, at) = (GRANT.to_string(), self.at[&who].as_str());
        match who {
            Who::Buyer => unreachable!("a buyer serves nobody"),
            Who::Witness => self.command("witness", &["ledger", "witness", "--listen", at, "--log", &self.log]),
            Who::Ledger => {
                let mut command = clean(&["ledger", "serve", "--listen", at, "--dev-grant", &grant]);
                command.arg("--home").arg(self.folder.path("ledger"));
                if self.plan.witnessed {
                    let witness = format!("{}={}", self.cosigner, self.url(Who::Witness));
                    command.args(["--witness", &witness]).arg("--publish").arg(self.folder.path("tiles"));
                }
                command
            }
            Who::Seller => {
                if self.plan.config.contains("[[products]]") {
                    let mut args = vec!["sell", "--rail", "voucher", "--rail", "direct", "--listen", at];
                    args.extend(self.believing());
                    return self.command("seller", &args);
                }
                let Deal { price, k, windows, .. } = self.plan.deal;
                let (price, k, windows) = (format!("{price}/1"), k.to_string(), windows.to_string());
                let data = self.folder.text("data");
                let mut args = vec!["sell", "--product", "feed", "--price", &price, "--k", &k, "--windows", &windows];
                args.extend(["--rail", "voucher", "--rail", "direct", "--listen", at, "--from", &data]);
                args.extend(self.believing());
                self.command("seller", &args)
            }
        }
    }

    fn slot(&mut self, who: Who) -> &mut Option<Served> {
        match who {
            Who::Buyer => unreachable!("a buyer serves nobody"),
            Who::Seller => &mut self.seller,
            Who::Ledger => &mut self.ledger,
            Who::Witness => &mut self.witness,
        }
    }

    /// Starts one, again where it dies before it is ready.
    fn start(&mut self, who: Who) {
        loop {
            let mut command = self.serving(who);
            self.fate(who, &mut command);
            let mut served = Served::spawn(command);
            match served.ready_or_dead() {
                Ok(address) => {
                    if who == Who::Seller {
                        self.address = address;
                    }
                    *self.slot(who) = Some(served);
                    return;
                }
                Err(status) => {
                    assert!(was_killed(status), "the {who:?} does not start: {}", served.said());
                    self.killed.push(who);
                }
            }
        }
    }

    pub(crate) fn stop(&mut self, who: Who) {
        let armed = self.is_armed(who);
        let Some(served) = self.slot(who).take() else { return };
        if !armed {
            return served.stop();
        }
        // One with a failpoint may get there on its way out.
        let status = served.asked_to_end();
        assert!(status.success() || was_killed(status), "the {who:?} ended with {status}");
        if was_killed(status) {
            self.killed.push(who);
        }
    }

    /// Ends it in order and starts it again, fated as it is told.
    pub(crate) fn restart(&mut self, who: Who) {
        self.stop(who);
        self.start(who);
    }

    /// Whether it lives with a failpoint.
    pub(crate) fn is_armed(&self, who: Who) -> bool {
        self.armed.contains(&who)
    }

    /// Its process.
    pub(crate) fn id(&self, who: Who) -> Option<u32> {
        match who {
            Who::Buyer => None,
            Who::Seller => self.seller.as_ref().map(Served::id),
            Who::Ledger => self.ledger.as_ref().map(Served::id),
            Who::Witness => self.witness.as_ref().map(Served::id),
        }
    }

    /// Starts again what was killed; says who it was. Nobody may end for another reason.
    pub(crate) fn tend(&mut self) -> Option<Who> {
        for who in [Who::Witness, Who::Ledger, Who::Seller] {
            let Some(served) = self.slot(who) else { continue };
            let Some(status) = served.ended() else { continue };
            assert!(was_killed(status), "the {who:?} ended by itself: {}", served.said());
            self.killed.push(who);
            self.start(who);
            return Some(who);
        }
        None
    }

    /// How a buyer's command ended. An end that it was fated to and did not come to is its next life's.
    pub(crate) fn buyer_ended(&mut self, status: ExitStatus) {
        self.buyer_lives += 1;
        if was_killed(status) {
            self.killed.push(Who::Buyer);
        } else if let Some(fate) = self.buyer_fate.take() {
            self.fates.0.entry(Who::Buyer).or_default().push_front(fate);
        }
    }

    /// Who was killed since the last time.
    pub(crate) fn take_killed(&mut self) -> Vec<Who> {
        std::mem::take(&mut self.killed)
    }

    /// What the seller has said since it was started.
    pub(crate) fn said(&self) -> String {
        self.said_by(Who::Seller)
    }

    pub(crate) fn said_by(&self, who: Who) -> String {
        let served = match who {
            Who::Buyer => None,
            Who::Seller => self.seller.as_ref(),
            Who::Ledger => self.ledger.as_ref(),
            Who::Witness => self.witness.as_ref(),
        };
        served.map_or_else(String::new, Served::said)
    }

    /// What the seller has at the ledger, redeemed.
    pub(crate) fn balance(&self) -> u64 {
        let lines = self.lines("seller", &["ledger", "balance", "--as", "seller", "--json"]);
        lines.first().map_or(0, |line| text(&line["amount"]).parse().unwrap())
    }

    /// The same, if the ledger answers.
    pub(crate) fn try_balance(&self) -> Option<u64> {
        let output = self.run("seller", &["ledger", "balance", "--as", "seller", "--json"]);
        let line: Value = serde_json::from_slice(&output.stdout).ok().filter(|_| output.status.success())?;
        text(&line["amount"]).parse().ok()
    }

    /// Nobody is killed from now on: who still has a failpoint is started again without.
    pub(crate) fn disarm(&mut self) {
        self.fates.clear();
        while self.tend().is_some() {}
        for who in [Who::Witness, Who::Ledger, Who::Seller] {
            if self.is_armed(who) {
                self.restart(who);
            }
        }
    }

    /// How a buyer begins to buy.
    pub(crate) fn buying(&self, home: &str, out: &str, direct: bool) -> Command {
        let (count, pay) = (self.plan.deal.count.to_string(), if direct { "direct" } else { "voucher" });
        let mut args = vec!["buy", &self.address, "--count", &count, "--to", out, "--rail", pay, "--quiet", "--json"];
        args.extend(self.believing());
        self.command(home, &args)
    }

    /// Nobody owes anything at the end.
    pub(crate) fn settled(&self) {
        let open = self.lines("seller", &["status", "--json"]);
        // A buyer that was killed when it had both last signatures owes nothing, its own least of all.
        for order in open.iter().filter(|row| row["kind"] == "order") {
            assert!(order["owed"] == "0" && order["due"] == order["paid"], "{order}");
        }
        for pool in open.iter().filter(|row| row["kind"] == "pool") {
            assert_eq!(pool["used"], "0", "{pool}");
        }
    }

    /// All that runs is killed, and what it leaves behind stays, for whoever looks why.
    pub(crate) fn leave(mut self) -> String {
        for who in [Who::Seller, Who::Ledger, Who::Witness] {
            if let Some(mut served) = self.slot(who).take() {
                served.kill();
            }
        }
        let place = self.folder.text("");
        std::mem::forget(self.folder);
        place
    }

    /// All that runs ends in good order.
    pub(crate) fn close(mut self) {
        self.settled();
        for who in [Who::Seller, Who::Ledger, Who::Witness] {
            self.stop(who);
        }
    }
}

fn clean(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
    command.args(args).stdin(Stdio::null());
    for name in ["SDPP_HOME", "SDPP_LOG", "SDPP_LOG_FORMAT", "SDPP_METRICS", "SDPP_CONFIG", "SDPP_FAILPOINT"] {
        command.env_remove(name);
    }
    command.env_remove("SDPP_FAILPOINT_TRACE");
    command
}
