//! A chain, as one node tells it over JSON-RPC.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use alloy::contract::Error as CallError;
use alloy::eips::BlockId;
use alloy::network::Ethereum;
use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};
use alloy::rpc::types::{Filter, Header, Log};
use alloy::sol_types::SolEvent as _;
use alloy::transports::TransportError;
use alloy::transports::http::reqwest;
use sdpp_proto::codec::ChannelId;
use sdpp_proto::money::Amount;
use sdpp_rail::RailError;

use crate::abi::SdppChannels::{self, SdppChannelsInstance};
use tokio::time::Instant;

use crate::limits;
use crate::network::Network;
use crate::typed::{self, Place};

/// Where a chain is reached, and what is expected there.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// JSON-RPC over HTTP or HTTPS.
    pub url: String,
    /// The chain and the contract of channels.
    pub place: Place,
    /// Blocks on top of the one that makes something final.
    pub finality: u32,
}

/// Why a node cannot be used.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NodeError {
    /// Not a URL of a node.
    BadUrl,
    /// No answer, or not one of a node.
    Silent(String),
    /// It serves another chain.
    OtherChain {
        /// The chain that was asked for.
        wanted: u64,
        /// The chain that it serves.
        found: u64,
    },
    /// At the contract's address there is nothing.
    NoContract,
    /// There is another contract, or another version.
    OtherCode,
    /// The contract's EIP-712 domain is not of this chain and address: what is signed for it means nothing there.
    OtherDomain,
}

impl fmt::Display for NodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl => f.write_str("the node's address is no http:// or https:// URL"),
            Self::Silent(why) => write!(f, "the node does not answer: {why}; try another one"),
            Self::OtherChain { wanted, found } => {
                write!(f, "the node serves chain {found}, and chain {wanted} is wanted: name a node of that one")
            }
            Self::NoContract => f.write_str(
                "the contract of channels is not there: check its address, or put it there with `sdpp wallet deploy`",
            ),
            Self::OtherCode => f.write_str(
                "at the address of the contract of channels is another contract, or another version of it: check the address",
            ),
            Self::OtherDomain => f.write_str(
                "the contract of channels says that it is of another chain or address: do not use it, ask who put it there",
            ),
        }
    }
}

impl std::error::Error for NodeError {}

/// Life of a channel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ChannelState {
    /// There is none of this id.
    Unused,
    /// Open, and nobody has asked for the close.
    Open,
    /// Its payer has asked for the close: anybody may close it from this time of the chain on, in seconds.
    Closing(u64),
    /// Closed, for good.
    Closed,
}

/// What the contract says of a channel; once it is closed, only what was redeemed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Channel {
    /// Its state.
    pub state: ChannelState,
    /// Who has the rest back.
    pub payer: Address,
    /// Who is paid.
    pub payee: Address,
    /// The token; zero for the native coin.
    pub token: Address,
    /// Whose vouchers count.
    pub signer: Address,
    /// Its grace period in seconds.
    pub grace_s: u32,
    /// What is locked, in base units.
    pub deposit: Amount,
    /// What was redeemed in all.
    pub redeemed: Amount,
}

impl Channel {
    pub(crate) fn of(found: &SdppChannels::Channel) -> Self {
        let close_at = found.closeAt.to::<u64>();
        let state = match (found.state, close_at) {
            (0, _) => ChannelState::Unused,
            (1, 0) => ChannelState::Open,
            (1, close_at) => ChannelState::Closing(close_at),
            (_, _) => ChannelState::Closed,
        };
        Self {
            state,
            payer: found.payer,
            payee: found.payee,
            token: found.token,
            signer: found.signer,
            grace_s: found.grace,
            deposit: Amount::new(found.deposit.to()),
            redeemed: Amount::new(found.redeemed.to()),
        }
    }
}

/// What happened to a channel, as far as it matters to who is paid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Happened {
    /// Its payer has asked for the close.
    CloseRequested { id: ChannelId, close_at: u64 },
    /// It is closed.
    Closed { id: ChannelId },
}

impl Happened {
    fn of(log: &Log) -> Option<Self> {
        if let Ok(asked) = SdppChannels::CloseRequested::decode_log(&log.inner) {
            let close_at = u64::try_from(asked.closeAt).unwrap_or(u64::MAX);
            return Some(Self::CloseRequested { id: ChannelId(asked.id.0), close_at });
        }
        let closed = SdppChannels::Closed::decode_log(&log.inner).ok()?;
        Some(Self::Closed { id: ChannelId(closed.id.0) })
    }
}

