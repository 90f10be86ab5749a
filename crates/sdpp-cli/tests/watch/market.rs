//! A ledger, a seller and a buyer, each with a home of its own.
#![allow(dead_code, reason = "each test file uses a part")]

use std::cell::RefCell;
use std::process::{Command, Output, Stdio};

use super::kit::*;

/// Messages that a buyer buys.
pub(crate) const COUNT: u64 = 500;
/// What one costs.
pub(crate) const PRICE: u64 = 5;

pub(crate) struct Market {
    folder: Folder,
    place: String,
    data: String,
    ledger: RefCell<Option<Served>>,
}

impl Market {
    pub(crate) fn open(name: &str) -> Self {
        let folder = Folder::new(name);
        let text: String = (0..COUNT * 2).map(|number| format!("message {number}\n")).collect();
        std::fs::write(folder.path("data"), text).unwrap();
        let data = folder.text("data");
        let market = Self { folder, place: fixed_address(), data, ledger: RefCell::default() };
        market.start_ledger();
        market
    }

    pub(crate) fn start_ledger(&self) {
        let serve = ["serve", "--listen", &self.place, "--dev-grant", "1000000"];
        *self.ledger.borrow_mut() = Some(Served::start(&self.folder.path("ledger"), &serve).0);
    }

    /// Gives where it was.
    pub(crate) fn stop_ledger(&self) -> String {
        self.ledger.take().unwrap().stop();
        self.place.clone()
    }

    /// Payload bytes of what a buyer buys.
    pub(crate) fn bytes(&self) -> usize {
        let text = std::fs::read_to_string(&self.data).unwrap();
        text.lines().take(usize::try_from(COUNT).unwrap()).map(str::len).sum()
    }

    /// The program in the home of this name.
    pub(crate) fn command<A: AsRef<str>>(&self, home: &str, args: &[A]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
        command.args(args.iter().map(AsRef::as_ref)).arg("--home").arg(self.folder.path(home)).stdin(Stdio::null());
        for name in ["SDPP_HOME", "SDPP_LOG", "SDPP_LOG_FORMAT", "SDPP_METRICS", "SDPP_CONFIG"] {
            command.env_remove(name);
        }
        command.env("SDPP_WATCH_EVERY", "250ms").env("SDPP_LEDGER", format!("http://{}", self.place));
        command
    }

    /// What nobody may read but a role.
    pub(crate) fn secret(&self, role: &str) -> String {
        let file = self.folder.path(role).join(role).join("key");
        let text = std::fs::read_to_string(file).unwrap();
        text.split_whitespace().last().unwrap().to_owned()
    }

    pub(crate) fn selling(&self) -> Vec<&str> {
        let words = "sell --product feed --price 5/1 --k 20 --listen 127.0.0.1:0 --journal process --from";
        words.split(' ').chain([self.data.as_str()]).collect()
    }

    /// A file that grows, to be sold by [`selling_live`](Self::selling_live).
    pub(crate) fn live_feed(&self) -> std::fs::File {
        std::fs::File::create(self.folder.path("live")).unwrap()
    }

    pub(crate) fn selling_live(&self) -> Vec<String> {
        let words = self.selling().into_iter().map(str::to_owned);
        words.filter(|word| *word != self.data).chain([format!("follow:{}", self.folder.text("live"))]).collect()
    }

    /// A seller, and the address of its product.
    pub(crate) fn sell(&self, more: &[&str]) -> (Served, String) {
        let args = [&self.selling(), more].concat();
        let served = Served::spawn(self.command("seller", &args));
        let address = served.url();
        (served, address)
    }

    pub(crate) fn buying<'a>(&self, address: &'a str) -> Vec<&'a str> {
        ["buy", address, "--count", "500", "--journal", "process", "--quiet"].to_vec()
    }

    pub(crate) fn buy(&self, address: &str, more: &[&str]) -> Output {
        self.command("buyer", &[&self.buying(address), more].concat()).output().unwrap()
    }

    /// Where a program is watched, as it says itself.
    pub(crate) fn watched(&self, served: &Served) -> String {
        let find = || {
            let said = served.said();
            let at = said.split("metrics    http://").nth(1)?;
            Some(at.split_once("/metrics")?.0.to_owned())
        };
        until(|| find().is_some());
        find().unwrap()
    }
}
