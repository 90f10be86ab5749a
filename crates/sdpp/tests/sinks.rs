//! Sinks in whole sales: what is paid for is held, a reader may be slow or leave, and a crash neither
//! loses nor repeats.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

mod kit;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use kit::*;
use sdpp::buyer::{BuyError, Buyer, Event, orders};
use sdpp::journal::Barrier;
use sdpp::sink::{Discard, Encoding, FileSink, Form, Mark, PipeSink, Ready, Sink, Stream, Tee};
use sdpp::source::{Fill, Filled, Source};
use sdpp_proto::buyer::Ended;
use sdpp_proto::message::{Batch, Message};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Order;
use sdpp_rail::MemoryDisk;
use sdpp_rail::fake::{Call, FakeMode};

/// Messages with their number, as text; every seventh is empty.
struct Numbered(u64);

fn text(seq: u64) -> String {
    if seq % 7 == 3 { String::new() } else { format!("reading {seq}") }
}

impl Source for Numbered {
    fn fill<'a>(&'a mut self, batch: &'a mut Batch) -> Fill<'a> {
        Box::pin(async move {
            for _ in 0..50 {
                batch.push(7, text(self.0).as_bytes()).unwrap();
                self.0 += 1;
            }
            Ok(Filled::Some)
        })
    }

    fn seek(&mut self, seq: u64) -> io::Result<()> {
        self.0 = seq;
        Ok(())
    }
}

async fn serve(world: &World) -> (std::net::SocketAddr, tokio::task::JoinHandle<()>) {
    world.serve_from(Arc::new(|_: &Order| Ok(Box::new(Numbered(0)) as Box<dyn Source>))).await
}

struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sdpp-sinks-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn text(&self) -> String {
        std::fs::read_to_string(&self.0).unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A sink that counts, around another.
struct Counted<S> {
    sink: S,
    messages: Arc<AtomicU64>,
}

impl<S: Sink> Sink for Counted<S> {
    fn begin(&mut self, stream: &Stream) -> io::Result<()> {
        self.sink.begin(stream)
    }
    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.messages.fetch_add(1, Ordering::Relaxed);
        self.sink.write(seq, message)
    }
    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        self.sink.flush()
    }
    fn position(&self) -> sdpp::sink::Position {
        self.sink.position()
    }
    fn go_back(&mut self, mark: &Mark) -> io::Result<bool> {
        self.sink.go_back(mark)
    }
    fn describe(&self) -> Option<String> {
        self.sink.describe()
    }
}

