//! A ledger, and people on one machine: the three terminals of the README in one home.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::kit::*;

/// What everybody is given.
pub(crate) const GRANT: u64 = 1_000_000;
/// Lines of the file that is sold.
pub(crate) const LINES: usize = 3_000;
/// Variables that the machine of a test may have set.
pub(crate) const VARIABLES: [&str; 13] = [
    "SDPP_NETWORK",
    "SDPP_RPC",
    "SDPP_HOME",
    "SDPP_CONFIG",
    "SDPP_LEDGER",
    "SDPP_LISTEN",
    "SDPP_PUBLIC",
    "SDPP_ASSET",
    "SDPP_METRICS",
    "SDPP_LOG",
    "SDPP_LOG_FORMAT",
    "SDPP_MQTT_USER",
    "SDPP_MQTT_PASSWORD",
];

/// The real weather, of which a sale has a part.
pub(crate) fn weather() -> Vec<String> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/data/seattle-weather-hourly.ndjson");
    std::fs::read_to_string(file).unwrap().lines().take(LINES).map(|line| format!("{line}\n")).collect()
}

/// The program in a home, with nothing said by the environment.
pub(crate) fn program(home: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
    command.args(args).arg("--home").arg(home).stdin(Stdio::null());
    for name in VARIABLES {
        command.env_remove(name);
    }
    command
}

pub(crate) fn run(mut command: Command) -> Output {
    command.output().expect("the program starts")
}

/// What a command says that ends with this code.
pub(crate) fn ends(command: Command, code: i32) -> String {
    let output = run(command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    if code != 0 {
        assert!(output.stdout.is_empty(), "data of a failed command: {output:?}");
        assert!(said.lines().filter(|line| line.starts_with("sdpp: ")).count() == 1, "one error: {said}");
    }
    said
}

/// The lines of JSON that a command prints.
pub(crate) fn rows(command: Command) -> Vec<Value> {
    let output = run(command);
    assert!(output.status.success(), "{}", stderr(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

pub(crate) struct Market {
    pub(crate) folder: Folder,
    place: String,
    ledger: RefCell<Option<Served>>,
}

impl Market {
    /// A ledger that runs, a file with the weather, and journals that need no fast disk.
    pub(crate) fn open(name: &str) -> Self {
        let folder = Folder::new(&format!("trade-{name}"));
        std::fs::write(folder.path("weather.ndjson"), weather().concat()).unwrap();
        let market = Self { folder, place: fixed_address(), ledger: RefCell::default() };
        std::fs::create_dir_all(market.home()).unwrap();
        market.configure("");
        market.start_ledger();
        market
    }

    pub(crate) fn start_ledger(&self) {
        let grant = GRANT.to_string();
        let serve = ["serve", "--listen", &self.place, "--dev-grant", &grant];
        *self.ledger.borrow_mut() = Some(Served::start(&self.home(), &serve).0);
    }

    /// Kills it without a word.
    pub(crate) fn kill_ledger(&self) {
        self.ledger.take().unwrap().kill();
    }

    pub(crate) fn signal_ledger(&self, name: &str) {
        self.ledger.borrow().as_ref().unwrap().signal(name);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.place)
    }

    pub(crate) fn home(&self) -> PathBuf {
        self.folder.path("home")
    }

    pub(crate) fn data(&self) -> String {
        self.folder.text("weather.ndjson")
    }

    /// Writes the configuration: where the ledger is, and what a test adds below.
    pub(crate) fn configure(&self, more: &str) {
        let text = format!(
            "[ledger]\nurl = \"{}\"\n[seller]\njournal = \"process\"\nlisten = \"127.0.0.1:0\"\n\
             [buyer]\njournal = \"process\"\n{more}\n",
            self.url()
        );
        std::fs::write(self.home().join("sdpp.toml"), text).unwrap();
    }

    /// Puts one product into the configuration, from the file at a rate; 0 is as fast as it is bought.
    pub(crate) fn on_sale(&self, price: &str, rate: u32) {
        self.configure(&format!(
            "[sources.file]\nfile = \"{}\"\nrate = {rate}.0\n\
             [[products]]\ntopic = \"weather\"\nprice = \"{price}\"\nk = 10\nwindows = 2",
            self.data()
        ));
    }

    /// The program in the home of all.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        program(&self.home(), args)
    }

    pub(crate) fn rows(&self, args: &[&str]) -> Vec<Value> {
        rows(self.command(args))
    }

    /// A seller, and the address of its first product.
    pub(crate) fn sell(&self, args: &[&str]) -> (Served, String) {
        let served = Served::spawn(self.command(&[&["sell"], args].concat()));
        let address = served.url();
        (served, address)
    }

    /// A seller of the weather at three for a thousand.
    pub(crate) fn sell_weather(&self) -> (Served, String) {
        let data = self.data();
        self.sell(&["--product", "weather", "--price", "3/1000", "--k", "10", "--from", &data])
    }

    /// A purchase that goes on by itself, into a file.
    pub(crate) fn buying(&self, address: &str, args: &[&str]) -> (Served, PathBuf) {
        let out = self.folder.path("out.ndjson");
        let to = out.display().to_string();
        (Served::spawn(self.command(&[&["buy", address, "--to", &to], args].concat())), out)
    }

    /// What a role has.
    pub(crate) fn balance(&self, role: &str) -> u64 {
        let rows = rows(self.command(&["wallet", "--as", role]));
        let free = rows.iter().find_map(|row| row.get("free"));
        free.map_or(0, |amount| text(amount).parse().unwrap())
    }

    /// The one order of the buyer.
    pub(crate) fn order(&self) -> Value {
        let mut all = self.rows(&["orders", "list"]);
        assert_eq!(all.len(), 1, "{all:?}");
        all.remove(0)
    }
}

/// Whole lines of a file so far.
pub(crate) fn lines_of(file: &Path) -> usize {
    std::fs::read(file).map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count())
}

/// What a file must hold: the first lines of the weather.
pub(crate) fn assert_holds(file: &Path, count: usize) {
    let (found, wanted) = (std::fs::read_to_string(file).unwrap(), weather()[..count].concat());
    assert!(found == wanted, "{} lines, and not the first {count}", found.lines().count());
}

/// What a command says that fails with this code, on the command line too.
pub(crate) fn fails(command: Command, code: i32) -> String {
    let output = run(command);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(output.stdout.is_empty(), "data of a failed command: {output:?}");
    said
}
