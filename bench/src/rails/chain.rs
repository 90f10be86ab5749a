//! Sales on a chain.

use std::sync::Arc;

use alloy::primitives::B256;
use alloy::signers::local::PrivateKeySigner;
use sdpp_evm::{EvmPayee, EvmPayer, Node, NodeConfig, PayeeConfig, PayerKeys, RAIL};

use super::anvil::{ACCOUNTS, Anvil};
use super::{Came, store};
use crate::Failure;
use crate::folder::Folder;
use crate::sale::{self, Journal, Money, Spec};

/// One sale on this node's chain, each side with a line of its own.
pub(super) fn sell(spec: &Spec, journal: Journal, anvil: &Anvil) -> Result<Came, Failure> {
    let folder = Folder::new("bench-rails")?;
    let config = NodeConfig { url: anvil.url().to_owned(), place: anvil.place(), finality: 0 };
    let connect = || sale::runtime()?.block_on(async { Ok::<_, Failure>(Arc::new(Node::connect(&config).await?)) });
    let [_, payer, payee] = ACCOUNTS.map(|key| PrivateKeySigner::from_bytes(&B256::new(key)));
    let vouchers = PrivateKeySigner::from_bytes(&B256::repeat_byte(3))?;
    let payee = EvmPayee::new(connect()?, PayeeConfig::new(payee?, None), store(&folder, journal, "payee")?);
    let payer = EvmPayer::new(connect()?, PayerKeys { account: payer?, vouchers });
    let money = Money { payee: Arc::new(payee), payer: Arc::new(payer), rail: RAIL.to_owned() };
    super::sell(spec, journal, &money)
}
