//! SIGKILL of buyer and seller at drawn moments: every order completes, and every unit is accounted for.

use std::os::unix::process::ExitStatusExt as _;
use std::time::Instant;

use serde_json::Value;

use crate::kit::*;
use crate::market::*;
use crate::moment::{Moment, PHASES};
use crate::random::Random;

const KILLS: usize = 12;
const SEED: u64 = 1;
/// Messages of an order.
const COUNT: u64 = 200;
/// Moments that are drawn for one kill at most: a point may not be reached.
const DRAWS: usize = 8;

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// One order: its home, and whether somebody was killed in it.
struct Sale<'a> {
    market: &'a Market,
    home: String,
    label: String,
    killed: usize,
}

impl Sale<'_> {
    fn out(&self) -> String {
        format!("{}.ndjson", self.home)
    }

    fn order(&self) -> Option<Value> {
        let mut orders = self.market.lines(&self.home, &["orders", "list", "--json"]);
        // One that the seller never took has cost nothing.
        orders.retain(|order| order["state"] != "void");
        assert!(orders.len() <= 1, "{}: {orders:?}", self.label);
        orders.pop()
    }

    /// Runs buyer and seller again until the order is settled. The failpoint is of the first life of its side.
    fn pursue(&mut self, moment: &Moment, (seller, address): (&mut Served, &mut String)) {
        let (start, out) = (Instant::now(), self.market.folder.text(&self.out()));
        let mut fate = (moment.at == Who::Buyer).then(|| moment.failpoint(None));
        loop {
            let order = self.order();
            let args: Vec<&str> = match &order {
                Some(order) if order["state"] == "settled" => return,
                Some(order) => vec!["buy", "--resume", text(&order["order"]), "--quiet"],
                None => vec!["buy", address, "--count", "200", "--to", &out, "--quiet"],
            };
            let mut command = self.market.command(&self.home, &args);
            if let Some(fate) = fate.take() {
                command.env("SDPP_FAILPOINT", fate);
            }
            let mut buyer = Served::spawn(command);
            let status = loop {
                self.tend(seller, address);
                if let Some(status) = buyer.ended() {
                    break status;
                }
                assert!(start.elapsed() < PATIENCE, "{}: {}\n{}", self.label, buyer.said(), seller.said());
                std::thread::sleep(std::time::Duration::from_millis(5));
            };
            self.killed += usize::from(status.signal() == Some(9));
            let code = status.code();
            let said = buyer.said();
            assert!(matches!(code, None | Some(0 | 4 | 5 | 9)), "{}: {code:?}: {said}", self.label);
        }
    }

    /// Starts the seller again if it was killed.
    fn tend(&mut self, seller: &mut Served, address: &mut String) {
        if let Some(status) = seller.ended() {
            assert_eq!(status.signal(), Some(9), "{}: {}", self.label, seller.said());
            self.killed += 1;
            (*seller, *address) = self.market.sell(&[]);
        }
    }
}

/// What was paid in all homes.
fn settled(market: &Market, sale: &Sale<'_>) -> u64 {
    let (order, label) = (sale.order().unwrap(), &sale.label);
    let amount = |name: &str| text(&order[name]).parse::<u64>().unwrap();
    assert_eq!(amount("due"), amount("paid"), "{label}");
    assert_eq!(order["verified"], COUNT, "{label}");
    // Only a seller that was killed has lost what it had sent: four windows of 20 at most.
    let forgiven = COUNT - amount("due") / PRICE;
    assert!(forgiven <= 80 * sale.killed as u64, "{label}: {forgiven} messages forgiven");
    assert_eq!(market.delivered(&sale.out()) as u64, COUNT, "{label}");
    let audit = market.run(&sale.home, &["audit", "--json"]);
    let report = String::from_utf8_lossy(&audit.stdout).into_owned();
    assert!(audit.status.success() && report.contains("\"vouchers\""), "{label}: {report}{}", stderr(&audit));
    amount("paid")
}

#[test]
fn every_order_completes_on_a_chain_whoever_is_killed_whenever() {
    let (seed, kills) = (number("SDPP_KILL_SEED", SEED), number("SDPP_CHAIN_KILLS", KILLS as u64) as usize);
    println!("SDPP_KILL_SEED={seed} SDPP_CHAIN_KILLS={kills}");
    let mut random = Random(seed);
    let market = Market::open("kills", COUNT as usize);
    let mut earned = 0;
    for kill in 0..kills {
        let (phase, victim) = (PHASES[kill % 4], [Who::Buyer, Who::Seller][kill / 4 % 2]);
        let hit = (0..DRAWS).any(|draw| {
            let moment = Moment::draw_for(phase, victim, &mut random);
            let (home, label) = (format!("buyer-{kill}-{draw}"), format!("{kill}.{draw} {moment}"));
            println!("{label}");
            market.another_home(&home);
            let mut command = market.selling(&[]);
            if victim == Who::Seller {
                command.env("SDPP_FAILPOINT", moment.failpoint(None));
            }
            let mut seller = Served::spawn(command);
            let mut address = seller.url();
            let mut sale = Sale { market: &market, home, label, killed: 0 };
            sale.pursue(&moment, (&mut seller, &mut address));
            earned += settled(&market, &sale);
            // The seller closes its channels, at the latest in its next life.
            until(|| {
                sale.tend(&mut seller, &mut address);
                market.channels("seller", "seller").iter().all(|row| row["state"] == "closing")
            });
            // What was locked by a buyer that died over it comes back when the grace period is over.
            market.node.pass(GRACE_S + 1);
            assert_eq!(market.has(&sale.home, "buyer", &market.buyer), GRANT - earned, "{}", sale.label);
            assert_eq!(market.has("seller", "seller", &market.seller), earned, "{}", sale.label);
            sale.tend(&mut seller, &mut address);
            let status = seller.asked_to_end();
            assert!(status.success() || status.signal() == Some(9), "{}", sale.label);
            sale.killed > 0
        });
        assert!(hit, "no moment of {phase:?} was reached for the {victim:?}");
    }
}