/// The buyer is killed after so many messages; its sink's buffers reach the disk or not.
#[tokio::test]
async fn a_file_that_held_something_gets_every_message_once_whatever_dies() {
    for (mode, after) in [(FakeMode::Voucher, 1), (FakeMode::Direct, 777), (FakeMode::Voucher, 1500)] {
        let world = World::new(mode, product(10), 0);
        let (at, serving) = serve(&world).await;
        let disk = MemoryDisk::new();
        let lines = Temporary::new("lines", "kept before\n\nand this line is open");
        let canonical = Temporary::new("canonical", "");
        let open = || {
            let canonical = FileSink::canonical(&canonical.0).unwrap();
            Tee::new(FileSink::lines(&lines.0).unwrap(), canonical)
        };
        let messages = Arc::new(AtomicU64::new(0));
        let buying = {
            let (buyer, address, request) = (world.buyer_on(2, &disk), world.address(at), world.request(2000, 8));
            let (mut sink, stop) = (Counted { sink: open(), messages: messages.clone() }, world.stop.subscribe());
            tokio::spawn(async move { buyer.buy(&address, &request, &mut sink, stop).await })
        };
        while messages.load(Ordering::Relaxed) < after {
            tokio::task::yield_now().await;
        }
        buying.abort();
        let _ = buying.await;
        disk.crash();
        // What the system had got beyond what is durable.
        writeln!(std::fs::OpenOptions::new().append(true).open(&lines.0).unwrap(), "torn").unwrap();
        let buyer = world.buyer_on(2, &disk);
        let known = buyer.orders().await.unwrap();
        assert_eq!(known.len(), 1);
        assert_eq!(known[0].note.address(), world.address(at), "the journal knows where the seller is");
        assert_eq!(known[0].note.sink, open().describe(), "and what the messages go to");
        assert_eq!(known[0].note.mark.messages, known[0].verified);
        let (address, order) = (known[0].note.address(), known[0].order);
        let done = buyer.resume(&address, order, &mut open(), world.stop.subscribe()).await.unwrap();
        assert_eq!((&done.ended, done.delivered), (&Ended::Settled, 2000), "{mode:?} {after}");
        let sold: String = (0..2000).map(|seq| text(seq) + "\n").collect();
        assert_eq!(lines.text(), format!("kept before\n\nand this line is open\n{sold}"), "{mode:?} {after}");
        let bytes: u64 = (0..2000).map(|seq| 12 + text(seq).len() as u64).sum();
        assert_eq!(std::fs::metadata(&canonical.0).unwrap().len(), bytes, "{mode:?} {after}");
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_lost_what_was_paid_for_is_not_gone_on_with() {
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (at, serving) = serve(&world).await;
    let (disk, lines) = (MemoryDisk::new(), Temporary::new("short", ""));
    let messages = Arc::new(AtomicU64::new(0));
    let buying = {
        let (buyer, address, request) = (world.buyer_on(2, &disk), world.address(at), world.request(2000, 8));
        let sink = FileSink::lines(&lines.0).unwrap();
        let (mut sink, stop) = (Counted { sink, messages: messages.clone() }, world.stop.subscribe());
        tokio::spawn(async move { buyer.buy(&address, &request, &mut sink, stop).await })
    };
    while messages.load(Ordering::Relaxed) < 500 {
        tokio::task::yield_now().await;
    }
    buying.abort();
    let _ = buying.await;
    std::fs::write(&lines.0, "reading 0\n").unwrap();
    let buyer = world.buyer_on(2, &disk);
    let order = buyer.orders().await.unwrap()[0].order;
    let mut sink = FileSink::lines(&lines.0).unwrap();
    let error = buyer.resume(&world.address(at), order, &mut sink, world.stop.subscribe()).await.unwrap_err();
    assert!(matches!(&error, BuyError::Sink(error) if error.kind() == io::ErrorKind::UnexpectedEof), "{error}");
    drop(sink);
    assert_eq!(lines.text(), "reading 0\n", "untouched");
    // Another sink gets what follows.
    let mut rest = Kept::default();
    let done = buyer.resume(&world.address(at), order, &mut rest, world.stop.subscribe()).await.unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 2000));
    let numbers: Vec<u64> = rest.0.lock().unwrap().iter().map(|(seq, _)| *seq).collect();
    assert!(numbers[0] > 0 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

/// A reader that reads so many lines, like `head`.
struct Head {
    left: usize,
    lines: Arc<Mutex<Vec<u8>>>,
}

impl Write for Head {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
        self.left -= usize::from(bytes[..end].ends_with(b"\n"));
        self.lines.lock().unwrap().extend_from_slice(&bytes[..end]);
        Ok(end)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_reader_that_has_enough_ends_the_order_and_all_is_settled() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 0);
        let (at, serving) = serve(&world).await;
        let (heard, disk) = (Heard::default(), MemoryDisk::new());
        let mut settings = world.buyer_settings(2, &disk);
        settings.listener = heard.listener();
        let progress = settings.progress.clone();
        let (lines, file) = (Arc::default(), Temporary::new("head", ""));
        let head = Head { left: 25, lines: Arc::clone(&lines) };
        let pipe = PipeSink::new("head", Box::new(head), Form::Lines(Encoding::Raw)).unwrap();
        let mut sink = Tee::new(FileSink::lines(&file.0).unwrap(), pipe);
        let (request, stop) = (world.request(1_000_000, 4), world.stop.subscribe());
        let done = Buyer::new(settings).buy(&world.address(at), &request, &mut sink, stop).await.unwrap();
        assert_eq!(done.ended, Ended::Settled, "{mode:?}");
        assert!(done.delivered >= 25 && done.delivered < 1_000_000, "{}", done.delivered);
        assert_eq!(done.paid, Amount::new(3 * u128::from(done.delivered)), "what is held is paid, to the end");
        assert!(heard.any(|event| *event == Event::Enough));
        assert_eq!(progress.messages(), done.delivered);
        assert!(progress.bytes() > 0);
        drop(sink);
        let all: String = (0..done.delivered).map(|seq| text(seq) + "\n").collect();
        assert_eq!(file.text(), all, "the other side has all that was paid for");
        let read = String::from_utf8(lines.lock().unwrap().clone()).unwrap();
        assert_eq!(read, (0..25).map(|seq| text(seq) + "\n").collect::<String>());
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

/// A sink that holds nothing until it is allowed to.
struct Slow {
    kept: Kept,
    allowed: tokio::sync::watch::Receiver<bool>,
    asked: Arc<AtomicU64>,
}

impl Sink for Slow {
    fn write(&mut self, seq: u64, message: &Message<'_>) -> io::Result<()> {
        self.kept.write(seq, message)
    }
    fn held(&mut self, through: u64) -> Option<Ready<'_>> {
        if *self.allowed.borrow() || through == 0 {
            return None;
        }
        self.asked.fetch_add(1, Ordering::Relaxed);
        let allowed = &mut self.allowed;
        Some(Box::pin(async move { allowed.wait_for(|allowed| *allowed).await.map(drop).map_err(io::Error::other) }))
    }
    fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
        Ok(None)
    }
    fn go_back(&mut self, mark: &Mark) -> io::Result<bool> {
        self.kept.go_back(mark)
    }
}

