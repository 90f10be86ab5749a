//! What a transaction does on the fake network.

use std::collections::BTreeMap;

use iota_sdk_crypto::IotaVerifier as _;
use iota_sdk_crypto::simple::SimpleVerifier;
use iota_sdk_types::{
    Address, Argument, ChangedObject, Command, ExecutionError, ExecutionStatus, GasCostSummary, IdOperation, Input,
    ObjectDigest, ObjectId, ObjectIn, ObjectOut, ObjectReference, Owner, ProgrammableTransaction,
    SenderSignedTransaction, Transaction, TransactionDigest, TransactionEffects, TransactionEffectsV1,
    TransactionExpiration, TransactionKind, TransactionV1, UserSignature, Version,
};
use sdpp_proto::hash::labelled;

use super::{FakeCoin, FakeDone, Ledger, STORAGE};

/// Units of gas that every transaction here takes, as the recorded ones did.
const UNITS: u64 = 1_000;

/// A program that this network does not know fails.
const UNKNOWN: ExecutionError = ExecutionError::FeatureNotYetSupported;

/// Nobody draws a number here: an id is what it was made by.
pub(super) fn fresh_id(by: &[u8], count: u64) -> ObjectId {
    ObjectId::new(labelled("SDPP fake object", &[by, &count.to_be_bytes()]))
}

/// What a program has done so far.
struct Run {
    /// Balances of coins that can be used: the gas coin's, without the budget, and those of inputs, by their index.
    coins: BTreeMap<Option<u16>, u64>,
    /// New coins: to whom, once that is said.
    made: Vec<(u64, Option<Address>)>,
    /// Which command made which: a split makes some, others make nothing that matters here.
    results: Vec<Vec<usize>>,
    kept: u64,
}

fn pure(program: &ProgrammableTransaction, argument: &Argument) -> Option<Vec<u8>> {
    let Argument::Input(index) = argument else { return None };
    let Input::Pure(bytes) = program.inputs.get(usize::from(*index))? else { return None };
    Some(bytes.clone())
}

fn number(program: &ProgrammableTransaction, argument: &Argument) -> Option<u64> {
    Some(u64::from_le_bytes(pure(program, argument)?.try_into().ok()?))
}

/// Which coin an argument is: the gas coin, or an input.
fn coin_of(argument: &Argument) -> Result<Option<u16>, ExecutionError> {
    if let Argument::Input(index) = argument {
        return Ok(Some(*index));
    }
    if *argument == Argument::Gas { Ok(None) } else { Err(UNKNOWN) }
}

/// Coins that a program takes as inputs, by their index.
fn inputs(inner: &TransactionV1) -> Vec<(u16, ObjectReference)> {
    let TransactionKind::Programmable(program) = &inner.kind else { return Vec::new() };
    let owned = |(index, input): (u16, &Input)| {
        if let Input::ImmutableOrOwned(coin) = input { Some((index, *coin)) } else { None }
    };
    (0u16..).zip(&program.inputs).filter_map(owned).collect()
}

impl Run {
    fn take(&mut self, coin: Option<u16>, amount: u64) -> Result<usize, ExecutionError> {
        let coin = self.coins.get_mut(&coin).ok_or(UNKNOWN)?;
        *coin = coin.checked_sub(amount).ok_or(ExecutionError::InsufficientCoinBalance)?;
        self.made.push((amount, None));
        Ok(self.made.len().saturating_sub(1))
    }

