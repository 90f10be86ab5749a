//! Live sources and the hub.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc;

use futures_util::FutureExt;
use sdpp_proto::message::Batch;
use tokio::sync::mpsc as pipe;

use super::*;
use crate::source::{Csv, Form, OnBad, Pick, Reading, Source};
use crate::testing::{Folder, texts, until};
use crate::topic;

/// An upstream that a test feeds.
struct Fed(pipe::UnboundedReceiver<io::Result<Item>>);

type Feeder = pipe::UnboundedSender<io::Result<Item>>;

fn fed() -> (Feeder, Fed) {
    let (sender, receiver) = pipe::unbounded_channel();
    (sender, Fed(receiver))
}

impl Upstream for Fed {
    fn take<'a>(&'a mut self, items: &'a mut Vec<Item>) -> Taken<'a> {
        Box::pin(async move {
            match self.0.recv().await {
                Some(item) => items.push(item?),
                None => return Ok(Filled::End),
            }
            Ok(Filled::Some)
        })
    }
}

fn item(topic: Option<&str>, text: &str) -> Item {
    Item { topic: topic.map(Arc::from), time_us: 7, payload: Bytes::copy_from_slice(text.as_bytes()) }
}

fn plain(feeder: &Feeder, text: &str) {
    feeder.send(Ok(item(None, text))).unwrap();
}

/// The next messages of an order; none at the end.
async fn next(order: &mut Subscription) -> io::Result<Option<Vec<String>>> {
    let mut batch = Batch::new();
    let filled = order.fill(&mut batch).await?;
    Ok((filled == Filled::Some).then(|| texts(&batch)))
}

/// `count` messages of an order.
async fn some(order: &mut Subscription, count: usize) -> Vec<String> {
    let mut messages = Vec::new();
    while messages.len() < count {
        messages.extend(next(order).await.unwrap().expect("more messages"));
    }
    messages
}

/// All messages up to the end.
async fn all(order: &mut Subscription) -> io::Result<Vec<String>> {
    let mut messages = Vec::new();
    while let Some(more) = next(order).await? {
        messages.extend(more);
    }
    Ok(messages)
}

