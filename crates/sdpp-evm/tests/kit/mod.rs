//! A real node for tests: anvil, on a port of its own, gone with its value.
#![allow(dead_code, unreachable_pub, clippy::too_many_arguments, reason = "each test file uses its part of the kit")]

pub mod market;
pub mod proxy;
pub mod world;

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use alloy::network::{Ethereum, EthereumWallet, TransactionBuilder as _};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use sdpp_evm::abi::SdppChannels;
use sdpp_evm::typed::Place;
use sdpp_evm::{Node, NodeConfig};

alloy::sol!(
    #[allow(missing_docs)]
    #[sol(rpc)]
    TestUsd,
    "../../contracts/artifacts/TestUsd.json"
);

/// The chain's id: anvil's own.
pub const CHAIN: u64 = 31_337;

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

/// A key of a number; the same each time. All of them have coins.
pub fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

/// A running node with the contract of channels on it.
pub struct Anvil {
    child: Child,
    pub url: String,
    /// For what a test does itself, by the account of key 9.
    pub provider: DynProvider<Ethereum>,
    pub place: Place,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Anvil {
    pub async fn start() -> Self {
        Self::with(&[]).await
    }

    pub async fn with(options: &[&str]) -> Self {
        let mut command = Command::new(program());
        command.args(["--port", "0", "--chain-id", &CHAIN.to_string()]).args(options);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned)).unwrap();
        // Its log has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        let url = format!("http://{address}");
        let wallet = EthereumWallet::from(key(9));
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(url.parse().unwrap()).erased();
        let place = Place { chain: CHAIN, contract: Address::ZERO };
        let mut anvil = Self { child, url, provider, place };
        for number in 1..=20 {
            let coins = U256::from(10u8).pow(U256::from(21u8));
            anvil.raw("anvil_setBalance", (key(number).address(), coins)).await;
        }
        anvil.place.contract = anvil.deploy(&SdppChannels::BYTECODE).await;
        anvil
    }

    pub async fn raw(&self, method: &'static str, params: impl alloy::rpc::json_rpc::RpcSend + 'static) {
        let _: Option<serde_json::Value> = self.provider.raw_request(method.into(), params).await.unwrap();
    }

    pub async fn deploy(&self, code: &Bytes) -> Address {
        let request = TransactionRequest::default().with_deploy_code(code.clone());
        let sent = self.provider.send_transaction(request).await.unwrap();
        sent.get_receipt().await.unwrap().contract_address.unwrap()
    }

    pub async fn mine(&self, blocks: u64) {
        self.raw("anvil_mine", (U256::from(blocks),)).await;
    }

    /// A block every so often from now on, as on a real chain; each transaction has one of its own, too.
    pub fn keep_mining(&self) {
        let provider = self.provider.clone();
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(50)).await;
                let mined = provider.raw_request::<_, Option<serde_json::Value>>("anvil_mine".into(), (U256::from(1),));
                if mined.await.is_err() {
                    return;
                }
            }
        });
    }

    pub async fn pass(&self, seconds: u64) {
        self.raw("evm_increaseTime", (U256::from(seconds),)).await;
        self.mine(1).await;
    }

    pub fn config(&self, finality: u32) -> NodeConfig {
        NodeConfig { url: self.url.clone(), place: self.place, finality }
    }

    /// Through a line of its own.
    pub async fn node_over(&self, line: &proxy::Proxy, finality: u32) -> Arc<Node> {
        let config = NodeConfig { url: line.url.clone(), ..self.config(finality) };
        Arc::new(Node::connect(&config).await.unwrap())
    }

    pub async fn node(&self, finality: u32) -> Arc<Node> {
        Arc::new(Node::connect(&self.config(finality)).await.unwrap())
    }
}

/// As long as a busy machine may take.
pub const PATIENCE: Duration = Duration::from_secs(60);