    /// One command.
    fn step(
        &mut self,
        (program, sender): (&ProgrammableTransaction, Address),
        command: &Command,
    ) -> Result<(), ExecutionError> {
        let mut result = Vec::new();
        if let Command::SplitCoins(split) = command {
            let coin = coin_of(&split.coin)?;
            for amount in &split.amounts {
                result.push(self.take(coin, number(program, amount).ok_or(UNKNOWN)?)?);
            }
        } else if let Command::MergeCoins(merge) = command {
            for merged in &merge.coins_to_merge {
                let more = self.coins.remove(&coin_of(merged)?).ok_or(UNKNOWN)?;
                let into = self.coins.get_mut(&coin_of(&merge.coin)?).ok_or(UNKNOWN)?;
                *into = into.saturating_add(more);
            }
        } else if let Command::TransferObjects(transfer) = command {
            let to = pure(program, &transfer.address).and_then(|bytes| bytes.try_into().ok()).ok_or(UNKNOWN)?;
            for object in &transfer.objects {
                let coin = self.made_by(object).and_then(|made| self.made.get_mut(made)).ok_or(UNKNOWN)?;
                coin.1 = Some(Address::new(to));
            }
        } else if let Command::MoveCall(call) = command {
            match (call.module.as_str(), call.function.as_str()) {
                ("hash", "sha2_256") | ("transfer", "public_freeze_object") | ("bag", "add") => {}
                ("bag", "new") => self.kept = 2,
                ("pay", "divide_and_keep") => {
                    let parts = call.arguments.get(1).and_then(|parts| number(program, parts)).ok_or(UNKNOWN)?;
                    let coin = coin_of(call.arguments.first().ok_or(UNKNOWN)?)?;
                    self.divide(coin, parts, sender)?;
                }
                _ => return Err(UNKNOWN),
            }
        } else {
            return Err(UNKNOWN);
        }
        self.results.push(result);
        Ok(())
    }

    /// Runs all commands; what fails, or costs more than its budget, makes nothing and moves nothing.
    fn all(&mut self, inner: &TransactionV1, computation: u64) -> ExecutionStatus {
        let (mut status, before) = (ExecutionStatus::Success, self.coins.clone());
        if let TransactionKind::Programmable(program) = &inner.kind {
            for (index, command) in program.commands.iter().enumerate() {
                if let Err(error) = self.step((program, inner.sender), command) {
                    status = ExecutionStatus::Failure { error, command: Some(index as u64) };
                    break;
                }
            }
        }
        if computation.saturating_add(self.storage()) > inner.gas_payment.budget {
            status = ExecutionStatus::Failure { error: ExecutionError::InsufficientGas, command: None };
        }
        if status != ExecutionStatus::Success {
            self.made.clear();
            (self.kept, self.coins) = (0, before);
        }
        status
    }

    /// Nanos for the objects that are there afterwards: the coins that were used, and what was made.
    fn storage(&self) -> u64 {
        STORAGE
            .saturating_mul((self.made.len() as u64).saturating_add(self.kept).saturating_add(self.coins.len() as u64))
    }

    fn made_by(&self, object: &Argument) -> Option<usize> {
        let (command, index) = if let Argument::Result(command) = object {
            (*command, 0)
        } else if let Argument::NestedResult(command, index) = object {
            (*command, *index)
        } else {
            return None;
        };
        self.results.get(usize::from(command))?.get(usize::from(index)).copied()
    }

    fn divide(&mut self, coin: Option<u16>, parts: u64, keeper: Address) -> Result<(), ExecutionError> {
        let each = self.coins.get(&coin).and_then(|coin| coin.checked_div(parts)).ok_or(UNKNOWN)?;
        for _ in 1..parts {
            let made = self.take(coin, each)?;
            if let Some(coin) = self.made.get_mut(made) {
                coin.1 = Some(keeper);
            }
        }
        Ok(())
    }
}

impl FakeCoin {
    /// With the digest of all that it is.
    pub(super) fn stamped(self, id: &ObjectId) -> Self {
        let parts: [&[u8]; 4] =
            [id.as_bytes(), &self.version.to_be_bytes(), self.owner.as_bytes(), &self.balance.to_be_bytes()];
        Self { digest: ObjectDigest::new(labelled("SDPP fake digest", &parts)), ..self }
    }
}

impl Ledger {
    pub(super) fn put(&mut self, id: ObjectId, coin: FakeCoin) {
        self.coins.insert(id, coin.stamped(&id));
    }

    /// Whether a node still has a transaction; being looked for, one that waits comes nearer to a checkpoint.
    pub(super) fn is_known(&mut self, digest: &TransactionDigest) -> bool {
        let Some(done) = self.done.get_mut(digest).filter(|_| !self.pruned.contains(digest)) else { return false };
        if done.checkpoint.is_none() {
            match done.waits.checked_sub(1) {
                Some(left) => done.waits = left,
                None => self.checkpoint(*digest),
            }
        }
        true
    }

    /// A transaction is in the next checkpoint.
    pub(super) fn checkpoint(&mut self, digest: TransactionDigest) {
        let number = self.checkpoints.len() as u64;
        let epoch = self.epoch;
        if let Some(done) = self.done.get_mut(&digest) {
            done.checkpoint = Some(number);
            self.checkpoints.push((epoch, vec![digest]));
        }
    }