#[tokio::test]
async fn one_upstream_feeds_many_orders_by_topic_and_by_field() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let topics = Take { pick: Pick::all().topics(["car/+/speed"]).unwrap(), ..Take::default() };
    let field = Take { pick: Pick::all().field("kind", "rain"), ..Take::default() };
    let mut cars = hub.subscribe(topics.clone());
    let mut others = hub.subscribe(topics);
    let mut rain = hub.subscribe(field);
    let mut whole = hub.subscribe(Take::default());
    let sent = [("car/1/speed", "50"), ("car/1/fuel", "9"), ("sky", r#"{"kind":"rain"}"#), ("car/2/speed", "60")];
    for (topic, text) in sent {
        feeder.send(Ok(item(Some(topic), text))).unwrap();
    }
    drop(feeder);
    assert_eq!(all(&mut cars).await.unwrap(), ["50", "60"]);
    assert_eq!(all(&mut others).await.unwrap(), ["50", "60"]);
    assert_eq!(all(&mut rain).await.unwrap(), [r#"{"kind":"rain"}"#]);
    assert_eq!(all(&mut whole).await.unwrap().len(), 4);
    assert_eq!(all(&mut hub.subscribe(Take::default())).await.unwrap().len(), 0, "an ended source has no past");
    let HubStatus { received, orders, ended, kept_bytes } = hub.status();
    assert_eq!((received, orders, ended), (4, 4, Some(Ok(()))));
    assert!(kept_bytes > 0);
    drop((cars, others, rain, whole));
    assert_eq!(hub.status().orders, 0);
}

#[tokio::test]
async fn the_topic_is_kept_where_the_product_says_so() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut order = hub.subscribe(Take { with_topic: true, message_max: 9, ..Take::default() });
    for (topic, text) in [("a/ü", "one"), ("bad/+", "x"), ("a/b", "too long"), ("c", "two")] {
        feeder.send(Ok(item(Some(topic), text))).unwrap();
    }
    let mut batch = Batch::new();
    while batch.len() < 2 {
        order.fill(&mut batch).await.unwrap();
    }
    let messages: Vec<_> = batch.messages().map(|message| topic::split(message.bytes).unwrap()).collect();
    assert_eq!(messages, [("a/ü", &b"one"[..]), ("c", b"two")]);
    assert_eq!(order.dropped().count(), 2, "no topic, and too long");
    plain(&feeder, "no topic");
    let error = next(&mut order).await.unwrap_err().to_string();
    assert!(error.contains("no topics"), "{error}");
}

#[tokio::test]
async fn a_slow_order_slows_nobody_and_gets_what_its_policy_says() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let small = |overflow| Take { overflow, queue_messages: 3, ..Take::default() };
    let mut oldest = hub.subscribe(small(Overflow::DropOldest));
    let mut newest = hub.subscribe(small(Overflow::DropNewest));
    let mut ends = hub.subscribe(small(Overflow::End));
    let bytes = ITEM_AND_ONE_BYTE * 2;
    let mut by_bytes = hub.subscribe(Take { overflow: Overflow::DropOldest, queue_bytes: bytes, ..Take::default() });
    let mut quick = hub.subscribe(Take::default());
    for text in ["1", "2", "3", "4", "5"] {
        plain(&feeder, text);
    }
    assert_eq!(some(&mut quick, 5).await.concat(), "12345");
    assert_eq!(next(&mut oldest).await.unwrap().unwrap().concat(), "345");
    assert_eq!(next(&mut newest).await.unwrap().unwrap().concat(), "123");
    assert_eq!(next(&mut by_bytes).await.unwrap().unwrap().concat(), "45");
    assert_eq!([oldest.dropped().count(), newest.dropped().count(), by_bytes.dropped().count()], [2, 2, 3]);
    assert_eq!(next(&mut ends).await.unwrap().unwrap().concat(), "123", "what waits is still sold");
    let error = next(&mut ends).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    assert!(error.to_string().contains("3 messages"), "{error}");
    // The others go on.
    plain(&feeder, "6");
    assert_eq!(some(&mut oldest, 1).await.concat(), "6");
    assert_eq!(some(&mut newest, 1).await.concat(), "6");
}

const ITEM_AND_ONE_BYTE: usize = size_of::<Item>() + 1;

#[tokio::test]
async fn an_upstream_waits_for_an_order_that_asks_it_to() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut waits = hub.subscribe(Take { overflow: Overflow::Wait, queue_messages: 2, ..Take::default() });
    for number in 0..500 {
        plain(&feeder, &format!("{number};"));
    }
    until("the queue is full", || hub.status().received == 3).await;
    // Left alone, nothing more is read.
    tokio::task::yield_now().await;
    assert_eq!(hub.status().received, 3);
    let messages = some(&mut waits, 500).await;
    assert_eq!(messages, (0..500).map(|number| format!("{number};")).collect::<Vec<_>>());
    // One that is full and goes away holds nobody up.
    for _ in 0..10 {
        plain(&feeder, "x");
    }
    until("the queue is full again", || hub.status().received == 503).await;
    drop(waits);
    until("the rest was read", || hub.status().received == 510).await;
}

#[tokio::test]
async fn an_order_for_which_the_upstream_waits_holds_no_other_up() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let take = Take { overflow: Overflow::Wait, queue_messages: 2, ..Take::default() };
    let mut waits = hub.subscribe(take.clone());
    for number in 0..10 {
        plain(&feeder, &number.to_string());
    }
    until("the queue is full", || hub.status().received == 3).await;
    let mut quick = hub.subscribe(Take::default());
    assert_eq!(some(&mut quick, 7).await.concat(), "3456789");
    assert_eq!(some(&mut waits, 2).await.concat(), "01");
    assert_eq!(next(&mut waits).await.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    // The same where it was not alone from the beginning.
    let mut late = hub.subscribe(take);
    for number in 0..3 {
        plain(&feeder, &number.to_string());
    }
    assert_eq!(some(&mut quick, 3).await.concat(), "012");
    assert_eq!(some(&mut late, 2).await.concat(), "01");
    assert_eq!(next(&mut late).await.unwrap_err().kind(), io::ErrorKind::QuotaExceeded);
    // Those that have ended are no company.
    let mut alone = hub.subscribe(Take { overflow: Overflow::Wait, queue_messages: 2, ..Take::default() });
    drop(quick);
    for number in 0..10 {
        plain(&feeder, &number.to_string());
    }
    assert_eq!(some(&mut alone, 10).await.concat(), "0123456789");
}

#[tokio::test]
async fn a_fill_that_was_dropped_loses_nothing() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut order = hub.subscribe(Take::default());
    for number in 0..20 {
        assert!(order.fill(&mut Batch::new()).now_or_never().is_none());
        plain(&feeder, &number.to_string());
        assert_eq!(some(&mut order, 1).await, [number.to_string()]);
    }
}

