//! Transactions of one account: nonces, fees, and what became of them.
//!
//! Nothing is kept over a restart, and nothing needs to be: a transaction is always sent with the account's next nonce *on
//! the chain*. One that an earlier life left in the mempool is so replaced, and who sends looks at the contract first and
//! asks only for what is still wanted; every call of the contract is harmless when it is made twice.

use std::collections::BTreeMap;
use std::sync::Arc;

use alloy::consensus::Transaction as _;
use alloy::eips::BlockId;
use alloy::eips::eip2718::Encodable2718 as _;
use alloy::network::{EthereumWallet, NetworkTransactionBuilder as _, TransactionBuilder as _};
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::Provider as _;
use alloy::rpc::types::{Transaction, TransactionReceipt, TransactionRequest};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::SolCall as _;
use alloy::transports::TransportError;
use sdpp_proto::money::Amount;
use sdpp_rail::RailError;
use tokio::time::{Instant, sleep};

use crate::abi::Erc20;
use crate::curve::signer_of;
use crate::limits;
use crate::network::{Contract, DEPLOYER};
use crate::node::{Node, answered};
use crate::revert::reason_of;
use crate::turn::Turn;

/// Sends the transactions of one account, one after the other.
pub struct Sender {
    node: Arc<Node>,
    account: Address,
    wallet: EthereumWallet,
    /// Whoever has it sends.
    turn: Arc<Turn>,
}

/// What is to be done.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    to: Address,
    data: Bytes,
    value: U256,
    /// Most gas that it may take: others write the code of tokens.
    gas_max: u64,
}

impl Call {
    pub(crate) fn new(to: Address, data: Bytes, value: U256) -> Self {
        let bytes = u64::try_from(data.len()).unwrap_or(u64::MAX);
        let gas_max = limits::GAS_CALL_MAX.saturating_add(bytes.saturating_mul(limits::GAS_BYTE_MAX));
        Self { to, data, value, gas_max }
    }

    /// The same, of a contract of our own, where it takes what it takes.
    pub(crate) fn however_large(self) -> Self {
        Self { gas_max: limits::TRANSACTION_GAS_MAX, ..self }
    }
}

/// A transaction with its nonce, and every version of it that was sent.
struct Flight {
    request: TransactionRequest,
    nonce: u64,
    hashes: Vec<B256>,
    /// The node has taken one, or may have.
    may_be_out: bool,
    bumps: u32,
}

/// What a node says of a transaction that was sent to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Sent {
    Taken,
    /// Another one with this nonce pays as much or more.
    Underpriced,
    /// The nonce is used up.
    Late,
    Broke,
    /// No answer, or one that says nothing: it may be out.
    Unclear,
}

impl Sender {
    /// Of the account of this key.
    pub fn new(node: Arc<Node>, key: PrivateKeySigner) -> Self {
        let (account, turn) = (key.address(), Turn::of(node.line(), key.address()));
        Self { node, account, wallet: EthereumWallet::from(key), turn }
    }

    /// The account.
    pub const fn account(&self) -> Address {
        self.account
    }

    /// Sends and waits until it is mined, raising its fees while it is not. Gives the receipt of a transaction that did
    /// what it was to do.
    ///
    /// # Errors
    /// [`RailError`]: `Declined` where the contract refuses it or the account cannot pay, `Unavailable` where nothing was
    /// sent, `Unknown` where it may still be mined.
    pub(crate) async fn send(&self, call: Call) -> Result<TransactionReceipt, RailError> {
        let _turn = self.turn.take(false).await;
        self.send_in_turn(call).await
    }

    /// The same before all others of this account that wait for their turn: it is in a hurry.
    pub(crate) async fn send_first(&self, call: Call) -> Result<TransactionReceipt, RailError> {
        let _turn = self.turn.take(true).await;
        self.send_in_turn(call).await
    }

