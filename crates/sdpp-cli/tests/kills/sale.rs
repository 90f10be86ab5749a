//! One sale in which somebody is killed: all are started again until the order is settled, and then
//! everybody has what was agreed.

use std::time::Instant;

use serde_json::Value;

use crate::kit::*;
use crate::market::*;
use crate::moment::{Moment, Who};

/// Sees an order through. Says whether somebody was killed.
pub(crate) fn run(market: &mut Market, name: &str, moment: &Moment) -> bool {
    let mut sale = Sale { home: name.to_owned(), out: market.folder.text(&format!("{name}.ndjson")), killed: None };
    let failpoint = market.arm(moment);
    sale.pursue(market, moment, failpoint);
    assert!(sale.killed.is_none_or(|killed| killed == moment.victim), "{moment}: killed was {:?}", sale.killed);
    sale.check(market, moment);
    sale.killed.is_some()
}

struct Sale {
    home: String,
    out: String,
    killed: Option<Who>,
}

/// What is to be done when a purchase has ended so: nothing, or to go on.
fn goes_on(code: Option<i32>, said: &str) -> bool {
    match code {
        Some(0) => false,
        // Nobody there; unfinished.
        Some(4 | 9) => true,
        // The seller's rail is down for a moment, or its old session holds the order.
        Some(5) if said.contains("rail") || said.contains("ledger") => true,
        _ => panic!("exit code {code:?}: {said}"),
    }
}

impl Sale {
    /// Starts the buyer again and again until it has settled.
    fn pursue(&mut self, market: &mut Market, moment: &Moment, mut failpoint: Option<String>) {
        let start = Instant::now();
        while let Some(mut command) = self.next_command(market, moment) {
            if let Some(failpoint) = failpoint.take() {
                command.env("SDPP_FAILPOINT", failpoint);
            }
            let mut buyer = Served::spawn(command);
            let status = loop {
                if let Some(who) = market.tend() {
                    self.killed = Some(who);
                }
                if let Some(status) = buyer.ended() {
                    break status;
                }
                assert!(
                    start.elapsed() < PATIENCE,
                    "{moment}: not settled.\nbuyer: {}\nseller: {}",
                    buyer.said(),
                    market.said()
                );
                std::thread::sleep(std::time::Duration::from_millis(2));
            };
            if was_killed(status) {
                self.killed = Some(Who::Buyer);
            } else {
                until(|| status.success() || buyer.said().contains("sdpp: ") || buyer.said().contains("settled\":"));
                goes_on(status.code(), &format!("{moment}: {}", buyer.said()));
            }
            // Killed at the last moment, it may not have been noticed yet.
            if let Some(who) = market.tend() {
                self.killed = Some(who);
            }
        }
    }

    /// The order, if the journal has one.
    fn order(&self, market: &Market) -> Option<Value> {
        let mut orders = market.lines(&self.home, &["orders", "list", "--json"]);
        // One that the seller never took has cost nothing.
        orders.retain(|order| order["state"] != "void");
        assert!(orders.len() <= 1, "one order, not {orders:?}");
        orders.pop()
    }

    /// What is to be run next; nothing when the order is settled.
    fn next_command(&self, market: &Market, moment: &Moment) -> Option<std::process::Command> {
        match self.order(market) {
            Some(order) if order["state"] == "settled" => None,
            Some(order) => {
                Some(market.command(&self.home, &["buy", "--resume", text(&order["order"]), "--quiet", "--json"]))
            }
            None => {
                let (count, pay) = (COUNT.to_string(), if moment.direct { "direct" } else { "voucher" });
                let args =
                    ["buy", &market.address, "--count", &count, "--to", &self.out, "--pay", pay, "--quiet", "--json"];
                Some(market.command(&self.home, &args))
            }
        }
    }

    fn check(&self, market: &mut Market, moment: &Moment) {
        let source = std::fs::read_to_string(market.folder.path("data")).unwrap();
        let wanted: String = source.lines().take(COUNT).map(|line| format!("{line}\n")).collect();
        let got = std::fs::read_to_string(&self.out).unwrap();
        assert!(got == wanted, "{moment}: {} bytes were delivered, not {}", got.len(), wanted.len());

        let order = self.order(market).unwrap();
        let audited = market.run(&self.home, &["audit", "--json"]);
        let report = String::from_utf8_lossy(&audited.stdout).into_owned();
        assert_eq!(audited.status.code(), Some(0), "{moment}: {report}{}", stderr(&audited));
        let reports = report.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let report = reports.into_iter().find(|report| report["order"] == order["order"]).expect("a report");
        let forgiven = report["totals"]["forgiven"].as_u64().unwrap();
        // Only a seller that was killed has lost what it had sent.
        let most = if self.killed == Some(Who::Seller) { K * WINDOWS } else { 0 };
        assert!(forgiven <= most, "{moment}: {forgiven} messages are forgiven");

        let price = (COUNT as u64 - forgiven) * PRICE;
        assert_eq!((text(&order["due"]), text(&order["paid"])), (&*price.to_string(), &*price.to_string()), "{moment}");
        assert_eq!(order["verified"], COUNT, "{moment}");
        market.earned += price;
        until(|| {
            market.tend();
            market.balance() >= market.earned
        });
        assert_eq!(market.balance(), market.earned, "{moment}: paid once, and redeemed");

        let wallet = market.lines(&self.home, &["wallet", "--json"]);
        let amount = |row: &Value, name: &str| row[name].as_str().map_or(0, |amount| amount.parse::<u64>().unwrap());
        let has: u64 = wallet.iter().map(|row| amount(row, "free") + amount(row, "locked")).sum();
        assert_eq!(has + price, GRANT, "{moment}: {wallet:?}");
    }
}
