//! Against a real broker: mosquitto. `tools/mosquitto` fetches it.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a panic is how a test fails"
)]

#[path = "kit/mosquitto.rs"]
mod mosquitto;

use std::time::{Duration, Instant};

use base64ct::{Base64, Encoding};
use mosquitto::{Broker, PATIENCE};
use sdpp::feed::{Hub, Start, Subscription, Take};
use sdpp::source::{Pick, Source};
use sdpp::topic;
use sdpp_mqtt::{
    ConnectError, Login, MqttCounters, MqttSource, Options, PublishError, PublishOptions, Publisher, Qos, Refusal,
    Roots, Subscribe, Version,
};
use sdpp_proto::message::Batch;

const BOTH: [Version; 2] = [Version::V3, Version::V5];

fn options(broker: &Broker, version: Version) -> Options {
    Options { version, ..Options::new(broker.url().parse().unwrap()) }
}

fn subscribe(filters: &[&str], qos: Qos) -> Subscribe {
    Subscribe { filters: filters.iter().map(|filter| (*filter).to_owned()).collect(), qos, retained: false }
}

/// A hub on a broker, and what it counts.
async fn hub(options: Options, subscribe: Subscribe) -> (Hub, MqttCounters) {
    let source = MqttSource::connect(options, subscribe).await.unwrap();
    let counters = source.counters();
    (Hub::start(source, Start::Now), counters)
}

fn with_topic() -> Take {
    Take { with_topic: true, ..Take::default() }
}

/// `count` messages of an order, as `topic payload`.
async fn some(order: &mut Subscription, count: usize) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.len() < count {
        let mut batch = Batch::new();
        tokio::time::timeout(PATIENCE, order.fill(&mut batch)).await.expect("messages").unwrap();
        for message in batch.messages() {
            let (topic, payload) = topic::split(message.bytes).unwrap();
            messages.push(format!("{topic} {}", String::from_utf8_lossy(payload)));
        }
    }
    messages
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// With time enough for a busy machine, and no more.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("in time")
}

#[tokio::test]
async fn a_broker_is_a_source_whose_messages_keep_their_topics() {
    for version in BOTH {
        let broker = Broker::start();
        let filters = subscribe(&["car/+/speed", "sky/#"], Qos::ExactlyOnce);
        let (hub, _) = hub(options(&broker, version), filters).await;
        let mut whole = hub.subscribe(with_topic());
        let cars = Pick::all().topics(["car/#"]).unwrap();
        let mut cars = hub.subscribe(Take { pick: cars, ..with_topic() });
        let sent = [("car/1/speed", "50", "0"), ("car/1/fuel", "9", "1"), ("sky", "é", "1"), ("sky/a/b", "", "2")];
        for (topic, payload, qos) in sent.into_iter().chain([("car/2/speed", "60", "2")]) {
            broker.publish(topic, payload.as_bytes(), &["-q", qos]);
        }
        let messages = some(&mut whole, 4).await;
        assert_eq!(messages, ["car/1/speed 50", "sky é", "sky/a/b ", "car/2/speed 60"]);
        assert_eq!(some(&mut cars, 2).await, ["car/1/speed 50", "car/2/speed 60"], "one source, two products");
        let spoken = if version == Version::V3 { "p2, c1" } else { "p5, c1" };
        assert!(broker.log().contains(spoken), "{}", broker.log());
    }
}

#[tokio::test]
async fn what_was_bought_is_published_below_a_prefix_and_acknowledged() {
    for (version, number) in [(Version::V3, ""), (Version::V5, " sdpp-seq:7")] {
        for qos in [Qos::AtMostOnce, Qos::AtLeastOnce, Qos::ExactlyOnce] {
            let broker = Broker::start();
            let watch = broker.watch("#", "%r %t %p %P", 1);
            let publish = PublishOptions { prefix: "bought/".to_owned(), qos };
            let publisher = Publisher::connect(options(&broker, version), publish).await.unwrap();
            publisher.publish(7, "car/1", "50").unwrap();
            soon(publisher.flush()).await.unwrap();
            assert_eq!(publisher.acknowledged(), 1);
            soon(publisher.close()).await.unwrap();
            let messages = watch.messages();
            let messages: Vec<_> = messages.iter().map(|line| line.trim_end()).collect();
            assert_eq!(messages, [format!("0 bought/car/1 50{number}")], "{version:?} {qos:?}");
        }
    }
}