    async fn send_in_turn(&self, call: Call) -> Result<TransactionReceipt, RailError> {
        let mut flight = self.prepare(&call).await?;
        let give_up = Instant::now().checked_add(limits::MINED_TIMEOUT);
        loop {
            match self.launch(&mut flight).await? {
                Sent::Taken | Sent::Unclear => flight.may_be_out = true,
                Sent::Underpriced => {
                    self.bump(&mut flight)?;
                    continue;
                }
                Sent::Broke if flight.may_be_out => {}
                Sent::Broke => {
                    return Err(RailError::Declined("the account has not enough coins for this and its gas"));
                }
                Sent::Late if flight.may_be_out => {}
                Sent::Late => return Err(RailError::Unavailable),
            }
            if let Some(receipt) = self.watch(&flight).await? {
                return done(receipt);
            }
            if give_up.is_none_or(|give_up| Instant::now() >= give_up) {
                return Err(RailError::Unknown);
            }
            // Where fees cannot be raised any more it is only sent again.
            let _ = self.bump(&mut flight);
        }
    }

    /// Sends what waits in the mempool again with higher fees; how many transactions that were. With `cancel`, the account
    /// pays itself nothing in their place.
    ///
    /// # Errors
    /// [`RailError`]: `Declined` where the node does not show what waits there.
    pub async fn hurry(&self, cancel: bool) -> Result<u64, RailError> {
        let _turn = self.turn.take(true).await;
        let (mined, known) = self.node.nonces(self.account).await?;
        if known.saturating_sub(mined) > limits::HURRIED_MAX {
            return Err(RailError::Declined("the node says that very many transactions wait: ask another node"));
        }
        let waiting = if cancel { BTreeMap::new() } else { self.waiting().await? };
        let fees = answered(self.node.provider().estimate_eip1559_fees()).await?;
        let most = self.node.fee_max();
        for nonce in mined..known {
            let request = match waiting.get(&nonce) {
                Some(found) => found.clone(),
                None if cancel => {
                    TransactionRequest::default().with_to(self.account).with_gas_limit(limits::GAS_NOTHING)
                }
                None => {
                    return Err(RailError::Declined(
                        "the node does not show the transaction that waits: ask another node, or cancel it",
                    ));
                }
            };
            let request = request.with_from(self.account).with_nonce(nonce).with_chain_id(self.node.place().chain);
            let (fee, tip) = (request.max_fee_per_gas, request.max_priority_fee_per_gas);
            let request = request
                .with_max_fee_per_gas(fee.unwrap_or_default().max(fees.max_fee_per_gas.min(most)))
                .with_max_priority_fee_per_gas(tip.unwrap_or_default().max(fees.max_priority_fee_per_gas.min(most)));
            let mut flight = Flight { request, nonce, hashes: Vec::new(), may_be_out: true, bumps: 0 };
            self.bump(&mut flight)?;
            while self.launch(&mut flight).await? == Sent::Underpriced {
                self.bump(&mut flight)?;
            }
        }
        Ok(known.saturating_sub(mined))
    }

    /// The account's transactions that are not mined yet, as far as the node shows them in the block that it would make.
    async fn waiting(&self) -> Result<BTreeMap<u64, TransactionRequest>, RailError> {
        let asked = self.node.provider().get_block(BlockId::pending()).full().into_future();
        let Some(block) = answered(asked).await? else { return Ok(BTreeMap::new()) };
        // What the node says of who signed it is its word: only what this key has signed is signed again.
        let is_own = |found: &Transaction| {
            let signed = found.inner.inner();
            let signer = signer_of(signed.signature(), signed.signature_hash());
            signer == Some(self.account) && found.chain_id() == Some(self.node.place().chain)
        };
        let own = block.transactions.into_transactions().filter(is_own);
        let request = |found: Transaction| (found.nonce(), TransactionRequest::from_transaction(found));
        Ok(own.map(request).collect())
    }

    /// Puts a contract at its usual place, where it is not yet; whether it was sent.
    ///
    /// # Errors
    /// [`RailError`]: `Declined` where the chain has no [`DEPLOYER`].
    pub async fn deploy(&self, contract: &Contract) -> Result<bool, RailError> {
        let code = |at: Address| answered(self.node.provider().get_code_at(at).into_future());
        if !code(contract.usual_address()).await?.is_empty() {
            return Ok(false);
        }
        if code(DEPLOYER).await?.is_empty() {
            return Err(RailError::Declined(
                "the chain has no deterministic deployer (0x4e59…956C): put that there first",
            ));
        }
        self.send(Call::new(DEPLOYER, contract.call(), U256::ZERO).however_large()).await?;
        let is_there = !code(contract.usual_address()).await?.is_empty();
        if is_there { Ok(true) } else { Err(RailError::Unknown) }
    }

