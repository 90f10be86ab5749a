//! What wallets and advisers ask of a node: balances, gas, whose channels there are, what waits to be mined.

use std::collections::BTreeMap;
use std::future::IntoFuture as _;

use alloy::primitives::{Address, B256, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::{Filter, Log};
use alloy::sol_types::SolEvent as _;
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::Amount;
use sdpp_proto::statement::Order;
use sdpp_rail::RailError;

use crate::abi::{Erc20, SdppChannels as c, SdppRecords};
use crate::limits;
use crate::node::{Channel, Node, answered};
use crate::payer::salt_of;
use crate::typed::Place;

/// A token, as it says itself.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its symbol.
    pub symbol: String,
    /// Decimals of the amounts that people write.
    pub decimals: u8,
}

/// How a channel was opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opening {
    /// Who has the rest back.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The token; none for the native coin.
    pub token: Option<Address>,
    /// Whose vouchers count.
    pub signer: Address,
    /// Its grace period in seconds.
    pub grace_s: u32,
    /// What was locked then, in base units.
    pub deposit: Amount,
}

impl Opening {
    /// Whether a channel of this id, opened so, is that of an order: its id is made from all of these.
    pub fn is_of(&self, place: &Place, id: &ChannelId, order: &Order) -> bool {
        let terms = c::Terms {
            payer: self.payer,
            payee: self.payee,
            token: self.token.unwrap_or_default(),
            signer: self.signer,
            grace: self.grace_s,
            salt: salt_of(&order.nonce, &order.sign_pk, &order.seller),
        };
        place.channel_id(&terms).0 == id.0
    }
}

/// Amounts are 128 bits here; nothing of this world has more.
fn amount(units: U256) -> Amount {
    u128::try_from(units).map_or(Amount::MAX, Amount::new)
}

impl Node {
    /// The number of the newest block.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn height(&self) -> Result<u64, RailError> {
        answered(self.provider().get_block_number().into_future()).await
    }

    /// What an account has of the native coin, in wei.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn coins(&self, account: Address) -> Result<Amount, RailError> {
        answered(self.provider().get_balance(account).into_future()).await.map(amount)
    }

    /// What an account has of a token, in base units.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer, or there is no such token.
    pub async fn tokens(&self, token: Address, account: Address) -> Result<Amount, RailError> {
        let erc20 = Erc20::new(token, self.provider().clone());
        erc20.balanceOf(account).call().await.map(amount).map_err(|_| RailError::Unavailable)
    }

    /// What a token says of itself; none where there is no token, or it does not say.
    pub async fn token(&self, token: Address) -> Option<Token> {
        let erc20 = Erc20::new(token, self.provider().clone());
        let (symbol, decimals) = (erc20.symbol(), erc20.decimals());
        Some(Token { symbol: symbol.call().await.ok()?, decimals: decimals.call().await.ok()? })
    }

    /// What a unit of gas costs now, in wei.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn gas_price(&self) -> Result<u128, RailError> {
        answered(self.provider().get_gas_price().into_future()).await
    }

    /// Transactions of an account that are mined, and those that the node knows in all.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn nonces(&self, account: Address) -> Result<(u64, u64), RailError> {
        let mined = answered(self.provider().get_transaction_count(account).latest().into_future()).await?;
        let known = answered(self.provider().get_transaction_count(account).pending().into_future()).await?;
        Ok((mined, known.max(mined)))
    }

    /// Events of the last `blocks` blocks, asked for piece by piece from the newest on; with `one`, the newest piece that
    /// has some.
    async fn events(&self, filter: Filter, blocks: u64, one: bool) -> Result<Vec<Log>, RailError> {
        let newest = self.height().await?;
        let (first, mut end) = (newest.saturating_sub(blocks), Some(newest));
        let mut found = Vec::new();
        while let Some(to) = end {
            let from = to.saturating_sub(limits::LOGS_BLOCKS.saturating_sub(1)).max(first);
            let piece = filter.clone().from_block(from).to_block(to);
            found.extend(answered(self.provider().get_logs(&piece)).await?);
            if one && !found.is_empty() {
                break;
            }
            end = from.checked_sub(1).filter(|to| *to >= first);
        }
        Ok(found)
    }

    /// How a channel was opened, also where it is closed by now; none where that is more than
    /// [`limits::AUDIT_BLOCKS`] blocks ago.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn opening(&self, id: &ChannelId) -> Result<Option<Opening>, RailError> {
        let filter = Filter::new().address(self.place().contract).event_signature(c::Opened::SIGNATURE_HASH);
        let found = self.events(filter.topic1(B256::new(id.0)), limits::AUDIT_BLOCKS, true).await?;
        let opened = found.first().and_then(|log| c::Opened::decode_log(&log.inner).ok());
        Ok(opened.map(|opened| Opening {
            payer: opened.payer,
            payee: opened.payee,
            token: Some(opened.token).filter(|token| !token.is_zero()),
            signer: opened.signer,
            grace_s: opened.grace,
            deposit: amount(opened.deposit),
        }))
    }

    /// Whether somebody has recorded a digest in a contract of records within the last [`limits::AUDIT_BLOCKS`] blocks.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn is_recorded(&self, contract: Address, digest: &StatementId) -> Result<bool, RailError> {
        let filter = Filter::new().address(contract).topic2(B256::new(digest.0));
        Ok(!self.events(filter, limits::AUDIT_BLOCKS, true).await?.is_empty())
    }

    /// Whether the contract of records is at an address.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn is_records(&self, at: Address) -> Result<bool, RailError> {
        let code = answered(self.provider().get_code_at(at).into_future()).await?;
        Ok(code == SdppRecords::DEPLOYED_BYTECODE)
    }

    /// Channels that an account pays by or is paid by, opened within the last `blocks` blocks, as they stand now.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn channels_of(&self, account: Address, blocks: u64) -> Result<Vec<(ChannelId, Channel)>, RailError> {
        let mut found = BTreeMap::new();
        let opened = Filter::new().address(self.place().contract).event_signature(c::Opened::SIGNATURE_HASH);
        let account = account.into_word();
        for filter in [opened.clone().topic2(account), opened.topic3(account)] {
            for log in self.events(filter, blocks, false).await? {
                if let Some(id) = log.topics().get(1) {
                    found.insert((log.block_number, log.log_index), ChannelId(id.0));
                }
            }
        }
        let mut channels = Vec::new();
        for id in found.into_values() {
            channels.push((id, self.channel(&id).await?));
        }
        Ok(channels)
    }
}
