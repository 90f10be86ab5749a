//! A ledger and a seller that are started again whenever they were killed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus, Output, Stdio};

use serde_json::Value;

use crate::kit::*;
use crate::moment::{Moment, Who};

/// Messages of an order.
pub(crate) const COUNT: usize = 300;
/// What one costs.
pub(crate) const PRICE: u64 = 5;
/// Messages per window, and outstanding windows: what both sides may lose in a crash.
pub(crate) const K: u64 = 20;
pub(crate) const WINDOWS: u64 = 4;
/// What each buyer gets from the ledger.
pub(crate) const GRANT: u64 = 1_000_000;

pub(crate) struct Market {
    pub(crate) folder: Folder,
    ledger_at: String,
    seller_at: String,
    ledger: Served,
    seller: Option<Served>,
    /// The seller was started with a failpoint.
    armed: bool,
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
    pub(crate) fn open(name: &str) -> Self {
        let folder = Folder::new(name);
        let text: String = (0..COUNT * 2).map(|number| format!("message {number}\n")).collect();
        std::fs::write(folder.path("data"), text).unwrap();
        let (ledger_at, seller_at) = (fixed_address(), fixed_address());
        let ledger = Served::spawn(serving(&folder, &ledger_at));
        ledger.url();
        let mut market = Self {
            folder,
            ledger_at,
            seller_at,
            ledger,
            seller: None,
            armed: false,
            address: String::new(),
            earned: 0,
        };
        market.start_seller(None);
        market
    }

    /// The program in a home of this name.
    pub(crate) fn command(&self, home: &str, args: &[&str]) -> Command {
        let mut command = clean(args);
        command.arg("--home").arg(self.folder.path(home)).env("SDPP_LEDGER", format!("http://{}", self.ledger_at));
        command
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

    fn start_seller(&mut self, failpoint: Option<String>) {
        let (k, windows, data) = (K.to_string(), WINDOWS.to_string(), self.folder.text("data"));
        let price = format!("{PRICE}/1");
        let mut args = vec!["sell", "--product", "feed", "--price", &price, "--k", &k, "--windows", &windows];
        args.extend(["--pay", "voucher", "--pay", "direct", "--listen", &self.seller_at, "--from", &data]);
        let mut command = self.command("seller", &args);
        self.armed = failpoint.is_some();
        if let Some(failpoint) = failpoint {
            command.env("SDPP_FAILPOINT", failpoint);
        }
        let seller = Served::spawn(command);
        self.address = seller.url();
        self.seller = Some(seller);
    }

    fn stop_seller(&mut self) {
        if let Some(seller) = self.seller.take() {
            seller.stop();
        }
    }

    /// Makes everything ready for a moment; gives the failpoint that the buyer is to be started with.
    pub(crate) fn arm(&mut self, moment: &Moment) -> Option<String> {
        let ledger = Some(self.ledger.id());
        if moment.at == Who::Seller {
            self.stop_seller();
            self.start_seller(Some(moment.failpoint(ledger.filter(|_| moment.victim == Who::Ledger))));
            return None;
        }
        if self.armed {
            self.stop_seller();
            self.start_seller(None);
        }
        let seller = self.seller.as_ref().map(Served::id);
        Some(moment.failpoint(match moment.victim {
            Who::Buyer => None,
            Who::Seller => seller,
            Who::Ledger => ledger,
        }))
    }

    /// Starts again what was killed; says who it was. Nobody may end for another reason.
    pub(crate) fn tend(&mut self) -> Option<Who> {
        if let Some(status) = self.ledger.ended() {
            assert!(was_killed(status), "the ledger ended by itself: {}", self.ledger.said());
            self.ledger = Served::spawn(serving(&self.folder, &self.ledger_at));
            self.ledger.url();
            return Some(Who::Ledger);
        }
        let seller = self.seller.as_mut().unwrap();
        if let Some(status) = seller.ended() {
            assert!(was_killed(status), "the seller ended by itself: {}", seller.said());
            self.start_seller(None);
            return Some(Who::Seller);
        }
        None
    }

    /// What the seller has said since it was started.
    pub(crate) fn said(&self) -> String {
        self.seller.as_ref().map_or_else(String::new, Served::said)
    }

    /// What the seller has at the ledger, redeemed.
    pub(crate) fn balance(&self) -> u64 {
        let lines = self.lines("seller", &["ledger", "balance", "--as", "seller", "--json"]);
        lines.first().map_or(0, |line| text(&line["amount"]).parse().unwrap())
    }

    /// All that runs ends in good order.
    pub(crate) fn close(mut self) {
        let open = self.lines("seller", &["status", "--json"]);
        // A buyer that was killed when it had both last signatures owes nothing, its own least of all.
        for order in open.iter().filter(|row| row["kind"] == "order") {
            assert!(order["owed"] == "0" && order["due"] == order["paid"], "{order}");
        }
        for pool in open.iter().filter(|row| row["kind"] == "pool") {
            assert_eq!(pool["used"], "0", "{pool}");
        }
        self.stop_seller();
        self.ledger.stop();
    }
}

fn clean(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
    command.args(args).stdin(Stdio::null());
    for name in ["SDPP_HOME", "SDPP_LOG", "SDPP_LOG_FORMAT", "SDPP_METRICS", "SDPP_CONFIG", "SDPP_FAILPOINT"] {
        command.env_remove(name);
    }
    command
}

fn serving(folder: &Folder, at: &str) -> Command {
    let mut command = clean(&["ledger", "serve", "--listen", at, "--dev-grant", &GRANT.to_string()]);
    command.arg("--home").arg(folder.path("ledger"));
    command
}
