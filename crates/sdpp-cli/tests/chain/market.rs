//! A seller and buyers with accounts on one chain.

use std::process::{Command, Output, Stdio};

use alloy::primitives::Address;
use serde_json::Value;

use crate::kit::*;
use crate::node::Node;

/// The chain's id: that of the network `local`.
const CHAIN: u64 = 31_337;
/// What a buyer has.
pub(crate) const GRANT: u64 = 1_000_000;
/// Coins for gas.
const COINS: u128 = 1_000_000_000_000_000_000;
/// Price of a message.
pub(crate) const PRICE: u64 = 3;
/// Grace period of channels, in seconds.
pub(crate) const GRACE_S: u64 = 600;
/// Blocks in which a wallet looks for channels.
pub(crate) const BLOCKS: u64 = 100;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Who {
    Buyer,
    Seller,
    /// Nobody: there is none here. The moments of other markets name it.
    #[allow(dead_code, reason = "moments are shared with the tests of the ledger")]
    Ledger,
}

pub(crate) struct Market {
    pub(crate) node: Node,
    pub(crate) folder: Folder,
    pub(crate) token: Address,
    /// Accounts.
    pub(crate) seller: String,
    pub(crate) buyer: String,
    /// Where the seller listens, also in its next life.
    at: String,
    /// A node of IOTA, where there is one too.
    pub(crate) iota: Option<String>,
}

impl Market {
    /// With so many messages for sale. The buyer has [`GRANT`] of a token, the seller nothing; both have coins for gas.
    pub(crate) fn open(name: &str, messages: usize) -> Self {
        let (node, folder) = (Node::start(CHAIN), Folder::new(&format!("chain-{name}")));
        let lines: String = (0..messages).map(|number| format!("message {number}\n")).collect();
        std::fs::write(folder.path("data"), lines).unwrap();
        let token = node.token();
        let mut market =
            Self { node, folder, token, seller: String::new(), buyer: String::new(), at: fixed_address(), iota: None };
        market.seller = market.wallet("seller", "seller");
        market.buyer = market.wallet("buyer", "buyer");
        market.node.mint(token, &market.buyer, GRANT);
        market.done("seller", &["wallet", "deploy", "--as", "seller"]);
        let config = format!("[seller]\nlisten = \"{}\"\ngrace = \"{GRACE_S}s\"\ntend_every = \"1s\"\n", market.at);
        std::fs::write(market.folder.path("seller/sdpp.toml"), config).unwrap();
        market
    }

    /// From now on a channel counts when it is so many blocks deep.
    pub(crate) fn wait_for_blocks(&self, finality: u32) {
        for home in ["seller", "buyer"] {
            let config = self.folder.path(&format!("{home}/sdpp.toml"));
            let text = std::fs::read_to_string(&config).unwrap_or_default();
            std::fs::write(config, format!("{text}[evm.networks.local]\nfinality = {finality}\n")).unwrap();
        }
    }

    /// Makes a wallet with coins for gas.
    fn wallet(&self, home: &str, role: &str) -> String {
        let made = self.lines(home, &["wallet", "new", "--as", role, "--json"]);
        let account = text(&made[0]["account"]).to_owned();
        self.node.give_coins(&account, COINS);
        account
    }

    /// A home of its own for the buyer's account.
    pub(crate) fn another_home(&self, home: &str) {
        std::fs::create_dir_all(self.folder.path(&format!("{home}/buyer"))).unwrap();
        let to = self.folder.path(&format!("{home}/buyer/wallet.json"));
        std::fs::copy(self.folder.path("buyer/buyer/wallet.json"), to).unwrap();
    }

    /// The program in a home of this name.
    pub(crate) fn command(&self, home: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sdpp"));
        command.args(args).stdin(Stdio::null()).arg("--home").arg(self.folder.path(home));
        for name in ["SDPP_LOG", "SDPP_LOG_FORMAT", "SDPP_METRICS", "SDPP_CONFIG", "SDPP_FAILPOINT", "SDPP_LEDGER"] {
            command.env_remove(name);
        }
        let url = self.node.url();
        command.envs([("SDPP_NETWORK", "local"), ("SDPP_RPC", &url), ("SDPP_PASSPHRASE", "correct horse")]);
        command.env("SDPP_CHANNEL_BLOCKS", BLOCKS.to_string());
        command.env_remove("SDPP_IOTA_RPC").envs(self.iota.iter().map(|node| ("SDPP_IOTA_RPC", node)));
        command
    }

    pub(crate) fn run(&self, home: &str, args: &[&str]) -> Output {
        self.command(home, args).output().unwrap()
    }

    /// A command that succeeds; what it said on standard error.
    pub(crate) fn done(&self, home: &str, args: &[&str]) -> String {
        let output = self.run(home, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        stderr(&output)
    }

    /// The JSON lines of a command that succeeds.
    pub(crate) fn lines(&self, home: &str, args: &[&str]) -> Vec<Value> {
        let output = self.run(home, args);
        assert!(output.status.success(), "{args:?}: {}", stderr(&output));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// What a command that fails with this code says.
    pub(crate) fn fails(&self, home: &str, args: &[&str], code: i32) -> String {
        let output = self.run(home, args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        stderr(&output)
    }

    /// How the seller is started.
    pub(crate) fn selling(&self, more: &[&str]) -> Command {
        let token = self.token.to_string();
        self.selling_by(&[&["--rail", "evm", "--asset", &token], more].concat())
    }

    /// The same by any rail.
    pub(crate) fn selling_by(&self, more: &[&str]) -> Command {
        let (price, data) = (format!("{PRICE}/1"), self.folder.text("data"));
        let mut args = vec!["sell", "--listen", &self.at, "--product", "feed"];
        args.extend(["--price", &price, "--k", "20", "--windows", "4", "--from", &data]);
        args.extend(more);
        self.command("seller", &args)
    }

    /// Starts it; gives the product's address.
    pub(crate) fn sell(&self, more: &[&str]) -> (Served, String) {
        let served = Served::spawn(self.selling(more));
        let address = served.url();
        (served, address)
    }

    /// What somebody has of the token, with what the contract of channels keeps for it.
    pub(crate) fn has(&self, home: &str, role: &str, account: &str) -> u64 {
        let token = self.token.to_string();
        // What is kept for it is nobody else's.
        self.done(home, &["wallet", "withdraw", "--as", role, "--asset", &token]);
        self.node.tokens(self.token, account)
    }

    /// Open channels of an account, and those that are to be closed.
    pub(crate) fn channels(&self, home: &str, role: &str) -> Vec<Value> {
        let mut rows = self.lines(home, &["wallet", "--as", role, "--json"]);
        rows.retain(|row| !row["channel"].is_null());
        rows
    }

    /// All that a buyer got is what was sold, from the beginning.
    pub(crate) fn delivered(&self, out: &str) -> usize {
        let source = std::fs::read_to_string(self.folder.path("data")).unwrap();
        let got = std::fs::read_to_string(self.folder.path(out)).unwrap();
        assert!(source.starts_with(&got) && got.ends_with('\n'), "{out} is not what was sold");
        got.lines().count()
    }
}