#[tokio::test]
async fn an_upstream_that_fails_tells_every_order() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut orders = [hub.subscribe(Take::default()), hub.subscribe(Take::default())];
    plain(&feeder, "last");
    feeder.send(Err(io::Error::new(io::ErrorKind::InvalidData, "it broke"))).unwrap();
    for order in &mut orders {
        assert_eq!(next(order).await.unwrap().unwrap(), ["last"]);
        assert_eq!(next(order).await.unwrap_err().to_string(), "it broke");
    }
    assert_eq!(hub.status().ended, Some(Err("it broke".to_owned())));
}

#[tokio::test]
async fn an_upstream_is_read_until_the_last_hub_and_the_last_order_are_gone() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut orders = [hub.subscribe(Take::default()), hub.subscribe(Take::default())];
    drop(hub);
    for text in ["1", "2"] {
        plain(&feeder, text);
        for order in &mut orders {
            assert_eq!(next(order).await.unwrap().unwrap(), [text]);
        }
    }
    let [one, other] = orders;
    drop(one);
    assert!(!feeder.is_closed());
    drop(other);
    feeder.closed().await;
}

#[tokio::test]
async fn what_waits_is_kept_once_for_all_that_pick_the_same() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut orders: Vec<_> = (0..200).map(|_| hub.subscribe(Take::default())).collect();
    for number in 0..2_000 {
        plain(&feeder, &number.to_string());
    }
    until("all has come", || hub.status().received == 2_000).await;
    let (all_lag, one) = (hub.status().kept_bytes, 2_000 * (size_of::<Item>() + 16));
    assert!(all_lag < 2 * one, "{all_lag} bytes for 200 orders that lag, {one} for one");
    for order in &mut orders {
        assert_eq!(some(order, 2_000).await.last().unwrap(), "1999");
    }
    assert!(hub.status().kept_bytes < all_lag / 4, "what all have passed is gone");
    drop(feeder);
}

#[tokio::test]
async fn all_orders_together_keep_no_more_than_may_be_and_who_is_furthest_behind_loses() {
    const MIB: usize = 1024 * 1024;
    let (feeder, upstream) = fed();
    let hub = Hub::start_within(upstream, Start::Now, MIB);
    let take = |overflow, queue_messages| Take { overflow, queue_messages, ..Take::default() };
    let mut ends = hub.subscribe(take(Overflow::End, 300));
    let mut lags = hub.subscribe(take(Overflow::DropOldest, 100_000));
    let mut quick = hub.subscribe(Take::default());
    let long = "x".repeat(1000);
    let mut got = 0;
    for number in 0..3_000 {
        plain(&feeder, &format!("{number} {long}"));
        got += some(&mut quick, 1).await.len();
        assert!(hub.status().kept_bytes <= MIB + MIB / 4, "after {number}: {}", hub.status().kept_bytes);
    }
    assert_eq!((got, quick.dropped().count()), (3_000, 0), "who keeps up loses nothing");
    assert_eq!(ends.dropped().count(), 300);
    let error = next(&mut ends).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::QuotaExceeded);
    assert!(error.to_string().contains("300 messages ("), "it ended before, by its own limit: {error}");
    let newest = next(&mut lags).await.unwrap().unwrap();
    assert!(newest.last().unwrap().starts_with("2999 ") && newest.len() > 300, "{}", newest.len());
    assert_eq!(newest.len() as u64 + lags.dropped().count(), 3_000, "what it did not get is counted");
}

#[tokio::test]
async fn an_order_that_ends_by_the_limit_of_all_is_told_so() {
    const MIB: usize = 1024 * 1024;
    let (feeder, upstream) = fed();
    let hub = Hub::start_within(upstream, Start::Now, MIB);
    let mut other = Vec::new();
    let mut first = hub.subscribe(Take::default());
    let long = "x".repeat(1000);
    // Each of them has less than it may, but they pick other topics and share nothing.
    for number in 0..8 {
        let pick = Pick::all().topics([number.to_string()]).unwrap();
        other.push(hub.subscribe(Take { pick, ..Take::default() }));
        for _ in 0..200 {
            feeder.send(Ok(item(Some(&number.to_string()), &long))).unwrap();
        }
        until("all has come", || hub.status().received == (number + 1) * 200).await;
        assert!(hub.status().kept_bytes <= MIB + MIB / 4, "{}", hub.status().kept_bytes);
    }
    let error = next(&mut first).await.unwrap_err();
    assert!(error.to_string().contains("together they keep more"), "{error}");
    assert!(first.dropped().count() > 0);
    assert_eq!(some(other.last_mut().unwrap(), 200).await.len(), 200);
}

