//! A chain in memory: the contracts, accounts with keys, and a clock.

use alloy::primitives::{Address, B256, Bytes, Log, TxKind, U256};
use alloy::signers::SignerSync as _;
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{SolCall, SolError, SolEvent, SolStruct};
use revm::context::result::{ExecutionResult, Output};
use revm::context::{BlockEnv, CfgEnv, Context, Evm, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{ExecuteCommitEvm as _, MainBuilder as _, MainContext as _};
use sdpp_evm::abi::SdppChannels::{self, Channel, Terms, Voucher};
use sdpp_evm::typed::{self, Place};

/// The chain's id.
pub(crate) const CHAIN: u64 = 31_337;
/// Coins of every account at first.
pub(crate) const COINS: u128 = 1_000_000_000_000_000_000_000;
/// The most that one transaction may take (EIP-7825).
pub(crate) const GAS_MAX: u64 = 1 << 24;
/// Grace period of all channels here, in seconds.
pub(crate) const GRACE: u32 = 3_600;
/// States of a channel.
pub(crate) const UNUSED: u8 = 0;
pub(crate) const CLOSED: u8 = 2;
/// The native coin.
pub(crate) const COIN: Address = Address::ZERO;

alloy::sol!(
    #[allow(missing_docs)]
    TestUsd,
    "../../contracts/artifacts/TestUsd.json"
);

/// Why a call failed: what the contract says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Reverted(pub(crate) Bytes);

impl Reverted {
    pub(crate) fn is<E: SolError>(&self) -> bool {
        self.0.starts_with(&E::SELECTOR)
    }
}

/// What a call did.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) gas: u64,
    pub(crate) logs: Vec<Log>,
    pub(crate) output: Bytes,
}

impl Done {
    /// The one event of its kind.
    pub(crate) fn event<E: SolEvent>(&self) -> E {
        let found: Vec<_> = self.logs.iter().filter_map(|log| E::decode_log(log).ok()).collect();
        assert_eq!(found.len(), 1, "events of {}", E::SIGNATURE);
        found.into_iter().next().unwrap().data
    }
}

pub(crate) struct Chain {
    db: CacheDB<EmptyDB>,
    /// Seconds.
    pub(crate) now: u64,
    pub(crate) channels: Address,
}

/// A key of a number; the same each time.
pub(crate) fn key(number: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap()
}

pub(crate) fn amount(value: u64) -> U256 {
    U256::from(value)
}

impl Chain {
    /// With the contract of channels.
    pub(crate) fn new() -> Self {
        let mut chain = Self { db: CacheDB::new(EmptyDB::default()), now: 1_800_000_000, channels: Address::ZERO };
        for number in 1..=20 {
            let info = AccountInfo { balance: U256::from(COINS), ..AccountInfo::default() };
            chain.db.insert_account_info(key(number).address(), info);
        }
        chain.channels = chain.deploy(&SdppChannels::BYTECODE);
        chain
    }

    pub(crate) fn deploy(&mut self, code: &Bytes) -> Address {
        self.deploy_with(code, &[])
    }

    /// With arguments of the constructor, encoded.
    pub(crate) fn deploy_with(&mut self, code: &Bytes, arguments: &[u8]) -> Address {
        let code = [code.as_ref(), arguments].concat().into();
        let result = self.transact(key(20).address(), TxKind::Create, code, U256::ZERO);
        let ExecutionResult::Success { output: Output::Create(_, Some(address)), .. } = result else {
            panic!("{result:?}");
        };
        address
    }

    fn transact(&mut self, from: Address, kind: TxKind, data: Bytes, value: U256) -> ExecutionResult {
        let mut cfg = CfgEnv::new_with_spec(SpecId::CANCUN);
        cfg.chain_id = CHAIN;
        cfg.disable_nonce_check = true;
        let block =
            BlockEnv { timestamp: U256::from(self.now), number: U256::from(self.now / 12), ..BlockEnv::default() };
        let tx = TxEnv::builder().caller(from).kind(kind).data(data).value(value).gas_limit(GAS_MAX);
        let tx = tx.chain_id(Some(CHAIN)).build_fill();
        let mut evm: Evm<_, _, _, _, _> =
            Context::mainnet().with_db(&mut self.db).with_cfg(cfg).with_block(block).build_mainnet();
        evm.transact_commit(tx).unwrap()
    }