/// A chain through one node. Whatever it says is believed: run one, or ask several.
pub struct Node {
    provider: DynProvider<Ethereum>,
    channels: SdppChannelsInstance<DynProvider<Ethereum>>,
    place: Place,
    finality: u32,
    /// What tells it from other nodes.
    line: String,
    fee_max: u128,
    /// How old its newest block may be.
    lag_max: Option<Duration>,
    /// When it was seen to follow its chain.
    kept_up: Mutex<Option<Instant>>,
}

impl Node {
    /// Asks a node for its chain, and for the contract.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn connect(config: &NodeConfig) -> Result<Self, NodeError> {
        let node = Self::reach(config).await?;
        node.check_contract().await?;
        Ok(node)
    }

    /// Asks a node for its chain only: for whoever is to put the contract there.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn reach(config: &NodeConfig) -> Result<Self, NodeError> {
        let url = config.url.parse::<reqwest::Url>().map_err(|_| NodeError::BadUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NodeError::BadUrl);
        }
        let client = reqwest::Client::builder().timeout(limits::ASK_TIMEOUT).build();
        let client = client.map_err(|error| NodeError::Silent(error.to_string()))?;
        let provider = ProviderBuilder::new().disable_recommended_fillers().connect_reqwest(client, url).erased();
        let Place { chain: wanted, contract } = config.place;
        let silent = |error: TransportError| NodeError::Silent(error.to_string());
        let found = provider.get_chain_id().await.map_err(silent)?;
        if found != wanted {
            return Err(NodeError::OtherChain { wanted, found });
        }
        Ok(Self {
            line: config.url.clone(),
            ..Self::over(provider, Place { chain: wanted, contract }, config.finality)
        })
    }

    /// A chain as this provider tells it; nothing is asked.
    pub(crate) fn over(provider: DynProvider<Ethereum>, place: Place, finality: u32) -> Self {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let channels = SdppChannels::new(place.contract, provider.clone());
        let known = Network::of_chain(place.chain);
        Self {
            provider,
            channels,
            place,
            finality,
            line: NUMBER.fetch_add(1, Ordering::Relaxed).to_string(),
            fee_max: known.map_or(limits::FEE_MAX, |network| network.fee_max),
            lag_max: known.and_then(|network| network.lag_max_s).map(Duration::from_secs),
            kept_up: Mutex::default(),
        }
    }

    /// Looks whether the code at the address is what the contract compiles to, and was made for this chain and place.
    ///
    /// # Errors
    /// [`NodeError`].
    pub async fn check_contract(&self) -> Result<(), NodeError> {
        let silent = |error: TransportError| NodeError::Silent(error.to_string());
        let code = self.provider.get_code_at(self.place.contract).await.map_err(silent)?;
        if code.is_empty() {
            return Err(NodeError::NoContract);
        }
        if !is_our_code(&code) {
            return Err(NodeError::OtherCode);
        }
        let domain = match self.channels.eip712Domain().call().await {
            Ok(domain) => domain,
            Err(CallError::TransportError(error)) => return Err(silent(error)),
            Err(_) => return Err(NodeError::OtherDomain),
        };
        let is_ours = (domain.name.as_str(), domain.version.as_str()) == (typed::NAME, typed::VERSION)
            && domain.chainId == U256::from(self.place.chain)
            && domain.verifyingContract == self.place.contract;
        if is_ours { Ok(()) } else { Err(NodeError::OtherDomain) }
    }

    /// The chain and the contract.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// Most wei for a unit of gas that is paid here: what the node says of fees is believed up to that.
    pub const fn fee_max(&self) -> u128 {
        self.fee_max
    }

    pub(crate) fn line(&self) -> &str {
        &self.line
    }

    /// Blocks on top of the one that makes something final.
    pub const fn finality(&self) -> u32 {
        self.finality
    }

    pub(crate) const fn provider(&self) -> &DynProvider<Ethereum> {
        &self.provider
    }

    /// What the contract says of a channel now.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn channel(&self, id: &ChannelId) -> Result<Channel, RailError> {
        self.channel_at(id, BlockId::latest()).await
    }

    /// What it said of it `depth` blocks ago: that is final where the depth is enough. A channel that was opened since is
    /// [`ChannelState::Unused`].
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn channel_below(&self, id: &ChannelId, depth: u32) -> Result<Channel, RailError> {
        let newest = self.newest().await?;
        self.channel_at(id, BlockId::number(newest.saturating_sub(u64::from(depth)))).await
    }

    async fn channel_at(&self, id: &ChannelId, block: BlockId) -> Result<Channel, RailError> {
        match self.channels.channel(B256::new(id.0)).block(block).call().await {
            Ok(found) => Ok(Channel::of(&found)),
            // The contract is younger than the block that is looked at.
            Err(CallError::ZeroData(..)) => Ok(Channel::of(&SdppChannels::Channel::default())),
            Err(error) => {
                tracing::debug!(%error, "the node did not answer about a channel");
                Err(RailError::Unavailable)
            }
        }
    }

    /// The number of the newest block. A node that stands still while its chain goes on has none: it would hide a requested
    /// close.
    pub(crate) async fn newest(&self) -> Result<u64, RailError> {
        let Some(lag_max) = self.lag_max else {
            return answered(self.provider.get_block_number().into_future()).await;
        };
        let header = self.newest_header().await?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let lag = now.saturating_sub(Duration::from_secs(header.timestamp));
        if lag > lag_max {
            tracing::warn!(
                lag_s = lag.as_secs(),
                "the node's newest block is old: does it follow its chain, is the clock right?"
            );
            return Err(RailError::Unavailable);
        }
        *self.kept_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        Ok(header.number)
    }

    /// Whether the node follows its chain, by a look that is a few seconds old at most.
    pub(crate) async fn keeps_up(&self) -> Result<(), RailError> {
        let seen = *self.kept_up.lock().unwrap_or_else(PoisonError::into_inner);
        if self.lag_max.is_none() || seen.is_some_and(|seen| seen.elapsed() < limits::VIEW_FRESH) {
            return Ok(());
        }
        self.newest().await.map(drop)
    }

    /// The same node, whose newest block may be so old by this machine's clock; none where the chain makes blocks only when
    /// there is something in them.
    #[must_use]
    pub fn with_lag_max(self, lag_max: Option<Duration>) -> Self {
        Self { lag_max, ..self }
    }

    /// What happened to the contract's channels in these blocks, both included.
    pub(crate) async fn happened(&self, from: u64, to: u64) -> Result<Vec<Happened>, RailError> {
        let events = vec![SdppChannels::CloseRequested::SIGNATURE_HASH, SdppChannels::Closed::SIGNATURE_HASH];
        let filter = Filter::new().address(self.place.contract).from_block(from).to_block(to).event_signature(events);
        Ok(answered(self.provider.get_logs(&filter)).await?.iter().filter_map(Happened::of).collect())
    }

    /// What an account can withdraw from the contract.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn balance(&self, token: Address, account: Address) -> Result<Amount, RailError> {
        let balance = self.channels.balanceOf(token, account).call().await.map_err(|_| RailError::Unavailable)?;
        Ok(u128::try_from(balance).map_or(Amount::MAX, Amount::new))
    }

    /// The time of the newest block, in seconds.
    ///
    /// # Errors
    /// [`RailError::Unavailable`]: no answer.
    pub async fn now(&self) -> Result<u64, RailError> {
        Ok(self.newest_header().await?.timestamp)
    }

    /// The gas that a block has room for.
    pub(crate) async fn gas_of_a_block(&self) -> Result<u64, RailError> {
        Ok(self.newest_header().await?.gas_limit)
    }

    async fn newest_header(&self) -> Result<Header, RailError> {
        let block = answered(self.provider.get_block(BlockId::latest()).into_future()).await?;
        block.map(|block| block.header).ok_or(RailError::Unavailable)
    }
}