    /// Executes a transaction, or gives what it did before. The error is what a node says.
    pub(super) fn execute(&mut self, signed: SenderSignedTransaction) -> Result<TransactionDigest, String> {
        let transaction = signed.signed_transaction().transaction().clone();
        let digest = transaction.digest();
        self.check_signature(&signed)?;
        if self.done.contains_key(&digest) && !self.pruned.contains(&digest) {
            return Ok(digest);
        }
        let Transaction::V1(inner) = &transaction else { return Err("an unknown version".into()) };
        self.check_inputs(inner, digest)?;
        let effects = self.run(inner, digest);
        let waits = self.late;
        self.done.insert(digest, FakeDone { signed, effects, checkpoint: None, waits });
        if waits == 0 {
            self.checkpoint(digest);
        }
        Ok(digest)
    }

    fn check_signature(&self, signed: &SenderSignedTransaction) -> Result<(), String> {
        let bad = || {
            "Invalid user signature: Signature is not valid: Fail to verify user sig Invalid signature was given to \
             the function"
                .to_owned()
        };
        let (transaction, signatures) =
            (signed.signed_transaction().transaction(), signed.signed_transaction().signatures());
        let Transaction::V1(inner) = transaction else { return Err(bad()) };
        let mut signers = Vec::new();
        for signature in signatures {
            let UserSignature::Simple(simple) = signature else { return Err(bad()) };
            SimpleVerifier.verify_transaction(transaction, signature).map_err(|_| bad())?;
            signers.push(simple.to_public_key().derive_address());
        }
        let mut wanted = vec![inner.sender, inner.gas_payment.owner];
        wanted.sort_unstable();
        wanted.dedup();
        signers.sort_unstable();
        if signers == wanted { Ok(()) } else { Err(bad()) }
    }

    fn check_inputs(&mut self, inner: &TransactionV1, digest: TransactionDigest) -> Result<(), String> {
        const BEGIN: &str = "Transaction execution failed due to issues with transaction inputs, please review the errors and try again:";
        let (payment, least) = (&inner.gas_payment, self.gas_price);
        if matches!(inner.expiration, TransactionExpiration::Epoch(epoch) if epoch < self.epoch) {
            return Err("Transaction Expired".into());
        }
        if payment.price < least {
            return Err(format!("{BEGIN} Gas price {} under reference gas price (RGP) {least}.", payment.price));
        }
        let mut sum = 0u64;
        for coin in &payment.objects {
            sum = sum
                .saturating_add(self.lock_coin(payment.owner, coin, digest).map_err(|why| format!("{BEGIN} {why}"))?);
        }
        for (_, coin) in inputs(inner) {
            self.lock_coin(inner.sender, &coin, digest).map_err(|why| format!("{BEGIN} {why}"))?;
        }
        if sum < payment.budget || payment.objects.is_empty() {
            return Err(format!(
                "{BEGIN} Balance of gas object {sum} is lower than the needed amount: {}.",
                payment.budget
            ));
        }
        Ok(())
    }

    /// Gives what a coin has, which from here on is this transaction's.
    fn lock_coin(&mut self, owner: Address, coin: &ObjectReference, digest: TransactionDigest) -> Result<u64, String> {
        let known = self.coins.get(&coin.object_id).filter(|known| known.owner == owner);
        let known = known.ok_or_else(|| format!("Could not find the referenced object {}", coin.object_id))?;
        if (known.version, known.digest) != (coin.version.as_u64(), coin.digest) {
            return Err(format!(
                "Object ({}, SequenceNumber({}), o#{}) is not available for consumption, its current version: \
                 SequenceNumber({}).",
                coin.object_id, coin.version, coin.digest, known.version
            ));
        }
        let (balance, key) = (known.balance, (coin.object_id, known.version, self.epoch));
        if *self.locked.entry(key).or_insert(digest) != digest {
            self.equivocations = self.equivocations.saturating_add(1);
            return Err(format!("Object {} is locked by another transaction.", coin.object_id));
        }
        Ok(balance)
    }

    /// What a transaction would do now, without doing it.
    pub(super) fn dry_run(&self, transaction: &Transaction) -> Result<TransactionEffects, String> {
        let mut copy =
            Self { coins: self.coins.clone(), epoch: self.epoch, gas_price: self.gas_price, ..Self::default() };
        let Transaction::V1(inner) = transaction else { return Err("an unknown version".into()) };
        let digest = transaction.digest();
        copy.check_inputs(inner, digest)?;
        Ok(copy.run(inner, digest))
    }