#[tokio::test]
async fn nothing_is_paid_for_before_the_sink_holds_it() {
    for mode in [FakeMode::Voucher, FakeMode::Direct] {
        let world = World::new(mode, product(10), 0);
        let (at, serving) = serve(&world).await;
        let (heard, disk) = (Heard::default(), MemoryDisk::new());
        let mut settings = world.buyer_settings(2, &disk);
        settings.listener = heard.listener();
        let (allow, allowed) = tokio::sync::watch::channel(false);
        let asked = Arc::new(AtomicU64::new(0));
        let buying = {
            let (address, request, stop) = (world.address(at), world.request(100, 4), world.stop.subscribe());
            let mut sink = Slow { kept: Kept::default(), allowed, asked: asked.clone() };
            tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await })
        };
        heard.until(|event| matches!(event, Event::Invoiced { .. })).await;
        let seen = asked.load(Ordering::Relaxed);
        while asked.load(Ordering::Relaxed) < seen + 2 {
            tokio::task::yield_now().await;
        }
        assert!(!heard.any(|event| matches!(event, Event::Paid { .. })));
        if mode == FakeMode::Direct {
            assert_eq!(world.bank.calls(Call::Pay), 0, "no money has moved");
        }
        allow.send(true).unwrap();
        let done = buying.await.unwrap().unwrap();
        assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 100, Amount::new(300)));
        world.stop.send(true).unwrap();
        serving.await.unwrap();
    }
}