    /// Calls any contract.
    pub(crate) fn call_at(
        &mut self,
        (from, at): (Address, Address),
        call: &impl SolCall,
        value: U256,
    ) -> Result<Done, Reverted> {
        match self.transact(from, TxKind::Call(at), call.abi_encode().into(), value) {
            ExecutionResult::Success { gas, logs, output, .. } => {
                Ok(Done { gas: gas.tx_gas_used(), logs, output: output.into_data() })
            }
            ExecutionResult::Revert { output, .. } => Err(Reverted(output)),
            ExecutionResult::Halt { reason, .. } => panic!("{reason:?}"),
        }
    }

    /// Calls the contract of channels.
    pub(crate) fn call(&mut self, from: &PrivateKeySigner, call: &impl SolCall) -> Result<Done, Reverted> {
        let at = self.channels;
        self.call_at((from.address(), at), call, U256::ZERO)
    }

    /// Looks at something of any contract.
    pub(crate) fn look<C: SolCall>(&mut self, at: Address, call: &C) -> C::Return {
        let done = self.call_at((key(20).address(), at), call, U256::ZERO).unwrap();
        C::abi_decode_returns(&done.output).unwrap()
    }

    pub(crate) fn channel(&mut self, id: B256) -> Channel {
        let at = self.channels;
        self.look(at, &SdppChannels::channelCall { id })
    }

    /// What an account can withdraw.
    pub(crate) fn balance(&mut self, token: Address, account: &PrivateKeySigner) -> U256 {
        let at = self.channels;
        self.look(at, &SdppChannels::balanceOfCall { token, account: account.address() })
    }

    pub(crate) fn coins(&self, account: Address) -> U256 {
        self.db.cache.accounts.get(&account).map_or(U256::ZERO, |account| account.info.balance)
    }

    pub(crate) fn place(&self) -> Place {
        Place { chain: CHAIN, contract: self.channels }
    }

    pub(crate) fn sign(&self, key: &PrivateKeySigner, statement: &impl SolStruct) -> Bytes {
        sign_digest(key, self.place().digest(statement))
    }

    /// A voucher of this signer.
    pub(crate) fn voucher(&self, signer: &PrivateKeySigner, id: B256, cumulative: u64) -> Voucher {
        let (messages, commitment) = (cumulative / 3, B256::repeat_byte(9));
        let cumulative = amount(cumulative);
        let signature = self.sign(signer, &typed::Voucher { channelId: id, cumulative, messages, commitment });
        Voucher { channelId: id, cumulative, messages, commitment, signature }
    }

    /// Opens a channel of native coins or tokens, which are minted and approved.
    pub(crate) fn open(&mut self, terms: &Terms, deposit: u64) -> Result<Done, Reverted> {
        let (payer, at) = (terms.payer, self.channels);
        let value = if terms.token == COIN { amount(deposit) } else { U256::ZERO };
        if terms.token != COIN {
            let mint = TestUsd::mintCall { to: payer, amount: amount(deposit) };
            self.call_at((payer, terms.token), &mint, U256::ZERO)?;
            let approve = TestUsd::approveCall { spender: at, value: U256::MAX };
            self.call_at((payer, terms.token), &approve, U256::ZERO)?;
        }
        let open = SdppChannels::openCall { terms: terms.clone(), amount: amount(deposit), fromBalance: U256::ZERO };
        self.call_at((payer, at), &open, value)
    }
}

pub(crate) fn sign_digest(key: &PrivateKeySigner, digest: B256) -> Bytes {
    key.sign_hash_sync(&digest).unwrap().as_bytes().to_vec().into()
}

/// A channel of payer 1 for payee 2 with signer 3.
pub(crate) fn terms(token: Address, salt: u8) -> Terms {
    Terms {
        payer: key(1).address(),
        payee: key(2).address(),
        token,
        signer: key(3).address(),
        grace: GRACE,
        salt: B256::repeat_byte(salt),
    }
}