    fn take_out(&mut self, coin: &ObjectReference) -> Option<(ObjectId, FakeCoin)> {
        Some((coin.object_id, self.coins.remove(&coin.object_id)?))
    }

    fn run(&mut self, inner: &TransactionV1, digest: TransactionDigest) -> TransactionEffects {
        let payment = &inner.gas_payment;
        let gas: Vec<_> = payment.objects.iter().filter_map(|coin| self.take_out(coin)).collect();
        let money: Vec<_> = inputs(inner).iter().filter_map(|(at, coin)| Some((*at, self.take_out(coin)?))).collect();
        let sum: u64 = gas.iter().map(|(_, coin)| coin.balance).sum();
        let used = || gas.iter().chain(money.iter().map(|(_, used)| used));
        let version = used().map(|(_, coin)| coin.version).max().unwrap_or(0).saturating_add(1);
        let mut coins: BTreeMap<_, _> = money.iter().map(|(at, (_, coin))| (Some(*at), coin.balance)).collect();
        coins.insert(None, sum.saturating_sub(payment.budget));
        let mut run = Run { coins, made: Vec::new(), results: Vec::new(), kept: 0 };
        let computation = UNITS.saturating_mul(payment.price);
        let status = run.all(inner, computation);
        let cost = GasCostSummary {
            computation_cost: computation,
            computation_cost_burned: computation,
            storage_cost: run.storage(),
            storage_rebate: STORAGE.saturating_mul(used().count() as u64),
            non_refundable_storage_fee: 0,
        };
        let net = cost.computation_cost.saturating_add(cost.storage_cost).saturating_sub(cost.storage_rebate);
        self.burned = self.burned.saturating_add(net);
        // What is left: in the first gas coin with the rest of the budget, and in each input that was not put into another one.
        let of_gas = run.coins.get(&None).copied().unwrap_or(0).saturating_add(payment.budget.min(sum));
        let left = |at: usize| (at == 0).then(|| of_gas.saturating_sub(net));
        let mut old: Vec<_> = gas.iter().enumerate().map(|(at, (id, coin))| (*id, coin.clone(), left(at))).collect();
        old.extend(money.iter().map(|(at, (id, coin))| (*id, coin.clone(), run.coins.get(&Some(*at)).copied())));
        let mut changed = Vec::new();
        for (id, coin, balance) in old {
            let (before, owner) = (Version::from_u64(coin.version), Owner::Address(coin.owner));
            let input_state = ObjectIn::Data { version: before, digest: coin.digest, owner };
            let (output_state, id_operation) = match balance {
                Some(balance) => (self.write(id, coin.owner, (version, balance)), IdOperation::None),
                None => (ObjectOut::Missing, IdOperation::Deleted),
            };
            changed.push(ChangedObject { object_id: id, input_state, output_state, id_operation });
        }
        let made = run.made.iter().filter_map(|(amount, to)| Some((*amount, (*to)?)));
        for (count, (amount, to)) in made.enumerate() {
            let id = fresh_id(digest.bytes(), count as u64);
            let output_state = self.write(id, to, (version, amount));
            let (input_state, id_operation) = (ObjectIn::Missing, IdOperation::Created);
            changed.push(ChangedObject { object_id: id, input_state, output_state, id_operation });
        }
        TransactionEffects::V1(Box::new(TransactionEffectsV1 {
            status,
            epoch: self.epoch,
            gas_cost_summary: cost,
            transaction_digest: digest,
            gas_object_index: Some(0),
            events_digest: None,
            dependencies: Vec::new(),
            lamport_version: Version::from_u64(version),
            changed_objects: changed,
            unchanged_shared_objects: Vec::new(),
            auxiliary_data_digest: None,
        }))
    }

    fn write(&mut self, id: ObjectId, owner: Address, (version, balance): (u64, u64)) -> ObjectOut {
        self.put(id, FakeCoin { owner, version, digest: ObjectDigest::ZERO, balance });
        let digest = self.coins.get(&id).map_or(ObjectDigest::ZERO, |coin| coin.digest);
        ObjectOut::ObjectWrite { digest, owner: Owner::Address(owner) }
    }
}
