//! A broker is killed again and again while readings from it are sold. What it had acknowledged and saved, it
//! keeps for the seller's session: all of it is sold. With quality of service 1 MQTT itself may send a message
//! twice, so a repeat is no fault; a gap is.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt as _;

use crate::house::{House, end_of};
use crate::kit::*;
use crate::mosquitto::Broker;

const ROUNDS: u64 = 5;
/// Readings of a round: as it goes, while the seller does not listen, and right after the broker is back.
const QUIET: u64 = 7;
const KEPT: u64 = 12;
const AFTER: u64 = 5;

fn numbers(file: &str) -> Vec<u64> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(|line| line.parse().unwrap()).collect()
}

#[test]
fn what_a_broker_has_acknowledged_is_sold_over_its_deaths() {
    let house = House::open("kills-broker");
    let mut broker = Broker::with(|port, folder| {
        let folder = folder.display();
        format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n")
    });
    let config = format!(
        "[sources.broker]\nmqtt = \"{}\"\ntopics = [\"readings/#\"]\nsession = \"sdpp-kills\"\nqos = 1\n\
         [[products]]\ntopic = \"readings\"\nprice = \"5/1\"\nk = 5\nschema = \"text\"\nwindow_time = \"200ms\"\n",
        broker.url()
    );
    let (seller, addresses) = house.sell(&config, 1);
    let out = house.folder.text("out");
    let args = ["buy", &addresses[0], "--budget", "100000", "--to", &out, "--quiet", "--json"];
    let mut buyer = Served::spawn(house.command("buyer", &args));
    until(|| buyer.said().lines().any(|line| line.starts_with("order ")));

    let mut next = 0;
    let mut publish = |broker: &Broker, count: u64| {
        for number in next..next + count {
            broker.publish("readings/a", number.to_string().as_bytes(), &["-q", "1"]);
        }
        next += count;
        next
    };
    let has_all = |through: u64| {
        let seen: BTreeSet<u64> = numbers(&out).into_iter().collect();
        (0..through).all(|number| seen.contains(&number))
    };
    for _ in 0..ROUNDS {
        let through = publish(&broker, QUIET);
        until(|| has_all(through));
        seller.signal("STOP");
        publish(&broker, KEPT);
        // It writes a new file and puts that in the old one's place; what it logs comes before.
        let saved = || std::fs::metadata(broker.folder().join("mosquitto.db")).ok().map(|file| file.ino());
        let before = saved();
        broker.signal("USR1");
        until(|| saved() != before);
        broker.kill();
        broker.run_again();
        seller.signal("CONT");
        let through = publish(&broker, AFTER);
        until(|| has_all(through));
    }
    buyer.signal("TERM");
    let status = buyer.wait();
    assert_eq!(status.code(), Some(0), "{}", buyer.said());
    until(|| buyer.said().contains("\"settled\""));
    let (end, sold) = (end_of(&buyer.said()), numbers(&out));
    let price = (5 * sold.len() as u64).to_string();
    assert_eq!((text(&end["due"]), text(&end["paid"])), (&*price, &*price), "{end}");
    let mut first = sold.clone();
    let mut seen = BTreeSet::new();
    first.retain(|number| seen.insert(*number));
    assert!(first.iter().copied().eq(0..ROUNDS * (QUIET + KEPT + AFTER)), "in their order: {sold:?}");
    println!(
        "the broker was killed {ROUNDS} times; {} readings, {} of them twice",
        first.len(),
        sold.len() - first.len()
    );
    let audited = house.run("buyer", &["audit"]);
    assert_eq!(audited.status.code(), Some(0), "{}", stderr(&audited));
    seller.stop();
    house.close();
}
