//! Readings go from one broker to another, sold by one command and bought by one. Two real brokers, and
//! the real program on both sides.
#![cfg(unix)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics has failed"
)]

#[path = "ledger/house.rs"]
mod house;
#[path = "ledger/kit.rs"]
mod kit;
#[path = "../../sdpp-mqtt/tests/kit/mosquitto.rs"]
mod mosquitto;

use house::*;
use kit::*;
use mosquitto::Broker;

/// Messages that the seller has sent to its buyers.
fn sent(house: &House) -> u64 {
    let rows = house.lines("seller", &["status", "--json"]);
    rows.iter().filter_map(|row| row["sent"].as_u64()).sum()
}

/// A buyer, live: what is published from now on is for it.
fn buying(house: &House, home: &str, address: &str, count: &str, to: &str) -> Served {
    let args = ["buy", address, "--count", count, "--to", to, "--quiet", "--json"];
    let buyer = Served::spawn(house.command(home, &args));
    until(|| buyer.said().lines().any(|line| line.starts_with("order ")) || buyer.said().contains("sdpp: "));
    assert!(!buyer.said().contains("sdpp: "), "{}", buyer.said());
    buyer
}

fn settled(mut buyer: Served, messages: u64, price: u64) {
    let status = buyer.wait();
    assert_eq!(status.code(), Some(0), "{}", buyer.said());
    until(|| buyer.said().contains("\"settled\""));
    let end = end_of(&buyer.said());
    assert_eq!((end["settled"].as_bool(), end["delivered"].as_u64()), (Some(true), Some(messages)), "{end}");
    assert_eq!((text(&end["due"]), text(&end["paid"])), (&*price.to_string(), &*price.to_string()));
}

#[test]
fn readings_are_sold_with_one_command_and_bought_with_one_on_the_other_side() {
    let house = House::open("mqtt");
    let (mut near, far) = (Broker::start(), Broker::start());
    let from = near.url();
    let words = "sell --product temperature --price 5/1 --k 10 --schema mqtt --topic sensors/# --listen 127.0.0.1:0";
    let args: Vec<_> = words.split(' ').chain(["--from", &from]).collect();
    let seller = Served::spawn(house.command("seller", &args));
    let address = seller.url();
    let watch = far.watch("#", "%t %p", 50);
    let buyer = buying(&house, "buyer", &address, "50", &format!("{}/bought", far.url()));

    let reading = |number: u32| (format!("sensors/room-{}/temperature", number % 3), format!("{number}.5"));
    let publish = |broker: &Broker, number: u32| {
        let (topic, payload) = reading(number);
        broker.publish(&topic, payload.as_bytes(), &["-q", "1"]);
    };
    near.publish("weather/elsewhere", b"not subscribed to", &["-q", "1"]);
    (0..25).for_each(|number| publish(&near, number));
    until(|| sent(&house) == 25);
    let subscriptions = |broker: &Broker| broker.log().matches("Sending SUBACK to").count();
    let before = subscriptions(&near);
    near.kill();
    near.run_again();
    // The seller comes back by itself and says once that it was away.
    until(|| subscriptions(&near) > before);
    (25..50).for_each(|number| publish(&near, number));

    settled(buyer, 50, 250);
    let wanted = (0..50).map(reading).map(|(topic, payload)| format!("bought/{topic} {payload}"));
    assert_eq!(watch.messages(), wanted.collect::<Vec<_>>());
    let audited = house.run("buyer", &["audit"]);
    assert_eq!(audited.status.code(), Some(0), "{}", stderr(&audited));
    until(|| house.balance("seller", "seller") == 250);
    seller.stop();
    house.close();
}

#[test]
fn each_topic_of_a_broker_is_a_product_by_configuration() {
    let (house, broker) = (House::open("mqtt-topics"), Broker::start());
    let config = format!(
        r#"
        [sources.plant]
        mqtt = "{}"
        topics = ["plant/#"]
        [[products]]
        topic = "temperature"
        price = "5/1"
        k = 5
        select = "plant/+/temperature"
        [[products]]
        topic = "pressure"
        price = "1/1"
        k = 3
        select = "plant/+/pressure"
        "#,
        broker.url()
    );
    let (seller, addresses) = house.sell(&config, 2);
    let files = ["temperature", "pressure"].map(|name| house.folder.text(name));
    let warm = buying(&house, "warm", &addresses[0], "20", &files[0]);
    let high = buying(&house, "high", &addresses[1], "10", &files[1]);
    for number in 0..20 {
        broker.publish(&format!("plant/{}/temperature", number % 4), format!("t{number}").as_bytes(), &["-q", "1"]);
        broker.publish("plant/1/humidity", b"nobody's", &["-q", "1"]);
        if number % 2 == 0 {
            broker.publish("plant/2/pressure", format!("p{number}").as_bytes(), &["-q", "1"]);
        }
    }
    settled(warm, 20, 100);
    settled(high, 10, 10);
    let lines = |file: &str| std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>();
    // In a file, topic and payload are a JSON object a line.
    let reading = |topic: String, payload: String| format!(r#"{{"topic":"{topic}","payload":"{payload}"}}"#);
    let warm = (0..20).map(|number| reading(format!("plant/{}/temperature", number % 4), format!("t{number}")));
    assert_eq!(lines(&files[0]), warm.collect::<Vec<_>>());
    let high = (0..20).step_by(2).map(|number| reading("plant/2/pressure".to_owned(), format!("p{number}")));
    assert_eq!(lines(&files[1]), high.collect::<Vec<_>>());
    seller.stop();
    house.close();
}

#[test]
fn a_wrong_password_is_one_clear_error() {
    let house = House::open("mqtt-password");
    let broker = Broker::with(|port, folder| {
        let file = folder.join("passwords");
        let mut command = std::process::Command::new(mosquitto::program("mosquitto_passwd"));
        let status = command.args(["-b", "-c"]).arg(&file).args(["me", "right-secret"]).status();
        assert!(status.unwrap().success());
        format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n", file.display())
    });
    let from = broker.url();
    let selling = |password: &str| {
        let args = ["sell", "--product", "t", "--price", "1", "--topic", "#", "--dry-run", "--from", &from];
        let args = [&args[..], &["--listen", "127.0.0.1:0"]].concat();
        let mut command = house.command("seller", &args);
        command.env("SDPP_MQTT_USER", "me").env("SDPP_MQTT_PASSWORD", password);
        command.output().unwrap()
    };
    let wrong = selling("wrong-secret");
    let said = stderr(&wrong);
    assert_eq!(wrong.status.code(), Some(5), "{said}");
    let errors: Vec<_> = said.lines().filter(|line| line.starts_with("sdpp: ")).collect();
    assert_eq!(errors.len(), 1, "{said}");
    assert!(errors[0].contains("SDPP_MQTT_PASSWORD") || errors[0].contains("log in"), "{said}");
    assert!(!said.contains("secret"), "{said}");
    assert_eq!(selling("right-secret").status.code(), Some(0));
    house.close();
}

#[test]
fn a_broker_that_is_down_is_said_with_advice() {
    let house = House::open("mqtt-down");
    let from = format!("mqtt://{}", fixed_address());
    let down = house.run(
        "seller",
        &["sell", "--product", "t", "--price", "1", "--topic", "#", "--from", &from, "--listen", "127.0.0.1:0"],
    );
    let said = stderr(&down);
    assert_eq!(down.status.code(), Some(4), "{said}");
    let error = said.lines().find(|line| line.starts_with("sdpp: ")).unwrap();
    assert!(error.contains(&from) && error.contains("check the address, and that the broker runs"), "{said}");
    house.close();
}