/// A pipe whose reader reads only when the gate is open.
#[derive(Clone, Default)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        drop(self.0.1.wait_while(self.0.0.lock().unwrap(), |open| !*open).unwrap());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The runtime has one thread: if the pipe blocked it, nothing would go on.
#[tokio::test]
async fn a_reader_that_pauses_ends_in_no_default() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    world.pay_by_ms = Some(400);
    let (at, serving) = serve(&world).await;
    let (heard, disk, gate) = (Heard::default(), MemoryDisk::new(), Gate::default());
    let mut settings = world.buyer_settings(2, &disk);
    settings.listener = heard.listener();
    let mut sink = PipeSink::new("gate", Box::new(gate.clone()), Form::Lines(Encoding::Raw)).unwrap();
    let (address, request, stop) = (world.address(at), world.request(100, 4), world.stop.subscribe());
    let buying = tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, stop).await });
    heard.until(|event| *event == Event::Waiting).await;
    let ended = |event: &sdpp::seller::Event| match event {
        sdpp::seller::Event::Ended { ended, .. } => Some(ended.clone()),
        _ => None,
    };
    // The seller is let go before its patience ends: by a lost connection, not by a default.
    loop {
        let first = world.seller_events.lock().unwrap().iter().find_map(ended);
        if let Some(ended) = first {
            assert_eq!(ended, sdpp_proto::seller::Ended::Told(None));
            break;
        }
        tokio::task::yield_now().await;
    }
    assert!(!heard.any(|event| matches!(event, Event::Paid { .. })), "nobody holds anything yet");
    gate.open();
    let done = buying.await.unwrap().unwrap();
    assert_eq!((done.ended, done.delivered, done.paid), (Ended::Settled, 100, Amount::new(300)));
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_wish_to_stop_is_heard_while_the_reader_pauses() {
    let mut world = World::new(FakeMode::Voucher, product(10), 0);
    world.pay_by_ms = Some(400);
    let (at, serving) = serve(&world).await;
    let (heard, disk, gate) = (Heard::default(), MemoryDisk::new(), Gate::default());
    let mut settings = world.buyer_settings(2, &disk);
    settings.listener = heard.listener();
    settings.reconnect.stop_wait = std::time::Duration::ZERO;
    let stop = tokio::sync::watch::channel(false).0;
    let mut sink = PipeSink::new("gate", Box::new(gate.clone()), Form::Lines(Encoding::Raw)).unwrap();
    let (address, request, wish) = (world.address(at), world.request(100, 4), stop.subscribe());
    let buying = tokio::spawn(async move { Buyer::new(settings).buy(&address, &request, &mut sink, wish).await });
    heard.until(|event| *event == Event::Waiting).await;
    stop.send(true).unwrap();
    let done = buying.await.unwrap().unwrap();
    assert_eq!(done.ended, Ended::Stopped(sdpp_proto::offence::Reason::ShuttingDown));
    assert!(done.parked, "{done:?}");
    assert!(!heard.any(|event| matches!(event, Event::Paid { .. })), "nothing was held, and no payment left");
    gate.open();
    // Another reader gets everything, from the first message on.
    let (buyer, mut kept) = (world.buyer_on(2, &disk), Kept::default());
    assert_eq!(buyer.orders().await.unwrap()[0].note.mark.messages, 0);
    let done = buyer.resume(&world.address(at), done.order, &mut kept, world.stop.subscribe()).await.unwrap();
    assert_eq!((done.ended, done.delivered), (Ended::Settled, 100));
    assert_eq!(kept.0.lock().unwrap().len(), 100);
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_a_sink_cannot_take_is_not_ordered() {
    struct Picky;
    impl Sink for Picky {
        fn begin(&mut self, stream: &Stream) -> io::Result<()> {
            Err(io::Error::new(io::ErrorKind::InvalidInput, format!("nothing of {}", stream.topic)))
        }
        fn write(&mut self, _seq: u64, _message: &Message<'_>) -> io::Result<()> {
            Ok(())
        }
        fn flush(&mut self) -> io::Result<Option<Arc<dyn Barrier>>> {
            Ok(None)
        }
        fn go_back(&mut self, _mark: &Mark) -> io::Result<bool> {
            Ok(false)
        }
    }
    let world = World::new(FakeMode::Voucher, product(10), 0);
    let (at, serving) = serve(&world).await;
    let (disk, stop) = (MemoryDisk::new(), world.stop.subscribe());
    let buyer = world.buyer_on(2, &disk);
    let error = buyer.buy(&world.address(at), &world.request(10, 1), &mut Picky, stop).await.unwrap_err();
    assert!(matches!(&error, BuyError::Sink(_)) && error.to_string().contains("weather"), "{error}");
    assert_eq!(world.bank.calls(Call::Open), 0, "no channel was opened");
    let journal = sdpp::journal::Journal::start(disk.open()).unwrap();
    assert!(orders(&journal, &key(2)).await.unwrap().is_empty());
    let _ = Discard::default();
    world.stop.send(true).unwrap();
    serving.await.unwrap();
}