/// Counts how often somebody is woken.
#[derive(Default)]
struct Wakes(std::sync::atomic::AtomicUsize);

impl std::task::Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    }
}

#[tokio::test]
async fn an_order_without_credit_is_not_woken_by_what_it_may_not_sell() {
    let (feeder, upstream) = fed();
    let hub = Hub::start(upstream, Start::Now);
    let mut order = hub.subscribe(Take { overflow: Overflow::DropOldest, ..Take::default() });
    plain(&feeder, "waits");
    until("one has come", || hub.status().received == 1).await;
    assert!(order.let_pass());
    let wakes = Arc::new(Wakes::default());
    let mut batch = Batch::new();
    {
        let mut filling = order.fill(&mut batch);
        let waker = std::task::Waker::from(wakes.clone());
        // What had waited has woken it once already.
        assert!(filling.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
        for number in 0..1_000 {
            plain(&feeder, &number.to_string());
        }
        until("all has come", || hub.status().received == 1_001).await;
        assert_eq!(wakes.0.load(std::sync::atomic::Ordering::SeqCst), 0, "no turn is taken from those with credit");
    }
    assert_eq!((order.passed(), order.passed(), order.dropped().count()), (1_001, 0, 0));
    plain(&feeder, "sold");
    assert_eq!(some(&mut order, 1).await, ["sold"]);
    order.let_pass();
    drop(feeder);
    assert!(all(&mut order).await.unwrap().is_empty(), "the end is told all the same");
}

/// Gives one piece a read, when the test says so.
struct Pieces(mpsc::Receiver<&'static str>);

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let piece = self.0.recv().unwrap_or_default();
        into[..piece.len()].copy_from_slice(piece.as_bytes());
        Ok(piece.len())
    }
}

#[tokio::test]
async fn input_is_cut_into_lines_wherever_its_pieces_end() {
    let (pieces, reader) = mpsc::channel();
    let hub = Hub::start(Input::new(Pieces(reader), "pieces", Reading::default()).unwrap(), Start::FirstOrder);
    for piece in ["on", "e\ntw", "o\r", "\n\nthree\nfo", "ur"] {
        pieces.send(piece).unwrap();
    }
    drop(pieces);
    let mut order = hub.subscribe(Take::default());
    assert_eq!(all(&mut order).await.unwrap(), ["one", "two", "three", "four"], "the first order gets the beginning");
}