/// An answer of a node in its time; none is an outage, after which nothing was sent.
pub(crate) async fn answered<T>(asked: impl Future<Output = Result<T, TransportError>>) -> Result<T, RailError> {
    // The client has a limit for each request; a node that is slow in many ways still ends here.
    let limit = limits::ASK_TIMEOUT.saturating_add(Duration::from_secs(1));
    match tokio::time::timeout(limit, asked).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => {
            tracing::debug!(%error, "the node did not answer");
            Err(RailError::Unavailable)
        }
        Err(_) => Err(RailError::Unavailable),
    }
}

/// Whether deployed code is the artifact's, with what its constructor has put in for the zeros of the artifact.
fn is_our_code(code: &Bytes) -> bool {
    let ours = &SdppChannels::DEPLOYED_BYTECODE;
    code.len() == ours.len() && IMMUTABLES.blank(code) == IMMUTABLES.blank(ours)
}

/// The places of the constructor's values in the code.
struct Immutables(&'static [(usize, usize)]);

include!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../contracts/artifacts/SdppChannels.immutables.in"));

impl Immutables {
    fn blank(&self, code: &Bytes) -> Vec<u8> {
        let mut blank = code.to_vec();
        for (start, length) in self.0 {
            if let Some(place) = blank.get_mut(*start..start.saturating_add(*length)) {
                place.fill(0);
            }
        }
        blank
    }
}
