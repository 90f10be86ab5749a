//! A payer and a payee on one chain, for the conformance suite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use alloy::primitives::{Address, B256, U256};
use sdpp_evm::abi::SdppChannels::{self, SdppChannelsInstance};
use sdpp_evm::{ChannelState, Claim, EvmPayee, EvmPayer, Node, PayeeConfig, PayerKeys, Relayer, address_of};
use sdpp_proto::codec::{Bytes32, ChannelId};
use sdpp_proto::identity::SigningKey;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_rail::suite::{RailWorld, Step, test_key};
use sdpp_rail::{Bill, MemoryDisk, Payee, Payer, Proof};

use super::{Anvil, key};

/// Blocks until something is final.
pub const FINALITY: u32 = 2;
/// Numbers of keys.
pub const PAYER: u8 = 1;
pub const PAYEE: u8 = 2;
pub const VOUCHERS: u8 = 3;
pub const RELAYER: u8 = 4;
/// Has no coins.
pub const POOR: u8 = 30;

pub struct World {
    pub anvil: Anvil,
    pub payer: EvmPayer,
    pub payee: EvmPayee,
    /// What the payee keeps.
    pub disk: MemoryDisk,
    buyer: SigningKey,
    signer: SigningKey,
    token: Option<Address>,
    count: AtomicU64,
}

impl World {
    pub async fn new(anvil: Anvil, token: Option<Address>) -> Self {
        let nodes = [anvil.node(FINALITY).await, anvil.node(FINALITY).await];
        Self::over(anvil, nodes, token)
    }

    /// With the payer's and the payee's lines to the chain.
    pub fn over(anvil: Anvil, nodes: [Arc<Node>; 2], token: Option<Address>) -> Self {
        Self::with_grace(anvil, nodes, token, 60_000)
    }

    /// And with channels of this grace period, in milliseconds.
    pub fn with_grace(anvil: Anvil, [payers, payees]: [Arc<Node>; 2], token: Option<Address>, grace_ms: u64) -> Self {
        let keys = PayerKeys { account: key(PAYER), vouchers: key(VOUCHERS) };
        let payer = EvmPayer::new(payers, keys);
        let disk = MemoryDisk::new();
        let mut config = PayeeConfig::new(key(PAYEE), token);
        config.grace_min_ms = grace_ms;
        let payee = EvmPayee::new(payees, config, Box::new(disk.open()));
        let (buyer, signer, count) = (test_key(50), test_key(51), AtomicU64::new(1000));
        Self { anvil, payer, payee, disk, buyer, signer, token, count }
    }

    /// The payer has nothing but tokens: another account sends what it signs.
    pub async fn relayed(anvil: Anvil, token: Address) -> Self {
        let nodes = [anvil.node(FINALITY).await, anvil.node(FINALITY).await];
        let relayer = Arc::new(Relayer::new(anvil.node(FINALITY).await, key(RELAYER)));
        let keys = PayerKeys { account: key(POOR), vouchers: key(VOUCHERS) };
        let payer = EvmPayer::new(nodes[0].clone(), keys).relayed_by(relayer);
        Self { payer, ..Self::over(anvil, nodes, Some(token)) }
    }

    fn channels(&self) -> SdppChannelsInstance<alloy::providers::DynProvider> {
        SdppChannels::new(self.anvil.place.contract, self.anvil.provider.clone())
    }

    /// All channels that were opened so far.
    async fn all(&self) -> Vec<(B256, sdpp_evm::Channel)> {
        let logs = self.channels().Opened_filter().from_block(0).query().await.unwrap();
        let node = self.anvil.node(0).await;
        let mut all = Vec::new();
        for (opened, _) in logs {
            all.push((opened.id, node.channel(&ChannelId(opened.id.0)).await.unwrap()));
        }
        all
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
        key(8).address().to_checksum(None)
    }
    fn other_asset(&self) -> Option<AssetId> {
        None
    }
    fn voucher(&self, bill: &Bill) -> Proof {
        let (channel, total, invoice) = (bill.channel.unwrap(), bill.total, bill.invoice);
        let claim = Claim { channel, total, messages: bill.messages.unwrap(), invoice };
        claim.sign(&self.anvil.place, &key(VOUCHERS)).unwrap().encode()
    }
    fn received(&self) -> Step<'_, Amount> {
        Box::pin(async {
            let payee = address_of(&self.payee.option().address).unwrap();
            let balance: U256 = self.channels().balanceOf(self.token.unwrap_or_default(), payee).call().await.unwrap();
            Amount::new(balance.to())
        })
    }
    fn locked(&self) -> Step<'_, Amount> {
        Box::pin(async {
            let all = self.all().await;
            let open = all.into_iter().filter(|(_, channel)| channel.state != ChannelState::Closed);
            Amount::new(open.map(|(_, channel)| channel.deposit.get() - channel.redeemed.get()).sum())
        })
    }
    fn finalise(&self) -> Step<'_, ()> {
        Box::pin(async {
            self.anvil.mine(u64::from(FINALITY)).await;
            self.payer.look_again();
            self.payee.look_again();
        })
    }
    fn pass_ms(&self, ms: u64) -> Step<'_, ()> {
        Box::pin(async move {
            self.anvil.pass(ms.div_ceil(1000).max(1)).await;
            for (id, channel) in self.all().await {
                if matches!(channel.state, ChannelState::Closing(_)) {
                    // Those whose grace period is over.
                    let _ = self.channels().finishClose(id).send().await;
                }
            }
            self.payer.look_again();
            self.payee.look_again();
        })
    }
}