#[tokio::test]
async fn input_may_be_csv_and_tells_its_broken_lines() {
    let text = "a,b\n1,2\n\"x\ny\",3\nbroken\n4,5\n";
    let csv = |on_bad| Reading { form: Form::Csv(Csv::default()), on_bad, ..Reading::default() };
    let hub = |on_bad| Hub::start(Input::new(text.as_bytes(), "text", csv(on_bad)).unwrap(), Start::FirstOrder);
    let stops = hub(OnBad::Stop);
    let mut order = stops.subscribe(Take::default());
    assert_eq!(some(&mut order, 2).await, [r#"{"a":1,"b":2}"#, r#"{"a":"x\ny","b":3}"#]);
    let error = all(&mut order).await.unwrap_err().to_string();
    assert!(error.starts_with("text, line 5: it has 1 fields"), "{error}");
    let skips = hub(OnBad::Skip);
    assert_eq!(all(&mut skips.subscribe(Take::default())).await.unwrap().len(), 3);
}

#[tokio::test]
async fn a_line_without_end_does_not_fill_the_memory() {
    let long = usize::try_from(sdpp_proto::limits::MESSAGE_MAX).unwrap() + 1;
    let text = format!("a\n{}\nb\n", "x".repeat(3 * long));
    let input = |on_bad| Input::new(io::Cursor::new(text.clone()), "text", Reading { on_bad, ..Reading::default() });
    let stops = Hub::start(input(OnBad::Stop).unwrap(), Start::FirstOrder);
    let mut order = stops.subscribe(Take::default());
    assert_eq!(some(&mut order, 1).await, ["a"]);
    let error = all(&mut order).await.unwrap_err().to_string();
    assert!(error.starts_with("text, line 2: the line is longer"), "{error}");
    let skips = Hub::start(input(OnBad::Skip).unwrap(), Start::FirstOrder);
    assert_eq!(all(&mut skips.subscribe(Take::default())).await.unwrap(), ["a", "b"]);
}

fn shell(script: &str) -> io::Result<Child> {
    Child::spawn("sh", &["-c".to_owned(), script.to_owned()], Reading::default())
}

#[tokio::test]
async fn a_command_is_read_to_its_end() {
    let hub = Hub::start(shell("echo one; echo two").unwrap(), Start::FirstOrder);
    assert_eq!(all(&mut hub.subscribe(Take::default())).await.unwrap(), ["one", "two"]);
    let hub = Hub::start(shell("echo one; exit 3").unwrap(), Start::FirstOrder);
    let mut order = hub.subscribe(Take::default());
    assert_eq!(some(&mut order, 1).await, ["one"]);
    let error = all(&mut order).await.unwrap_err().to_string();
    assert_eq!(error, "the command sh has failed: exit status: 3");
    let error = Child::spawn("no-such-command", &[], Reading::default()).err().unwrap().to_string();
    assert!(error.starts_with("cannot start the command no-such-command"), "{error}");
}

#[tokio::test]
async fn a_command_is_killed_with_its_hub_and_its_orders() {
    let folder = Folder::new();
    let alive = folder.path("alive");
    // It ends by itself only when it can write no more; the file says that it does not run.
    let script = format!("trap '' PIPE; while sleep 0.02; do echo x; echo y > '{}'; done", alive.display());
    let child = shell(&script).unwrap();
    let id = child.id().unwrap();
    let hub = Hub::start(child, Start::FirstOrder);
    let mut order = hub.subscribe(Take::default());
    some(&mut order, 2).await;
    drop((hub, order));
    let process = format!("/proc/{id}/stat");
    let is_gone = || std::fs::read_to_string(&process).map_or(true, |stat| stat.contains(") Z "));
    if Path::new("/proc/self/stat").exists() {
        until("the command was killed", is_gone).await;
    }
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_file_is_followed_through_growth_rotation_and_cuts() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "old\nhalf of a li");
    let follow = |begin| Hub::start(Follow::open(&path, begin, Reading::default()).unwrap(), Start::Now);
    let (from_end, from_start) = (follow(Begin::AtEnd), follow(Begin::AtStart));
    let (mut tail, mut whole) = (from_end.subscribe(Take::default()), from_start.subscribe(Take::default()));
    append(&path, "ne\nnew\npart");
    assert_eq!(some(&mut tail, 1).await, ["new"], "half a line is no message");
    append(&path, "ial\n");
    assert_eq!(some(&mut tail, 1).await, ["partial"], "a line waits for its end");
    assert_eq!(some(&mut whole, 4).await, ["old", "half of a line", "new", "partial"]);
    // Moved away, written to once more, and a new file of the same name.
    std::fs::rename(&path, folder.path("log.1")).unwrap();
    append(&folder.path("log.1"), "late\n");
    assert_eq!(some(&mut tail, 1).await, ["late"]);
    append(&path, "second file\n");
    assert_eq!(some(&mut tail, 1).await, ["second file"]);
    assert_eq!(some(&mut whole, 2).await, ["late", "second file"]);
    // Cut in place.
    OpenOptions::new().write(true).truncate(true).open(&path).unwrap();
    append(&path, "cut\n");
    assert_eq!(some(&mut tail, 1).await, ["cut"]);
}

#[tokio::test]
async fn a_file_that_is_not_there_yet_is_waited_for() {
    let folder = Folder::new();
    let path = folder.path("log");
    let hub = Hub::start(Follow::open(&path, Begin::AtEnd, Reading::default()).unwrap(), Start::Now);
    let mut order = hub.subscribe(Take::default());
    append(&path, "first\n");
    assert_eq!(some(&mut order, 1).await, ["first"]);
}

#[tokio::test]
async fn a_followed_csv_file_knows_its_header_from_either_end() {
    let folder = Folder::new();
    let path = folder.path("log");
    append(&path, "a,b\n1,2\n");
    let csv = Reading { form: Form::Csv(Csv::default()), ..Reading::default() };
    let hub = Hub::start(Follow::open(&path, Begin::AtEnd, csv).unwrap(), Start::Now);
    let mut order = hub.subscribe(Take::default());
    append(&path, "3,4\n");
    assert_eq!(some(&mut order, 1).await, [r#"{"a":3,"b":4}"#]);
    std::fs::rename(&path, folder.path("log.1")).unwrap();
    append(&path, "c\n5\n");
    assert_eq!(some(&mut order, 1).await, [r#"{"c":5}"#], "a new file has a header of its own");
}
