//! Readings of a broker are sold, and published at it again by whoever has bought them. With quality of
//! service 1 one may come twice. What a seller had taken from the broker and not yet delivered dies with it.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::kit::*;
use crate::lane::trace_of;
use crate::market::*;
use crate::mosquitto::{self, Broker};
use crate::proof;
use crate::sale::Sale;
use crate::scenes::{self, PLAN, Play, Played};

const ROUNDS: u64 = 4;
const READINGS: u64 = 5;
/// How long a reading is waited for that may have died with its seller.
const LOST_AFTER: Duration = Duration::from_secs(3);

/// Writes down what is published, until it is dropped.
struct Subscriber(Child);

impl Subscriber {
    fn open(broker: &Broker, file: &Path) -> Self {
        let mut command = Command::new(mosquitto::program("mosquitto_sub"));
        let port = broker.port().to_string();
        command.args(["-h", "127.0.0.1", "-p", &port, "-q", "1", "-i", "reader", "-t", "bought/#", "-F", "%p"]);
        let child = command.stdin(Stdio::null()).stdout(File::create(file).unwrap()).spawn().unwrap();
        until(|| broker.log().contains("Sending SUBACK to reader"));
        Self(child)
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Live<'a> {
    market: Market,
    sale: Sale,
    buyer: Option<Served>,
    to: String,
    play: &'a Play,
}

impl Live<'_> {
    /// The buyer's next command: to buy, or to go on.
    fn next_buyer(&mut self) {
        let market = &mut self.market;
        let mut command = match self.sale.order(market) {
            Some(order) => {
                market.command(&self.sale.home, &["buy", "--resume", text(&order["order"]), "--quiet", "--json"])
            }
            None => {
                let args = ["buy", &market.address, "--budget", "10000", "--to", &self.to, "--quiet", "--json"];
                let mut command = market.command(&self.sale.home, &args);
                command.args(["--witness", &market.cosigner]);
                command
            }
        };
        market.fate(Who::Buyer, &mut command);
        self.buyer = Some(Served::spawn(command));
    }

    /// Starts again who was killed.
    fn tend(&mut self) {
        self.market.tend();
        let Some(buyer) = &mut self.buyer else { return self.next_buyer() };
        let Some(status) = buyer.ended() else { return };
        let code = status.code();
        assert!(was_killed(status) || matches!(code, Some(4 | 9)), "{}: {status}: {}", self.sale.label, buyer.said());
        self.market.buyer_ended(status);
        self.next_buyer();
    }

    /// The order ends, whoever is killed meanwhile.
    fn end(&mut self) {
        if let Some(mut buyer) = self.buyer.take() {
            buyer.signal("TERM");
            let status = buyer.wait();
            self.market.buyer_ended(status);
        }
        self.market.tend();
        let order = self.sale.order(&self.market).unwrap();
        if order["state"] != "settled" {
            let args = ["orders", "close", text(&order["order"]), "--json"];
            scenes::insist(&mut self.market, Who::Buyer, &self.sale.home, &args);
        }
        self.sale.killed.extend(self.market.take_killed());
    }
}

fn numbers(file: &Path) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(|line| line.parse().unwrap()).collect()
}

/// Plays it, in a market of its own.
pub(crate) fn play(play: &Play, traced: bool) -> Played {
    let broker = Broker::with(|port, folder| {
        let folder = folder.display();
        format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n")
    });
    let config = format!(
        "[sources.broker]\nmqtt = \"{}\"\ntopics = [\"readings/#\"]\nsession = \"seller\"\nqos = 1\n[[products]]\n\
         topic = \"feed\"\nprice = \"5/1\"\nk = 4\nwindows = 2\nschema = \"text\"\nwindow_time = \"200ms\"\n",
        broker.url()
    );
    let plan = Plan { config: config.leak(), traced, ..PLAN };
    let mut market = Market::open(&format!("{}-market", play.home), plan);
    let file = market.folder.path("bought");
    let subscriber = Subscriber::open(&broker, &file);
    scenes::arm(&mut market, play);
    let sale = Sale::new(&market, &play.home, false, play.label.clone());
    let mut live = Live { market, sale, buyer: None, to: format!("{}/bought", broker.url()), play };
    live.next_buyer();
    for number in 0..ROUNDS * READINGS {
        broker.publish("readings/a", number.to_string().as_bytes(), &["-q", "1"]);
        if number % READINGS == READINGS - 1 {
            come(&mut live, &file, number);
        }
    }
    live.end();
    drop(subscriber);
    check(live, &numbers(&file))
}

/// Waits for a reading, and all before it; only a seller that was killed may have lost some.
fn come(live: &mut Live<'_>, file: &Path, last: u64) {
    let start = Instant::now();
    loop {
        live.tend();
        let (seen, lossy) = (numbers(file), live.play.who == Who::Seller);
        if (0..=last).all(|number| seen.contains(&number)) || (lossy && start.elapsed() > LOST_AFTER) {
            return;
        }
        let label = &live.sale.label;
        assert!(start.elapsed() < PATIENCE, "{label}: {seen:?} of {last}");
        thread::sleep(Duration::from_millis(20));
    }
}

fn check(mut live: Live<'_>, seen: &BTreeSet<u64>) -> Played {
    let (label, all) = (live.sale.label.clone(), 0..ROUNDS * READINGS);
    assert!(seen.iter().all(|number| all.contains(number)), "{label}: {seen:?}");
    if live.play.who != Who::Seller {
        assert_eq!(seen.len() as u64, all.end, "{label}: {seen:?}");
    }
    let order = live.sale.order(&live.market).unwrap();
    assert!(order["state"] == "settled" && order["due"] == order["paid"], "{label}: {order}");
    let (due, verified): (u64, u64) = (text(&order["due"]).parse().unwrap(), order["verified"].as_u64().unwrap());
    live.sale.money(&mut live.market, due);
    let report = live.sale.audit(&live.market);
    let forgiven = report["totals"]["forgiven"].as_u64().unwrap();
    assert_eq!((verified - forgiven) * PLAN.deal.price, due, "{label}: {report}");
    proof::bundle(&live.sale, &live.market);
    let Live { market, sale, .. } = live;
    let played = Played { killed: sale.killed, trace: trace_of(&market), buyer_lives: market.buyer_lives };
    proof::close(market);
    played
}