    /// Sends native coins, or a token, to somebody.
    ///
    /// # Errors
    /// [`RailError`].
    pub async fn pay(&self, token: Option<Address>, to: Address, amount: Amount) -> Result<B256, RailError> {
        let amount = U256::from(amount.get());
        let call = match token {
            None => Call::new(to, Bytes::new(), amount),
            Some(token) => Call::new(token, Erc20::transferCall { to, amount }.abi_encode().into(), U256::ZERO),
        };
        self.send(call).await.map(|receipt| receipt.transaction_hash)
    }

    /// The gas that a call takes now; none where the contract refuses it.
    ///
    /// # Errors
    /// [`RailError`]: no answer, or the account cannot pay.
    pub(crate) async fn try_out(&self, call: &Call) -> Result<Option<u64>, RailError> {
        match self.estimate(&self.request_of(call)).await {
            Ok(gas) => Ok(Some(gas)),
            Err(Refused::ByContract(_)) => Ok(None),
            Err(Refused::Otherwise(error)) => Err(error),
        }
    }

    fn request_of(&self, call: &Call) -> TransactionRequest {
        let request = TransactionRequest::default().with_from(self.account).with_to(call.to);
        request.with_input(call.data.clone()).with_value(call.value)
    }

    async fn estimate(&self, request: &TransactionRequest) -> Result<u64, Refused> {
        let asked = self.node.provider().estimate_gas(request.clone());
        match tokio::time::timeout(limits::ASK_TIMEOUT, asked).await {
            Ok(Ok(gas)) => Ok(gas),
            Ok(Err(error)) => Err(refused(&error)),
            Err(_) => Err(Refused::Otherwise(RailError::Unavailable)),
        }
    }

    /// Asks what it would cost, and whether it would be refused.
    async fn prepare(&self, call: &Call) -> Result<Flight, RailError> {
        let (provider, request) = (self.node.provider(), self.request_of(call));
        let gas = self.estimate(&request).await.map_err(|refused| match refused {
            Refused::ByContract(why) => RailError::Declined(why),
            Refused::Otherwise(error) => error,
        })?;
        let fees = answered(provider.estimate_eip1559_fees()).await?;
        let nonce = answered(provider.get_transaction_count(self.account).latest().into_future()).await?;
        if gas > call.gas_max {
            return Err(RailError::Declined(
                "the call takes far more gas than such calls do: what is behind the address?",
            ));
        }
        let gas = gas.saturating_mul(limits::GAS_PERCENT).checked_div(100).unwrap_or(gas);
        // A node's idea of a fair fee is not believed without end.
        let most = self.node.fee_max();
        let request = request
            .with_nonce(nonce)
            .with_chain_id(self.node.place().chain)
            .with_gas_limit(gas)
            .with_max_fee_per_gas(fees.max_fee_per_gas.min(most))
            .with_max_priority_fee_per_gas(fees.max_priority_fee_per_gas.min(most));
        Ok(Flight { request, nonce, hashes: Vec::new(), may_be_out: false, bumps: 0 })
    }

    async fn launch(&self, flight: &mut Flight) -> Result<Sent, RailError> {
        let signed = flight.request.clone().build(&self.wallet).await;
        let signed = signed.map_err(|_| RailError::Declined("the transaction cannot be signed"))?;
        let hash = *signed.tx_hash();
        if !flight.hashes.contains(&hash) {
            flight.hashes.push(hash);
        }
        tracing::debug!(%hash, nonce = flight.nonce, fee = signed.max_fee_per_gas(), "a transaction is sent");
        let raw = signed.encoded_2718();
        let sent = self.node.provider().send_raw_transaction(&raw);
        Ok(match tokio::time::timeout(limits::ASK_TIMEOUT, sent).await {
            Ok(Ok(_)) => Sent::Taken,
            Ok(Err(error)) => said(&error),
            Err(_) => Sent::Unclear,
        })
    }

