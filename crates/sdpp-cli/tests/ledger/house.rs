//! A served ledger with trial money, and the program in homes beside it.
#![allow(dead_code, reason = "each test file uses a part")]

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::kit::*;

/// What each account gets that asks.
pub(crate) const GRANT: u64 = 1_000_000;

pub(crate) struct House {
    pub(crate) folder: Folder,
    ledger: Served,
    at: String,
}

impl House {
    pub(crate) fn open(name: &str) -> Self {
        let (folder, at) = (Folder::new(name), fixed_address());
        let serve = ["serve", "--listen", &at, "--dev-grant", &GRANT.to_string()];
        let ledger = Served::start(&folder.path("ledger"), &serve).0;
        Self { folder, ledger, at }
    }

    /// The program in the home of this name.
    pub(crate) fn command(&self, home: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
        command.args(args).arg("--home").arg(self.folder.path(home)).stdin(Stdio::null());
        for name in ["SDPP_HOME", "SDPP_LOG", "SDPP_LOG_FORMAT", "SDPP_METRICS", "SDPP_CONFIG", "SDPP_FAILPOINT"] {
            command.env_remove(name);
        }
        command.env_remove("SDPP_MQTT_USER").env_remove("SDPP_MQTT_PASSWORD");
        command.env("SDPP_LEDGER", format!("http://{}", self.at));
        command
    }

    pub(crate) fn run(&self, home: &str, args: &[&str]) -> Output {
        self.command(home, args).output().unwrap()
    }

    /// The JSON lines of a command that succeeds.
    pub(crate) fn lines(&self, home: &str, args: &[&str]) -> Vec<Value> {
        let output = self.run(home, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a role has at the ledger.
    pub(crate) fn balance(&self, home: &str, role: &str) -> u64 {
        let lines = self.lines(home, &["ledger", "balance", "--as", role, "--json"]);
        lines.first().map_or(0, |line| text(&line["amount"]).parse().unwrap())
    }

    /// A seller by its configuration, and the addresses of its products in their order.
    pub(crate) fn sell(&self, config: &str, products: usize) -> (Served, Vec<String>) {
        let home = self.folder.path("seller");
        std::fs::create_dir_all(&home).unwrap();
        std::fs::write(home.join("sdpp.toml"), config).unwrap();
        let seller = Served::spawn(self.command("seller", &["sell", "--listen", "127.0.0.1:0"]));
        let addresses = (0..products).map(|_| seller.url()).collect();
        (seller, addresses)
    }

    pub(crate) fn close(self) {
        self.ledger.stop();
    }
}

/// The end of a purchase, as it was told with `--json`.
pub(crate) fn end_of(said: &str) -> Value {
    let line = said.lines().rev().find(|line| line.starts_with('{'));
    serde_json::from_str(line.unwrap_or_else(|| panic!("no end: {said}"))).unwrap()
}
