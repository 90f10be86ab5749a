//! A node of a chain of a test's own, and what a test does there itself.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use alloy::primitives::{Address, U256};
use alloy::sol_types::SolCall as _;
use serde_json::{Value, json};

use crate::kit::{text, until};

alloy::sol! {
    function mint(address to, uint256 amount) external;
    function balanceOf(address account) external view returns (uint256);
}

/// The code of a token with six decimals that takes permits.
const TOKEN: &str = include_str!("../../../../contracts/artifacts/TestUsd.json");

/// The node's program: from `SDPP_ANVIL`, or where `tools/anvil` puts it.
fn program() -> PathBuf {
    if let Some(named) = std::env::var_os("SDPP_ANVIL") {
        return named.into();
    }
    let fetched = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/contracts/node_modules/@foundry-rs");
    let packages = std::fs::read_dir(fetched).into_iter().flatten().filter_map(Result::ok);
    let found = packages.map(|package| package.path().join("bin/anvil")).find(|path| path.exists());
    found.expect("anvil is not there: run tools/anvil, which fetches it")
}

/// A running node, gone with its value.
pub(crate) struct Node {
    child: Child,
    address: String,
    /// An account with coins that signs without being asked.
    own: String,
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Node {
    pub(crate) fn start(chain: u64) -> Self {
        let mut command = Command::new(program());
        command.args(["--port", "0", "--chain-id", &chain.to_string()]).stdin(Stdio::null());
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).unwrap();
        // Its log has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let mut node = Self { child, address, own: String::new() };
        node.own = text(&node.ask("eth_accounts", json!([]))[0]).to_owned();
        node
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Its process.
    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    pub(crate) fn ask(&self, method: &str, params: Value) -> Value {
        let body = json!({ "jsonrpc": "2.0", "id": 1, "method": method, "params": params }).to_string();
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let head = format!(
            "POST / HTTP/1.1\r\nhost: {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        assert!(answer["error"].is_null(), "{method} {params}: {answer}");
        answer["result"].clone()
    }

    fn send(&self, mut transaction: Value) -> Value {
        transaction["from"] = json!(self.own);
        let hash = self.ask("eth_sendTransaction", json!([transaction]));
        let mut receipt = Value::Null;
        // It is mined at once, and a moment later it is known.
        until(|| {
            receipt = self.ask("eth_getTransactionReceipt", json!([hash]));
            !receipt.is_null()
        });
        assert_eq!(receipt["status"], "0x1", "{receipt}");
        receipt
    }

    /// Gives an account coins.
    pub(crate) fn give_coins(&self, account: &str, wei: u128) {
        self.ask("anvil_setBalance", json!([account, format!("{wei:#x}")]));
    }

    /// A new token.
    pub(crate) fn token(&self) -> Address {
        self.put(TOKEN)
    }

    /// The contract of channels once more, at another place.
    pub(crate) fn other_channels(&self) -> Address {
        self.put(include_str!("../../../../contracts/artifacts/SdppChannels.json"))
    }

    fn put(&self, artifact: &str) -> Address {
        let artifact: Value = serde_json::from_str(artifact).unwrap();
        text(&self.send(json!({ "data": artifact["bytecode"] }))["contractAddress"]).parse().unwrap()
    }

    pub(crate) fn mint(&self, token: Address, to: &str, amount: u64) {
        let call = mintCall { to: to.parse().unwrap(), amount: U256::from(amount) };
        self.send(json!({ "to": token, "data": alloy::hex::encode_prefixed(call.abi_encode()) }));
    }

    pub(crate) fn tokens(&self, token: Address, account: &str) -> u64 {
        let call = balanceOfCall { account: account.parse().unwrap() };
        let data = alloy::hex::encode_prefixed(call.abi_encode());
        let found = self.ask("eth_call", json!([{ "to": token, "data": data }, "latest"]));
        u64::from_str_radix(text(&found).trim_start_matches("0x"), 16).unwrap()
    }

    /// Transactions that an account has sent.
    pub(crate) fn sent_by(&self, account: &str) -> u64 {
        let count = self.ask("eth_getTransactionCount", json!([account, "latest"]));
        u64::from_str_radix(text(&count).trim_start_matches("0x"), 16).unwrap()
    }

    /// Time of the chain goes by.
    pub(crate) fn pass(&self, seconds: u64) {
        self.ask("evm_increaseTime", json!([seconds]));
        self.mine(1);
    }

    pub(crate) fn mine(&self, blocks: u64) {
        self.ask("anvil_mine", json!([format!("{blocks:#x}")]));
    }
}