#[tokio::test]
async fn both_ways_keep_the_order_and_lose_nothing() {
    for (version, qos) in [(Version::V3, Qos::ExactlyOnce), (Version::V5, Qos::AtLeastOnce)] {
        let broker = Broker::with(|port, _| {
            format!(
                "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 20\n"
            )
        });
        let (hub, _) = hub(options(&broker, version), subscribe(&["n/#"], qos)).await;
        let mut order = hub.subscribe(with_topic());
        let publish = PublishOptions { prefix: "n".to_owned(), qos };
        let publisher = Publisher::connect(options(&broker, version), publish).await.unwrap();
        let count = 3_000;
        for seq in 0..count {
            soon(publisher.ready()).await.unwrap();
            publisher.publish(seq, &format!("t{}", seq % 7), seq.to_string()).unwrap();
        }
        soon(publisher.flush()).await.unwrap();
        assert_eq!(publisher.acknowledged(), count);
        let wanted: Vec<_> = (0..count).map(|seq| format!("n/t{} {seq}", seq % 7)).collect();
        assert_eq!(some(&mut order, wanted.len()).await, wanted);
    }
}

#[tokio::test]
async fn a_source_comes_back_when_its_broker_does() {
    for version in BOTH {
        let mut broker = Broker::start();
        let (hub, counters) = hub(options(&broker, version), subscribe(&["#"], Qos::AtLeastOnce)).await;
        let mut order = hub.subscribe(with_topic());
        broker.publish("a", b"before", &["-q", "1"]);
        assert_eq!(some(&mut order, 1).await, ["a before"]);
        broker.kill();
        until("the outage is seen", || counters.outages() == 1).await;
        broker.run_again();
        until("it is subscribed again", || counters.connections() == 2).await;
        broker.publish("a", b"after", &["-q", "1"]);
        assert_eq!(some(&mut order, 1).await, ["a after"]);
        assert_eq!((counters.outages(), hub.status().ended), (1, None));
    }
}

#[tokio::test]
async fn a_broker_that_is_silent_is_given_up() {
    let broker = Broker::start();
    let quick = Options { keep_alive_s: 1, ..options(&broker, Version::V5) };
    let (hub, counters) = hub(quick, subscribe(&["#"], Qos::AtLeastOnce)).await;
    let mut order = hub.subscribe(with_topic());
    broker.signal("STOP");
    until("its silence is noticed", || counters.outages() == 1).await;
    broker.signal("CONT");
    until("it is subscribed again", || counters.connections() == 2).await;
    broker.publish("a", b"x", &["-q", "1"]);
    assert_eq!(some(&mut order, 1).await, ["a x"]);
}

fn persistent(port: u16, folder: &std::path::Path) -> String {
    let folder = folder.display();
    format!("listener {port} 127.0.0.1\nallow_anonymous true\npersistence true\npersistence_location {folder}/\n")
}

#[tokio::test]
async fn what_was_not_acknowledged_arrives_when_the_broker_is_back() {
    for version in BOTH {
        let mut broker = Broker::with(persistent);
        let keeper = Options { session: Some("keeper".to_owned()), ..options(&broker, version) };
        // A session that the broker keeps while we are away, and over its own end.
        drop(MqttSource::connect(keeper.clone(), subscribe(&["#"], Qos::AtLeastOnce)).await.unwrap());
        let publisher = Publisher::connect(options(&broker, version), PublishOptions::default()).await.unwrap();
        publisher.publish(0, "a", "0").unwrap();
        soon(publisher.flush()).await.unwrap();
        broker.stop();
        until("the outage is seen", || publisher.outages() == 1).await;
        for seq in 1..10u64 {
            publisher.publish(seq, "a", seq.to_string()).unwrap();
        }
        assert_eq!(publisher.acknowledged(), 1, "nothing counts that the broker does not have");
        broker.run_again();
        soon(publisher.wait(10)).await.unwrap();
        let (hub, _) = hub(keeper, subscribe(&["#"], Qos::AtLeastOnce)).await;
        let wanted: Vec<_> = (0..10).map(|seq| format!("a {seq}")).collect();
        assert_eq!(some(&mut hub.subscribe(with_topic()), 10).await, wanted);
    }
}

#[tokio::test]
async fn a_session_keeps_what_comes_before_the_first_order() {
    for version in BOTH {
        let broker = Broker::start();
        let keeper = Options { session: Some("keeper".to_owned()), ..options(&broker, version) };
        let source = MqttSource::connect(keeper, subscribe(&["#"], Qos::ExactlyOnce)).await.unwrap();
        let counters = source.counters();
        let hub = Hub::start(source.rest().await, Start::FirstOrder);
        until("the broker knows", || broker.log().contains("keeper disconnected")).await;
        broker.publish("a", b"early", &["-q", "2"]);
        assert_eq!(some(&mut hub.subscribe(with_topic()), 1).await, ["a early"]);
        assert_eq!((counters.outages(), counters.connections()), (0, 2));
    }
}

