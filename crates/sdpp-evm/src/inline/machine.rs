//! Runs transactions on a state.

use alloy::primitives::{Address, B256, Bytes, Log, TxKind, U256, keccak256};
use revm::context::result::{ExecutionResult, Output};
use revm::context::{BlockEnv, CfgEnv, Context, TxEnv};
use revm::database::{CacheDB, EmptyDB};
use revm::database_interface::{DatabaseRef as _, WrapDatabaseRef};
use revm::primitives::hardfork::SpecId;
use revm::state::AccountInfo;
use revm::{DatabaseCommit as _, ExecuteEvm as _, MainBuilder as _, MainContext as _};

use super::CHAIN;
use super::blocks::Transaction;

/// The most that one transaction may take (EIP-7825).
pub(super) const GAS_MAX: u64 = 1 << 24;

/// Accounts and what their contracts keep.
#[derive(Clone)]
pub(super) struct State(CacheDB<EmptyDB>);

/// What a transaction did.
#[derive(Clone, Debug)]
pub(super) struct Done {
    pub(super) gas: u64,
    pub(super) logs: Vec<Log>,
    pub(super) output: Bytes,
    pub(super) created: Option<Address>,
}

/// Why it did nothing: what the contract says, and the gas that it took.
#[derive(Clone, Debug)]
pub(super) struct Reverted {
    pub(super) gas: u64,
    pub(super) why: Bytes,
}

/// The block that it is in.
#[derive(Clone, Copy)]
pub(super) struct In {
    pub(super) number: u64,
    pub(super) timestamp: u64,
}

impl State {
    pub(super) fn new() -> Self {
        Self(CacheDB::new(EmptyDB::default()))
    }

    pub(super) fn give_coins(&mut self, account: Address, coins: U256) {
        let known = self.info(account);
        self.0.insert_account_info(account, AccountInfo { balance: coins, ..known });
    }

    fn info(&self, account: Address) -> AccountInfo {
        self.0.basic_ref(account).ok().flatten().unwrap_or_default()
    }

    pub(super) fn nonce(&self, account: Address) -> u64 {
        self.info(account).nonce
    }

    pub(super) fn coins(&self, account: Address) -> U256 {
        self.info(account).balance
    }

    pub(super) fn code(&self, account: Address) -> Bytes {
        let info = self.info(account);
        if info.is_empty_code_hash() {
            return Bytes::new();
        }
        let code = info.code.or_else(|| self.0.code_by_hash_ref(info.code_hash).ok());
        code.map(|code| code.original_bytes()).unwrap_or_default()
    }

    /// Runs a transaction, and keeps what it does.
    pub(super) fn run(&mut self, transaction: &Transaction, block: In) -> Result<Done, Reverted> {
        let (result, changes) = self.execute(transaction, block);
        self.0.commit(changes);
        result
    }

    /// Runs it and keeps nothing.
    pub(super) fn try_out(&self, transaction: &Transaction, block: In) -> Result<Done, Reverted> {
        self.execute(transaction, block).0
    }

    fn execute(&self, transaction: &Transaction, block: In) -> (Result<Done, Reverted>, revm::state::EvmState) {
        let mut cfg = CfgEnv::new_with_spec(SpecId::CANCUN);
        cfg.chain_id = CHAIN;
        // Whoever sends has its nonce compared before.
        cfg.disable_nonce_check = true;
        let block = BlockEnv {
            number: U256::from(block.number),
            timestamp: U256::from(block.timestamp),
            ..BlockEnv::default()
        };
        let Transaction { from, to, data, value, gas_limit, .. } = transaction;
        // Gas costs nothing: nobody's coins are counted here.
        let tx = TxEnv::builder().caller(*from).kind(*to).data(data.clone()).value(*value);
        let tx = tx.gas_limit(*gas_limit).gas_price(0).chain_id(Some(CHAIN)).build_fill();
        let db = WrapDatabaseRef(&self.0);
        let ran = Context::mainnet().with_db(db).with_cfg(cfg).with_block(block).build_mainnet().transact(tx);
        match ran {
            Ok(ran) => (done(ran.result), ran.state),
            // Not even tried: the account has not the coins that are sent along.
            Err(_) => (Err(Reverted { gas: 0, why: Bytes::new() }), revm::state::EvmState::default()),
        }
    }
}

fn done(result: ExecutionResult) -> Result<Done, Reverted> {
    match result {
        ExecutionResult::Success { gas, logs, output, .. } => {
            let created = match &output {
                Output::Create(_, created) => *created,
                Output::Call(_) => None,
            };
            Ok(Done { gas: gas.total_gas_spent(), logs, output: output.into_data(), created })
        }
        ExecutionResult::Revert { gas, output, .. } => Err(Reverted { gas: gas.total_gas_spent(), why: output }),
        ExecutionResult::Halt { gas, .. } => Err(Reverted { gas: gas.total_gas_spent(), why: Bytes::new() }),
    }
}

/// A block's name: what is in it and before it.
pub(super) fn hash_of(parent: B256, In { number, timestamp }: In, (fork, transaction): (u64, B256)) -> B256 {
    let parts = [parent.0.as_slice(), &number.to_be_bytes(), &timestamp.to_be_bytes(), &fork.to_be_bytes()];
    keccak256([parts.concat().as_slice(), transaction.as_slice()].concat())
}

/// A call of an account.
impl Transaction {
    pub(super) fn of(from: Address, to: TxKind, data: Bytes, value: U256) -> Self {
        Self { hash: B256::ZERO, from, to, data, value, nonce: 0, gas_limit: GAS_MAX, fee: 0 }
    }
}
