//! How long one sale takes, by the number of its messages; and what of it does not grow with them.
//!
//! `cargo run --release -p sdpp-bench --bin length`: today's answer to the paper's figure of total time by size of the order.
//! Each sale is a process of its own, this program again, so that its peak of memory is its own: a seller and a buyer
//! over loopback TCP, a thread each, a journal each. Time runs from the connection to both settlements. Journals are
//! looked at right then, with what their write-ahead logs hold. The rail keeps nothing.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread;

use sdpp::seller::Seller;
use sdpp::sink::Discard;
use sdpp_rail::fake::FakeBank;
use tokio::sync::watch;

use crate::clock::{Stopwatch, Took};
use crate::folder::Folder;
use crate::report::Rates;
use crate::sale::{self, Journal, Spec};
use crate::{Failure, memory, rail};

mod plot;
mod table;

pub use plot::{Line, draw, plot};

/// The argument with which this program is one of the processes.
const SALE: &str = "__sale";

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Messages of a sale.
    pub lengths: Vec<u64>,
    /// Messages per window.
    pub ks: Vec<u32>,
    /// Outstanding windows.
    pub windows: u32,
    /// Bytes of one message.
    pub size: usize,
    /// How durable journals are.
    pub journal: Journal,
    /// Rounds.
    pub rounds: u32,
    /// The program that obeys [`act`].
    pub program: PathBuf,
}

/// Sales of one length.
#[derive(Clone, Debug)]
pub struct Row {
    /// Messages per window.
    pub k: u32,
    /// Messages of a sale.
    pub messages: u64,
    /// Seconds of a sale.
    pub seconds: Rates,
    /// Seconds that processors worked for it.
    pub cpu_s: Rates,
    /// Bytes by which the process, with both ends in it, grew at most during the sale.
    pub memory: Rates,
    /// Bytes of both journals on the disk at the end.
    pub journals: Rates,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    options: Options,
    /// By messages per window, then by length.
    pub rows: Vec<Row>,
}

/// What a process tells of its sale.
struct Told {
    took: Took,
    memory: u64,
    journals: u64,
}

/// Runs everything; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: a sale that did not settle in full, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let all = options.ks.iter().flat_map(|k| options.lengths.iter().map(|messages| Row::new(*k, *messages)));
    let mut rows: Vec<Row> = all.collect();
    for round in 1..=options.rounds {
        for row in &mut rows {
            progress(&format!("round {round} of {}: {} messages, K = {}", options.rounds, row.messages, row.k));
            let numbers = run(options, row)?;
            let [wall, cpu, memory, journals] = numbers;
            for (to, number) in [(&mut row.seconds, wall / 1e9), (&mut row.cpu_s, cpu / 1e9)] {
                to.push(number);
            }
            row.memory.push(memory);
            row.journals.push(journals);
        }
    }
    Ok(Report { options: options.clone(), rows })
}

impl Row {
    fn new(k: u32, messages: u64) -> Self {
        let (seconds, cpu_s, memory, journals) = Default::default();
        Self { k, messages, seconds, cpu_s, memory, journals }
    }
}

/// A sale in a process of its own: nanoseconds, those of processors, bytes of memory, bytes of journals.
fn run(options: &Options, row: &Row) -> Result<[f64; 4], Failure> {
    let Options { windows, size, journal, program, .. } = options;
    let arguments = [size.to_string(), row.k.to_string(), windows.to_string(), row.messages.to_string()];
    let mut command = Command::new(program);
    let command = command.arg(SALE).args(arguments).arg(journal.name()).stderr(Stdio::inherit());
    let output = command.stdin(Stdio::null()).output()?;
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    let numbers = <[f64; 4]>::try_from(numbers).ok().filter(|_| output.status.success());
    numbers.ok_or_else(|| format!("a sale of {} messages has failed, and says above why", row.messages).into())
}

/// Whether these are arguments of one of the processes. Then its sale is over, and its numbers are given.
///
/// # Errors
/// [`Failure`], for the process that started it.
pub fn act(arguments: impl Iterator<Item = String>) -> Result<Option<String>, Failure> {
    let mut arguments = arguments.skip_while(|argument| argument != SALE).skip(1);
    let Some(size) = arguments.next() else { return Ok(None) };
    let mut next = || arguments.next().ok_or("a process was told too little");
    let (k, windows, messages) = (next()?.parse()?, next()?.parse()?, next()?.parse()?);
    let journal = Journal::of_name(&next()?).ok_or("there is no such class of journals")?;
    let told = sell(&Spec { size: size.parse()?, k, windows, messages }, journal)?;
    let cpu = told.took.cpu.unwrap_or_default();
    let numbers = [told.took.wall.as_nanos(), cpu.as_nanos(), told.memory.into(), told.journals.into()];
    Ok(Some(numbers.map(|number| number.to_string()).join(" ")))
}

/// One sale.
fn sell(spec: &Spec, journal: Journal) -> Result<Told, Failure> {
    let folder = Folder::new("bench-journals")?;
    let before = memory::resident()?;
    thread::scope(|scope| {
        let (tell, told) = mpsc::channel();
        let (stop, stopped) = watch::channel(false);
        let sold = journal.start(folder.path(), "seller")?;
        let selling = scope.spawn(move || serve(spec, sold, (tell, stopped)));
        let bought = told.recv().map_err(Failure::from).and_then(|at| {
            let buyer = rail::buyer(sale::buyer_key(0), journal.start(folder.path(), "buyer")?, Arc::new(|_| {}));
            let buying = scope.spawn(move || -> Result<Took, Failure> {
                let (mut sink, runtime) = (Discard::default(), sale::runtime()?);
                let (address, request) = (sale::address(at), sale::request(spec));
                let watch = Stopwatch::start();
                let bought = runtime.block_on(buyer.buy(&address, &request, &mut sink, sdpp::never()))?;
                let took = watch.stop();
                let complete = bought.is_settled() && bought.paid == bought.due && sink.messages == spec.messages;
                if complete { Ok(took) } else { Err(format!("did not settle in full: {bought:?}, {sink:?}").into()) }
            });
            let took = buying.join().map_err(|_| "the buyer's thread panicked")??;
            // Both ends are still there.
            Ok(Told { took, memory: memory::highest()?.saturating_sub(before), journals: bytes_in(folder.path())? })
        });
        // Without a receiver the seller has ended already; its own error says why.
        let _ = stop.send(true);
        selling.join().map_err(|_| "the seller's thread panicked")??;
        bought
    })
}

fn serve(
    spec: &Spec,
    journal: sdpp::journal::Journal,
    (tell, stop): (mpsc::Sender<SocketAddr>, watch::Receiver<bool>),
) -> Result<(), Failure> {
    sale::runtime()?.block_on(async {
        let seller = Seller::start(rail::selling(sale::settings(spec, &FakeBank::new(), journal))).await?;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        tell.send(listener.local_addr()?)?;
        seller.serve(listener, stop).await;
        Ok(())
    })
}

/// Bytes of all files of a folder.
fn bytes_in(folder: &Path) -> Result<u64, Failure> {
    let mut sum: u64 = 0;
    for file in std::fs::read_dir(folder)? {
        // A journal may tidy up at this moment.
        sum = sum.saturating_add(file?.metadata().map_or(0, |meta| meta.len()));
    }
    Ok(sum)
}