#[tokio::test]
async fn a_quality_of_service_that_the_broker_does_not_have_is_refused() {
    let broker = Broker::with(|port, _| format!("listener {port} 127.0.0.1\nallow_anonymous true\nmax_qos 1\n"));
    let publish = |qos| PublishOptions { qos, ..PublishOptions::default() };
    let error = Publisher::connect(options(&broker, Version::V5), publish(Qos::ExactlyOnce)).await.err().unwrap();
    assert!(matches!(error, ConnectError::BadOptions(_)), "{error}");
    Publisher::connect(options(&broker, Version::V5), publish(Qos::AtLeastOnce)).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once() {
    for version in BOTH {
        let broker = Broker::with(|port, folder| {
            let file = folder.join("passwords");
            let mut command = std::process::Command::new(mosquitto::program("mosquitto_passwd"));
            let status = command.args(["-b", "-c"]).arg(&file).args(["me", "right-secret"]).status();
            assert!(status.unwrap().success());
            format!("listener {port} 127.0.0.1\nallow_anonymous false\npassword_file {}\n", file.display())
        });
        let with = |password: &str| {
            let login = Some(Login::new("me", password).unwrap());
            Options { login, ..options(&broker, version) }
        };
        let wrong = MqttSource::connect(with("wrong-secret"), subscribe(&["#"], Qos::default())).await.err().unwrap();
        let ConnectError::Refused { why, .. } = &wrong else { panic!("{wrong:?}") };
        assert!(matches!(why, Refusal::Login | Refusal::NotAuthorised));
        assert!(wrong.is_for_good() && !format!("{wrong} {wrong:?}").contains("secret"), "{wrong}");
        let nobody = Publisher::connect(options(&broker, version), PublishOptions::default()).await;
        assert!(matches!(nobody.err().unwrap(), ConnectError::Refused { .. }));
        MqttSource::connect(with("right-secret"), subscribe(&["#"], Qos::default())).await.unwrap();
        // In the address, too.
        let address = format!("mqtt://me:right-secret@127.0.0.1:{}", broker.port()).parse().unwrap();
        let address = Options { version, ..Options::new(address) };
        Publisher::connect(address, PublishOptions::default()).await.unwrap();
    }
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_not_waited_for_in_vain() {
    let mut broker = Broker::start();
    broker.kill();
    let nobody = Options { patience_ms: 0, ..options(&broker, Version::V5) };
    let error = Publisher::connect(nobody, PublishOptions::default()).await.err().unwrap();
    assert!(matches!(error, ConnectError::Unreachable { for_good: false, .. }), "{error:?}");
    // With patience it may come later.
    let patient = Options { patience_ms: 60_000, ..options(&broker, Version::V5) };
    let waiting = tokio::spawn(Publisher::connect(patient, PublishOptions::default()));
    broker.run_again();
    soon(waiting).await.unwrap().unwrap();
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = Base64::encode_string(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

#[tokio::test]
async fn tls_believes_only_the_certificate_that_it_was_given() {
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let (made, other) = (make(), make());
    let certificate = pem("CERTIFICATE", made.cert.der());
    let broker = Broker::with(|port, folder| {
        std::fs::write(folder.join("cert"), &certificate).unwrap();
        std::fs::write(folder.join("key"), pem("PRIVATE KEY", &made.signing_key.serialize_der())).unwrap();
        let folder = folder.display();
        format!("listener {port} 127.0.0.1\nallow_anonymous true\ncertfile {folder}/cert\nkeyfile {folder}/key\n")
    });
    let secure = |host: &str, roots: &str| {
        let address = format!("mqtts://{host}:{}", broker.port()).parse().unwrap();
        Options { roots: Roots::Pem(roots.as_bytes().to_vec()), ..Options::new(address) }
    };
    let (hub, _) = hub(secure("localhost", &certificate), subscribe(&["#"], Qos::AtLeastOnce)).await;
    let mut order = hub.subscribe(with_topic());
    let publisher = Publisher::connect(secure("localhost", &certificate), PublishOptions::default()).await.unwrap();
    publisher.publish(0, "a", vec![b'x'; 300_000]).unwrap();
    soon(publisher.flush()).await.unwrap();
    assert_eq!(some(&mut order, 1).await[0].len(), 300_002);
    let strange = pem("CERTIFICATE", other.cert.der());
    let plain = Options::new(format!("mqtts://localhost:{}", broker.port()).parse().unwrap());
    for wrong in [secure("localhost", &strange), secure("127.0.0.1", &certificate), plain] {
        let error = Publisher::connect(wrong, PublishOptions::default()).await.err().unwrap();
        let told = matches!(error, ConnectError::Unreachable { for_good: true, .. } | ConnectError::NoRoots);
        assert!(told, "{error}");
    }
    assert!(Publisher::connect(secure("localhost", "nothing"), PublishOptions::default()).await.is_err());
}

#[tokio::test]
async fn a_message_that_is_too_large_is_left_out_and_the_next_one_is_not() {
    for version in BOTH {
        let broker = Broker::start();
        let (hub, counters) = hub(options(&broker, version), subscribe(&["#"], Qos::AtLeastOnce)).await;
        let mut order = hub.subscribe(with_topic());
        broker.publish("a", &vec![b'x'; 5 * 1024 * 1024], &["-q", "1"]);
        broker.publish("a", b"small", &["-q", "1"]);
        assert_eq!(some(&mut order, 1).await, ["a small"]);
        // A broker of version 5 knows our limit and does not even send it.
        assert_eq!(counters.left_out(), u64::from(version == Version::V3));
        assert_eq!(counters.outages(), 0);
    }
}

#[tokio::test]
async fn retained_messages_are_old_and_come_only_when_asked_for() {
    for version in BOTH {
        let broker = Broker::start();
        broker.publish("a", b"old", &["-r", "-q", "1"]);
        let (live, _) = hub(options(&broker, version), subscribe(&["#"], Qos::AtLeastOnce)).await;
        let mut fresh = live.subscribe(with_topic());
        let kept = Subscribe { retained: true, ..subscribe(&["#"], Qos::AtLeastOnce) };
        let source = MqttSource::connect(options(&broker, version), kept).await.unwrap();
        let all = Hub::start(source, Start::FirstOrder);
        let mut kept = all.subscribe(with_topic());
        broker.publish("a", b"new", &["-q", "1"]);
        assert_eq!(some(&mut kept, 2).await, ["a old", "a new"]);
        assert_eq!(some(&mut fresh, 1).await, ["a new"]);
    }
}

#[tokio::test]
async fn what_the_broker_will_never_take_ends_the_publisher() {
    let broker = Broker::with(|port, folder| {
        std::fs::write(folder.join("acl"), "topic read #\ntopic readwrite mine/#\n").unwrap();
        let acl = folder.join("acl");
        let acl = acl.display();
        format!("listener {port} 127.0.0.1\nallow_anonymous true\nacl_file {acl}\nmax_packet_size 2000\n")
    });
    let connect = || Publisher::connect(options(&broker, Version::V5), PublishOptions::default());
    let publisher = connect().await.unwrap();
    publisher.publish(0, "mine/a", "x").unwrap();
    publisher.publish(1, "theirs/a", "x").unwrap();
    let error = soon(publisher.closed()).await;
    assert_eq!(error, PublishError::Refused { seq: 1, topic: "theirs/a".into(), why: Refusal::NotAuthorised });
    assert_eq!(publisher.acknowledged(), 1);
    assert_eq!(publisher.publish(2, "mine/a", "x"), Err(error));
    let publisher = connect().await.unwrap();
    publisher.publish(0, "mine/a", vec![0; 3_000]).unwrap();
    assert_eq!(soon(publisher.flush()).await, Err(PublishError::TooLargeForBroker { seq: 0, max: 2_000 }));
    let publisher = connect().await.unwrap();
    assert_eq!(publisher.publish(0, "$SYS/x", "x"), Err(PublishError::BrokersTopic));
    assert!(matches!(publisher.publish(0, "a/#", "x"), Err(PublishError::BadTopic(_))));
}

#[tokio::test]
async fn a_publisher_keeps_a_bounded_number_of_messages() {
    let broker = Broker::start();
    let publisher = Publisher::connect(options(&broker, Version::V5), PublishOptions::default()).await.unwrap();
    broker.signal("STOP");
    let mut taken = 0u64;
    while publisher.publish(taken, "a", vec![0; 100_000]).is_ok() {
        taken += 1;
    }
    assert_eq!(publisher.publish(taken, "a", "x"), Err(PublishError::Full));
    assert!((100..1_000).contains(&taken), "{taken}");
    broker.signal("CONT");
    soon(publisher.ready()).await.unwrap();
    publisher.publish(taken, "a", "x").unwrap();
    soon(publisher.wait(taken + 1)).await.unwrap();
}
