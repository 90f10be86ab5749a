//! What a rail costs: the signatures of vouchers on an EVM chain, and whole sales that are paid on such a chain beside the
//! same sales on the embedded ledger.
//!
//! `cargo run --release -p sdpp-bench --bin rails`.
//!
//! *Vouchers*: the time of one signature and of one check, as payer and payee make them, by one thread that does nothing else.
//!
//! *Sales*: real sellers, buyers, payers and payees; a real node with the real contract on one side, a ledger in this
//! process on the other. Sales of a shape take turns, and who is first changes from round to round. What counts is
//! the steady rate, from the first invoice after the ramp to the last: opening and closing a channel is a matter of
//! blocks. Processor time is that of the whole sale, both ends, without the node's.

use crate::folder::Folder;
use crate::report::Rates;
use crate::sale::{self, Journal, Spec, Way};
use crate::{Failure, head};

mod anvil;
mod chain;
mod ledger;
mod table;
mod vouchers;

pub use vouchers::Vouchers;

use anvil::Anvil;

/// What to measure.
#[derive(Clone, Debug)]
pub struct Options {
    /// Rounds that count.
    pub rounds: u32,
    /// Vouchers of a round.
    pub vouchers: u32,
    /// Messages of a sale, for each number of outstanding windows.
    pub messages: u64,
    /// Outstanding windows; none for vouchers alone.
    pub windows: Vec<u32>,
    /// Messages per window.
    pub k: u32,
    /// Bytes of one message.
    pub size: usize,
    /// How durable the journals of both sides are, and what the payee keeps.
    pub journal: Journal,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 5,
            vouchers: 2_000,
            messages: 1_500_000,
            windows: vec![8, 64],
            k: 100,
            size: 1024,
            journal: Journal::Process,
        }
    }
}

/// Sales of one shape on both rails.
#[derive(Clone, Default, Debug)]
pub struct Row {
    /// Outstanding windows.
    pub windows: u32,
    /// Messages per second on the ledger, and on the chain: between the ramp's end and the last invoice.
    pub steady: [Rates; 2],
    /// Messages per second of whole sales: opening a channel on the chain is in it.
    pub whole: [Rates; 2],
    /// Microseconds of processor time per message.
    pub cpu_us: [Rates; 2],
    /// The chain's steady rate by the ledger's in the same round.
    pub ratio: Rates,
}

/// What was measured.
#[derive(Clone, Debug)]
pub struct Report {
    head: Vec<(&'static str, String)>,
    options: Options,
    /// Signatures.
    pub vouchers: Vouchers,
    /// Sales.
    pub rows: Vec<Row>,
    /// Why there are no sales.
    pub absent: Option<String>,
}

/// Runs everything; `progress` hears what is being done.
///
/// # Errors
/// [`Failure`]: a sale that did not settle in full, a node that does not start, or the system's.
pub fn measure(options: &Options, progress: &dyn Fn(&str)) -> Result<Report, Failure> {
    let head = head::machine();
    progress("vouchers");
    let vouchers = vouchers::measure(options)?;
    let mut report = Report { head, options: options.clone(), vouchers, rows: Vec::new(), absent: None };
    if options.windows.is_empty() {
        return Ok(report);
    }
    let node = match Anvil::find() {
        Ok(program) => Anvil::start(&program)?,
        Err(why) => {
            report.absent = Some(why);
            return Ok(report);
        }
    };
    report.rows = options.windows.iter().map(|windows| Row { windows: *windows, ..Row::default() }).collect();
    // The first round warms up.
    for round in 0..=options.rounds {
        progress(&if round == 0 { "warming up".to_owned() } else { format!("round {round} of {}", options.rounds) });
        for row in &mut report.rows {
            let sold = pair(options, row.windows, (&node, round % 2 == 0))?;
            if round > 0 {
                row.push(options.messages, &sold);
            }
        }
    }
    Ok(report)
}

/// What one sale came to.
struct Came {
    steady: f64,
    whole: crate::clock::Took,
}

/// A sale on either rail, the ledger's result first.
fn pair(options: &Options, windows: u32, (node, ledger_first): (&Anvil, bool)) -> Result<[Came; 2], Failure> {
    let spec = Spec { size: options.size, k: options.k, windows, messages: options.messages };
    let by_ledger = || ledger::sell(&spec, options.journal);
    let by_chain = || chain::sell(&spec, options.journal, node);
    if ledger_first {
        let first = by_ledger()?;
        Ok([first, by_chain()?])
    } else {
        let first = by_chain()?;
        Ok([by_ledger()?, first])
    }
}

/// One sale that is paid so; its payee keeps what it keeps in a folder beside the journals.
fn sell(spec: &Spec, journal: Journal, money: &sale::Money) -> Result<Came, Failure> {
    let sold = sale::run_paid(spec, Way::from(journal), money)?;
    let sale::Parts { steady: (messages, time), .. } = sold.parts.ok_or("the sale was all ramp: sell more messages")?;
    Ok(Came { steady: crate::per_second(messages, time), whole: sold.whole })
}

/// A store of this class.
fn store(folder: &Folder, journal: Journal, role: &str) -> Result<Box<dyn sdpp_rail::Store>, Failure> {
    Ok(match journal.durability() {
        Some(class) => Box::new(sdpp_rail::SqliteStore::open(folder.path().join(format!("{role}.sqlite")), class)?),
        None => Box::new(sdpp_rail::MemoryDisk::new().open()),
    })
}

impl Row {
    #[expect(clippy::cast_precision_loss, reason = "a time per message need not be exact")]
    fn push(&mut self, messages: u64, both: &[Came; 2]) {
        for (at, came) in both.iter().enumerate() {
            let (Some(steady), Some(whole)) = (self.steady.get_mut(at), self.whole.get_mut(at)) else { continue };
            steady.push(came.steady);
            whole.push(crate::per_second(messages, came.whole.wall));
            if let (Some(cpu), Some(cpu_us)) = (came.whole.cpu, self.cpu_us.get_mut(at)) {
                cpu_us.push(cpu.as_secs_f64() * 1e6 / messages.max(1) as f64);
            }
        }
        let [ledger, chain] = both;
        self.ratio.push(chain.steady / ledger.steady);
    }
}
