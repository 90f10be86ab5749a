//! A real node, with the contract of channels on it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use alloy::network::{EthereumWallet, TransactionBuilder as _};
use alloy::primitives::{Address, B256, hex};
use alloy::providers::{Provider as _, ProviderBuilder};
use alloy::rpc::types::TransactionRequest;
use alloy::signers::local::PrivateKeySigner;
use sdpp_evm::abi::SdppChannels;
use sdpp_evm::typed::Place;

use crate::Failure;
use crate::folder::own_target;
use crate::sale;

/// Keys of the first accounts that this node gives coins to, as it says itself: who deploys, who pays, who is paid.
pub(super) const ACCOUNTS: [[u8; 32]; 3] = [
    hex!("ac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"),
    hex!("59c6995e998f97a5a0044966f0945389dc9e86dae88c7a8412f4603b6b78690d"),
    hex!("5de4111afa1a4b94908f83103eb1f1706367c2e68ca870fc3fb9a804cdab365a"),
];

/// The chain's id.
const CHAIN: u64 = 31_337;

/// A running node; gone with its value.
pub(super) struct Anvil {
    child: Child,
    url: String,
    place: Place,
}

impl Drop for Anvil {
    fn drop(&mut self) {
        // Ended already, or ends with this program.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Anvil {
    /// The node's program; else what to do.
    pub(super) fn find() -> Result<PathBuf, String> {
        if let Some(named) = std::env::var_os("SDPP_ANVIL") {
            return Ok(named.into());
        }
        let packages = std::fs::read_dir(own_target().join("contracts/node_modules/@foundry-rs"));
        let packages = packages.into_iter().flatten().filter_map(Result::ok);
        let found = packages.map(|package| package.path().join("bin/anvil")).find(|path| path.exists());
        found.ok_or_else(|| "anvil; tools/anvil fetches it, or SDPP_ANVIL names it".to_owned())
    }

    /// Starts it and puts the contract there. Each transaction has a block of its own at once.
    pub(super) fn start(program: &Path) -> Result<Self, Failure> {
        let mut command = Command::new(program);
        command.args(["--port", "0", "--chain-id", &CHAIN.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut anvil = Self {
            child: command.spawn()?,
            url: String::new(),
            place: Place { chain: CHAIN, contract: Address::ZERO },
        };
        let stdout = anvil.child.stdout.take().ok_or("the node has no output")?;
        let mut lines = BufReader::new(stdout).lines().map_while(Result::ok);
        let address = lines.find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned));
        anvil.url = format!("http://{}", address.ok_or("the node does not start")?);
        // Its log has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        anvil.place.contract = sale::runtime()?.block_on(anvil.deploy())?;
        Ok(anvil)
    }

    async fn deploy(&self) -> Result<Address, Failure> {
        let [deployer, ..] = ACCOUNTS;
        let wallet = EthereumWallet::from(PrivateKeySigner::from_bytes(&B256::new(deployer))?);
        let provider = ProviderBuilder::new().wallet(wallet).connect_http(self.url.parse()?);
        let request = TransactionRequest::default().with_deploy_code(SdppChannels::BYTECODE.clone());
        let receipt = provider.send_transaction(request).await?.get_receipt().await?;
        receipt.contract_address.ok_or_else(|| "the contract is not there".into())
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }
}
