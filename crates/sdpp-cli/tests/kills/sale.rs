//! One sale in which somebody is killed: all are started again until the order is settled, and then
//! everybody has what was agreed.
#![allow(dead_code, reason = "each test file uses a part")]

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::kit::*;
use crate::market::*;

/// An order of a buyer that has no other.
pub(crate) struct Sale {
    pub(crate) home: String,
    pub(crate) out: String,
    pub(crate) direct: bool,
    /// Which moment it is about, for whoever reads of a failure.
    pub(crate) label: String,
    /// Who was killed, each time.
    pub(crate) killed: Vec<Who>,
}

/// What is to be done when a purchase has ended so: nothing, or to go on.
fn goes_on(code: Option<i32>, said: &str, seller: &str) -> bool {
    match code {
        Some(0) => false,
        // Nobody there; unfinished.
        Some(4 | 9) => true,
        // The seller's rail is down for a moment, or its old session holds the order.
        Some(5) if said.contains("rail") || said.contains("ledger") => true,
        _ => panic!("exit code {code:?}: {said}\nseller: {seller}"),
    }
}

impl Sale {
    /// A buyer that is not there yet.
    pub(crate) fn new(market: &Market, home: &str, direct: bool, label: String) -> Self {
        let out = market.folder.text(&format!("{home}.ndjson"));
        Self { home: home.to_owned(), out, direct, label, killed: Vec::new() }
    }

    /// Starts the buyer again and again until it has settled.
    pub(crate) fn pursue(&mut self, market: &mut Market) {
        let start = Instant::now();
        while let Some(command) = self.next_command(market) {
            self.run_once(market, command, start);
        }
    }

    /// Runs a buyer's command to its end.
    pub(crate) fn run_once(&mut self, market: &mut Market, mut command: Command, start: Instant) {
        market.fate(Who::Buyer, &mut command);
        let mut buyer = Served::spawn(command);
        let status = loop {
            market.tend();
            if let Some(status) = buyer.ended() {
                break status;
            }
            let (label, said, seller) = (&self.label, buyer.said(), market.said());
            assert!(start.elapsed() < PATIENCE, "{label}: not settled.\nbuyer: {said}\nseller: {seller}");
            thread::sleep(Duration::from_millis(2));
        };
        market.buyer_ended(status);
        if !was_killed(status) {
            until(|| status.success() || buyer.said().contains("sdpp: ") || buyer.said().contains("settled\":"));
            goes_on(status.code(), &format!("{}: {}", self.label, buyer.said()), &market.said());
        }
        // Killed at the last moment, it may not have been noticed yet.
        market.tend();
        self.killed.extend(market.take_killed());
    }

    /// The order, if the journal has one.
    pub(crate) fn order(&self, market: &Market) -> Option<Value> {
        let mut orders = market.lines(&self.home, &["orders", "list", "--json"]);
        // One that the seller never took has cost nothing.
        orders.retain(|order| order["state"] != "void");
        assert!(orders.len() <= 1, "{}: one order, not {orders:?}", self.label);
        orders.pop()
    }

    /// What is to be run next; nothing when the order is settled.
    pub(crate) fn next_command(&self, market: &Market) -> Option<Command> {
        match self.order(market) {
            Some(order) if order["state"] == "settled" => None,
            Some(order) => {
                Some(market.command(&self.home, &["buy", "--resume", text(&order["order"]), "--quiet", "--json"]))
            }
            None => Some(market.buying(&self.home, &self.out, self.direct)),
        }
    }

    /// Everybody has what was agreed.
    pub(crate) fn check(&mut self, market: &mut Market) {
        let (label, Deal { count, price, k, windows }) = (self.label.clone(), market.plan.deal);
        let source = std::fs::read_to_string(market.folder.path("data")).unwrap();
        let wanted: String = source.lines().take(count).map(|line| format!("{line}\n")).collect();
        let got = std::fs::read_to_string(&self.out).unwrap();
        assert!(got == wanted, "{label}: {} bytes were delivered, not {}", got.len(), wanted.len());

        let order = self.order(market).unwrap();
        // Only a seller that was killed has lost what it had sent.
        let deaths = self.killed.iter().filter(|who| **who == Who::Seller).count() as u64;
        let due: u64 = text(&order["due"]).parse().unwrap();
        let forgiven = count as u64 - due / price;
        assert!(due.is_multiple_of(price) && forgiven <= k * windows * deaths, "{label}: {forgiven} messages forgiven");
        assert_eq!(text(&order["due"]), text(&order["paid"]), "{label}");
        assert_eq!(order["verified"], count, "{label}");
        self.money(market, due);
        let report = self.audit(market);
        assert_eq!(report["totals"]["forgiven"], forgiven, "{label}: {report}");
    }

    /// The buyer has paid so much, and the seller has it.
    pub(crate) fn money(&mut self, market: &mut Market, price: u64) {
        let label = self.label.clone();
        market.earned += price;
        let wanted = market.earned;
        until(|| {
            market.tend();
            market.try_balance().is_some_and(|balance| balance >= wanted)
        });
        // What is locked comes back by itself: the seller closes its channels, at the latest in its next life, or the
        // buyer has asked for it.
        until(|| {
            market.tend();
            let wallet = market.run(&self.home, &["wallet", "--json"]);
            wallet.status.success() && !String::from_utf8_lossy(&wallet.stdout).contains("\"state\":\"open\"")
        });
        self.killed.extend(market.take_killed());
        market.disarm();
        assert_eq!(market.balance(), wanted, "{label}: paid once, and redeemed");
        let wallet = market.lines(&self.home, &["wallet", "--json"]);
        assert!(wallet.iter().all(|row| row["state"] != "open"), "{label}: {wallet:?}");
        let amount = |row: &Value, name: &str| row[name].as_str().map_or(0, |amount| amount.parse::<u64>().unwrap());
        let has: u64 = wallet.iter().map(|row| amount(row, "free") + amount(row, "locked")).sum();
        assert_eq!(has + price, GRANT, "{label}: {wallet:?}");
    }

    /// The auditor's report of the order: nothing is false, and nothing is missing.
    pub(crate) fn audit(&self, market: &Market) -> Value {
        self.audit_with(market, &[0])
    }

    /// The same, with the exit codes that the auditor may end with.
    pub(crate) fn audit_with(&self, market: &Market, codes: &[i32]) -> Value {
        let label = &self.label;
        let order = self.order(market).unwrap();
        let audited = market.run(&self.home, &["audit", "--json"]);
        let report = String::from_utf8_lossy(&audited.stdout).into_owned();
        let is_fine = audited.status.code().is_some_and(|code| codes.contains(&code));
        assert!(is_fine, "{label}: {report}{}", stderr(&audited));
        let mut reports = report.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        reports.find(|report| report["order"] == order["order"]).expect("a report")
    }
}
