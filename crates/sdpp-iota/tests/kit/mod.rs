//! A world whose money is on the fake network.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use iota_sdk_crypto::ToFromBech32 as _;
use iota_sdk_crypto::ed25519::Ed25519PrivateKey;
use iota_sdk_types::Address;
use sdpp_iota::fake::{FakeNetwork, Way};
use sdpp_iota::{IotaPayee, IotaPayer, JsonRpc, Nodes, PayeeConfig, Purse, Wallet};
use sdpp_proto::codec::Bytes32;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::suite::{RailWorld, Step, test_key, test_seller};
use sdpp_rail::{Bill, MemoryDisk, OpenRequest, Payee, Payer, Proof};

pub const CHAIN: &str = "8d602a01";
pub const PAYER: u8 = 1;
pub const PAYEE: u8 = 2;
/// Nanos that the payer begins with.
pub const FUNDS: u64 = 100_000_000_000;

pub fn wallet(seed: u8) -> Wallet {
    Wallet::import(&Ed25519PrivateKey::new([seed; 32]).to_bech32().unwrap()).unwrap()
}

pub fn address(seed: u8) -> Address {
    wallet(seed).address()
}

pub fn nodes(network: &Arc<FakeNetwork>, way: Way) -> Arc<Nodes> {
    Arc::new(Nodes::new(CHAIN, vec![Arc::new(JsonRpc::new(network.line_with(way)))]))
}

/// A purse of the payer, on this disk.
pub fn purse(network: &Arc<FakeNetwork>, way: Way, disk: &MemoryDisk) -> Arc<Purse> {
    Arc::new(Purse::open(nodes(network, way), wallet(PAYER), Box::new(disk.open())).unwrap())
}

pub struct World {
    pub network: Arc<FakeNetwork>,
    pub disk: MemoryDisk,
    pub payer: IotaPayer,
    pub payee: IotaPayee,
    pub buyer: SigningKey,
    pub signer: SigningKey,
    count: AtomicU64,
}

impl World {
    /// So many coins; what becomes of the payer's questions, and of the payee's.
    pub fn new(coins: u64, [paying, paid]: [Way; 2]) -> Self {
        let network = FakeNetwork::new(CHAIN);
        let (paying, paid) = (nodes(&network, paying), nodes(&network, paid));
        Self::over(network, coins, [paying, paid])
    }

    /// So many coins; over these nodes, the payer's and the payee's.
    pub fn over(network: Arc<FakeNetwork>, coins: u64, [paying, paid]: [Arc<Nodes>; 2]) -> Self {
        for _ in 0..coins {
            network.grant(address(PAYER), FUNDS / coins);
        }
        let disk = MemoryDisk::new();
        let purse = Purse::open(paying, wallet(PAYER), Box::new(disk.open())).unwrap();
        let payer = IotaPayer::new(Arc::new(purse), 1);
        let config = PayeeConfig { account: address(PAYEE), pay_by_ms: 60_000, committee: None };
        let payee = IotaPayee::new(paid, config, Box::new(MemoryDisk::new().open()));
        let count = AtomicU64::new(1000);
        Self { network, disk, payer, payee, buyer: test_key(50), signer: test_key(51), count }
    }

    pub fn request(&self) -> OpenRequest {
        let (limit, signer) = (Amount::new(1000), self.signer.public());
        OpenRequest { reference: self.fresh(), option: self.payee.option(), limit, signer, seller: test_seller() }
    }

    /// Nothing is made or lost, and no version of a coin was signed away twice.
    pub fn is_sound(&self) {
        assert!(self.network.is_conserved());
        assert_eq!(self.network.equivocations(), 0);
    }
}

impl RailWorld for World {
    fn payer(&self) -> &dyn Payer {
        &self.payer
    }
    fn payee(&self) -> &dyn Payee {
        &self.payee
    }
    fn buyer(&self) -> &SigningKey {
        &self.buyer
    }
    fn signer(&self) -> &SigningKey {
        &self.signer
    }
    fn fresh(&self) -> Bytes32 {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&self.count.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        Bytes32(bytes)
    }
    fn other_address(&self) -> String {
        address(8).to_string()
    }
    fn other_asset(&self) -> Option<AssetId> {
        Some(AssetId::new("iota:00000000/slip44:4218"))
    }
    fn voucher(&self, _: &Bill) -> Proof {
        unreachable!("there are no channels")
    }
    fn received(&self) -> Step<'_, Amount> {
        Box::pin(std::future::ready(Amount::new(self.network.balance(address(PAYEE)).into())))
    }
    fn locked(&self) -> Step<'_, Amount> {
        Box::pin(std::future::ready(Amount::ZERO))
    }
    fn finalise(&self) -> Step<'_, ()> {
        self.network.finalise();
        Box::pin(std::future::ready(()))
    }
    fn pass_ms(&self, ms: u64) -> Step<'_, ()> {
        Box::pin(tokio::time::sleep(std::time::Duration::from_millis(ms)))
    }
}