    /// Waits for one of the versions to be mined; none where the time to raise fees has come.
    async fn watch(&self, flight: &Flight) -> Result<Option<TransactionReceipt>, RailError> {
        let until = Instant::now().checked_add(limits::BUMP_AFTER);
        let mut looks_left = limits::LOOKS_WHEN_USED_UP;
        while looks_left > 0 {
            for hash in &flight.hashes {
                // An outage is waited out: what was sent is out.
                let asked = self.node.provider().get_transaction_receipt(*hash).into_future();
                if let Ok(Some(receipt)) = answered(asked).await {
                    return Ok(Some(receipt));
                }
            }
            let asked = self.node.provider().get_transaction_count(self.account).latest().into_future();
            if answered(asked).await.is_ok_and(|count| count > flight.nonce) {
                looks_left = looks_left.saturating_sub(1);
            } else if until.is_none_or(|until| Instant::now() >= until) {
                return Ok(None);
            }
            sleep(limits::LOOK_EVERY).await;
        }
        // By none of these: another program has the same key, or a transaction of an earlier life won.
        Err(RailError::Unknown)
    }

    /// Raises the fees: a node takes a replacement that pays a tenth more.
    fn bump(&self, flight: &mut Flight) -> Result<(), RailError> {
        if flight.bumps >= limits::BUMPS_MAX {
            return Err(if flight.may_be_out { RailError::Unknown } else { RailError::Unavailable });
        }
        flight.bumps = flight.bumps.saturating_add(1);
        let more = |fee: u128| fee.saturating_mul(limits::BUMP_PERCENT).div_ceil(100).max(fee.saturating_add(1));
        let request = &mut flight.request;
        if request.max_fee_per_gas.map(more) > Some(self.node.fee_max()) {
            tracing::warn!(account = %self.account, "fees are not raised above the limit");
            return Err(if flight.may_be_out { RailError::Unknown } else { RailError::Unavailable });
        }
        request.max_fee_per_gas = request.max_fee_per_gas.map(more);
        request.max_priority_fee_per_gas = request.max_priority_fee_per_gas.map(more);
        tracing::info!(account = %self.account, nonce = flight.nonce, "the fees of a waiting transaction are raised");
        Ok(())
    }
}

fn done(receipt: TransactionReceipt) -> Result<TransactionReceipt, RailError> {
    if receipt.status() {
        return Ok(receipt);
    }
    // It would have gone through when it was sent: something came in between. Its gas is gone, and is not spent again
    // before somebody has looked.
    tracing::warn!(hash = %receipt.transaction_hash, "a transaction was mined and reverted");
    Err(RailError::Declined("a transaction was mined, and did nothing but cost its gas"))
}

/// Why a call would fail.
enum Refused {
    ByContract(&'static str),
    Otherwise(RailError),
}

fn refused(error: &TransportError) -> Refused {
    let Some(answer) = error.as_error_resp() else { return Refused::Otherwise(RailError::Unavailable) };
    if let Some(data) = answer.as_revert_data() {
        return Refused::ByContract(reason_of(&data));
    }
    if answer.message.to_lowercase().contains("insufficient funds") {
        return Refused::Otherwise(RailError::Declined("the account has not enough coins for this and its gas"));
    }
    tracing::debug!(message = %answer.message, "the node refuses to estimate");
    Refused::Otherwise(RailError::Unavailable)
}

/// Nodes have no codes for this, only words; those of geth, which others keep to.
fn said(error: &TransportError) -> Sent {
    let Some(answer) = error.as_error_resp() else { return Sent::Unclear };
    let message = answer.message.to_lowercase();
    let has = |words: &str| message.contains(words);
    if has("already known") || has("already imported") {
        Sent::Taken
    } else if has("underpriced") || has("fee too low") || has("less than block base fee") {
        Sent::Underpriced
    } else if has("nonce too low") {
        Sent::Late
    } else if has("insufficient funds") {
        Sent::Broke
    } else {
        Sent::Unclear
    }
}
