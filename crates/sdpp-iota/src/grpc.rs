//! Nodes over gRPC, whose checkpoints carry the signatures of their validators.

use std::time::Duration;

use iota_sdk_grpc_client::prost::bytes::Bytes;
use iota_sdk_grpc_client::read_mask_fields::{
    CheckpointResponseField, EpochField, OwnedObjectField, ServiceInfoField, SimulateField, TransactionField,
};
use iota_sdk_grpc_client::tonic::Code;
use iota_sdk_grpc_client::{CheckpointResponse, GrpcClient, GrpcError, GrpcResult, MetadataEnvelope};
use iota_sdk_grpc_types::v1::transaction::ExecutedTransaction;
use iota_sdk_types::framework::Coin as Framework;
use iota_sdk_types::{
    Address, ExecutionStatus, SenderSignedTransaction, SignedCheckpointSummary, StructTag, Transaction,
    TransactionDigest, TransactionEffects, ValidatorCommittee,
};

use crate::http::BadUrl;
use crate::limits;
use crate::node::{Answer, CallError, Certified, Coin, Coins, Estimate, Transport};
use crate::receipt::Receipt;

/// How a URL of a node over gRPC begins, without and with TLS, and what a connection is told instead.
const SCHEMES: [(&str, &str); 2] = [("grpc://", "http://"), ("grpcs://", "https://")];
/// What people are told of a node's refusal, at most.
const REASON_CHARS_MAX: usize = 300;

/// A node over gRPC.
pub struct Grpc {
    client: GrpcClient,
    name: String,
}

impl Grpc {
    /// Whether a URL is of this kind: `grpc://HOST:PORT`, or `grpcs://HOST:PORT` with TLS.
    pub fn is_for(url: &str) -> bool {
        SCHEMES.iter().any(|(scheme, _)| url.starts_with(scheme))
    }

    /// To the node at this URL. It is reached when it is asked, in a runtime of tokio.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let at = SCHEMES.iter().find_map(|(ours, theirs)| Some((*ours, *theirs, url.strip_prefix(ours)?)));
        let (ours, theirs, host) = at.ok_or(BadUrl)?;
        let client = GrpcClient::new(format!("{theirs}{host}")).map_err(|_| BadUrl)?;
        let authority = client.uri().authority().ok_or(BadUrl)?;
        let port = authority.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
        let name = format!("{ours}{}{port}", authority.host());
        Ok(Self { client: client.with_max_decoding_message_size(limits::ANSWER_BYTES_MAX), name })
    }

    async fn checkpoint(&self, number: u64) -> Result<Option<CheckpointResponse>, CallError> {
        let fields = [
            CheckpointResponseField::CHECKPOINT_SEQUENCE_NUMBER,
            CheckpointResponseField::CHECKPOINT_SUMMARY,
            CheckpointResponseField::CHECKPOINT_SIGNATURE,
            CheckpointResponseField::CHECKPOINT_CONTENTS,
        ];
        let asked = self.client.checkpoint_by_sequence_number(number).read_mask(fields);
        known(within(limits::CALL_TIMEOUT, asked).await)
    }
}

/// Waits so long for an answer, and takes its body.
async fn within<T>(
    limit: Duration,
    asked: impl IntoFuture<Output = GrpcResult<MetadataEnvelope<T>>>,
) -> Result<T, GrpcOr> {
    let answer = tokio::time::timeout(limit, asked.into_future()).await.map_err(|_| GrpcOr::Late)?;
    answer.map(MetadataEnvelope::into_inner).map_err(GrpcOr::Said)
}

/// Why there is no answer.
enum GrpcOr {
    Late,
    Said(GrpcError),
}

impl From<GrpcOr> for CallError {
    fn from(error: GrpcOr) -> Self {
        match error {
            GrpcOr::Late => Self::Lost,
            GrpcOr::Said(error) => why(&error),
        }
    }
}

/// The same, where something that is not there is an answer, too.
fn known<T>(answer: Result<T, GrpcOr>) -> Result<Option<T>, CallError> {
    match answer {
        Err(GrpcOr::Said(error)) if error.is_not_found() => Ok(None),
        answer => Ok(Some(answer?)),
    }
}

fn why(error: &GrpcError) -> CallError {
    if let GrpcError::Grpc(status) = error {
        return if is_unreached(status.as_ref()) {
            CallError::Unreachable
        } else {
            of_code(status.code(), status.message())
        };
    }
    if let GrpcError::Server(status) = error {
        return of_code(Code::from(status.code), &status.message);
    }
    CallError::Malformed("its gRPC makes no sense")
}

/// Whether there was no connection on which anything could be asked.
fn is_unreached(status: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        if error.is::<iota_sdk_grpc_client::tonic::ConnectError>() {
            return true;
        }
        next = error.source();
    }
    false
}

fn of_code(code: Code, message: &str) -> CallError {
    match code {
        Code::ResourceExhausted => CallError::Busy,
        Code::Unimplemented => CallError::Malformed("it has not this service"),
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange => {
            CallError::Refused(message.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect())
        }
        // Whether something was done is not known.
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::DeadlineExceeded
        | Code::Aborted
        | Code::Internal
        | Code::Unavailable
        | Code::DataLoss => CallError::Lost,
    }
}

/// What a field of an answer should have been.
fn bad<E>(what: &'static str) -> impl FnOnce(E) -> CallError {
    move |_| CallError::Malformed(what)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = |at: usize| text.get(at..at.checked_add(2)?);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(digits(at)?, 16).ok()).collect()
}

/// Effects of a transaction, as they came.
fn effects_of(executed: &ExecutedTransaction) -> Result<Vec<u8>, CallError> {
    let effects = executed.effects().map_err(bad("the effects"))?;
    let bytes = effects.bcs.as_ref().ok_or(CallError::Malformed("the effects"))?;
    Ok(bytes.as_bytes().to_vec())
}

impl Transport for Grpc {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn chain(&self) -> Answer<'_, String> {
        Box::pin(async {
            let asked = self.client.service_info().read_mask(ServiceInfoField::CHAIN_ID);
            let info = within(limits::CALL_TIMEOUT, asked).await?;
            let digest = info.chain_identifier().map_err(bad("the chain's identifier"))?;
            Ok(hex(digest.bytes().get(..4).unwrap_or_default()))
        })
    }

    fn epoch(&self) -> Answer<'_, u64> {
        Box::pin(async {
            let asked = self.client.service_info().read_mask(ServiceInfoField::EPOCH);
            within(limits::CALL_TIMEOUT, asked).await?.epoch_id().map_err(bad("the epoch"))
        })
    }

    fn gas_price(&self) -> Answer<'_, u64> {
        Box::pin(async { Ok(within(limits::CALL_TIMEOUT, self.client.reference_gas_price()).await?) })
    }

    fn coins<'a>(&'a self, owner: &'a Address, page: Option<String>) -> Answer<'a, Coins> {
        Box::pin(async move {
            let asked = self.client.owned_objects(*owner).object_type(StructTag::new_gas_coin());
            let fields = [OwnedObjectField::REFERENCE, OwnedObjectField::BCS];
            let mut asked = asked.read_mask(fields).page_size(limits::COINS_PER_PAGE);
            if let Some(page) = page {
                let token = unhex(&page).ok_or(CallError::Malformed("the page"))?;
                asked = asked.page_token(Bytes::from(token));
            }
            let page = within(limits::CALL_TIMEOUT, asked).await?;
            let mut coins = Vec::new();
            for object in &page.items {
                let reference = object.object_reference().map_err(bad("a coin's reference"))?;
                let object = object.object().map_err(bad("a coin"))?;
                let coin = Framework::try_from_object(&object).map_err(bad("a coin"))?;
                if *coin.id() != reference.object_id || object.version() != reference.version {
                    return Err(CallError::Malformed("a coin is another one than its reference"));
                }
                coins.push(Coin { reference, balance: coin.balance() });
            }
            Ok(Coins { coins, next: page.next_page_token.map(|token| hex(&token)) })
        })
    }

    fn estimate<'a>(&'a self, transaction: &'a Transaction) -> Answer<'a, Estimate> {
        Box::pin(async move {
            let asked = self.client.simulate_transaction(transaction.clone());
            let asked = asked.read_mask(SimulateField::EXECUTED_TRANSACTION_EFFECTS);
            let simulated = within(limits::CALL_TIMEOUT, asked).await?;
            let executed = simulated.executed_transaction().map_err(bad("what it would do"))?;
            let effects = executed.effects().map_err(bad("the effects"))?.effects().map_err(bad("the effects"))?;
            let TransactionEffects::V1(effects) = effects else { return Err(CallError::Malformed("the effects")) };
            if let ExecutionStatus::Failure { error, .. } = &effects.status {
                return Err(CallError::Refused(format!("{error:?}").chars().take(REASON_CHARS_MAX).collect()));
            }
            let used = &effects.gas_cost_summary;
            let budget = used.computation_cost.saturating_add(used.storage_cost);
            Ok(Estimate { budget, cost: budget.saturating_sub(used.storage_rebate) })
        })
    }

    fn execute<'a>(&'a self, signed: &'a SenderSignedTransaction) -> Answer<'a, Vec<u8>> {
        Box::pin(async move {
            let asked = self.client.execute_transaction(signed.signed_transaction().clone());
            let asked = asked.read_mask(TransactionField::EFFECTS_BCS);
            effects_of(&within(limits::EXECUTE_TIMEOUT, asked).await?)
        })
    }

    fn transaction<'a>(&'a self, digest: &'a TransactionDigest) -> Answer<'a, Option<Receipt>> {
        Box::pin(async move {
            let fields = [
                TransactionField::TRANSACTION,
                TransactionField::SIGNATURES,
                TransactionField::EFFECTS_BCS,
                TransactionField::CHECKPOINT,
            ];
            let asked = self.client.transactions([*digest]).read_mask(fields);
            let answers = within(limits::CALL_TIMEOUT, asked).await?;
            let answer = answers.into_iter().next().ok_or(CallError::Malformed("there is nothing in it"))?;
            let Some(executed) = known(answer.map_err(GrpcOr::Said))? else { return Ok(None) };
            let transaction = executed.transaction().map_err(bad("the transaction"))?;
            let transaction = transaction.transaction().map_err(bad("the transaction"))?;
            let signatures = executed.signatures().map_err(bad("the signatures"))?;
            let signatures = signatures.try_into().map_err(bad("the signatures"))?;
            let signed = SenderSignedTransaction::new(transaction, signatures);
            let transaction = bcs::to_bytes(&signed).map_err(bad("the transaction"))?;
            Ok(Some(Receipt { transaction, effects: effects_of(&executed)?, checkpoint: executed.checkpoint }))
        })
    }

    fn carries_signatures(&self) -> bool {
        true
    }

    fn certified(&self, checkpoint: u64) -> Answer<'_, Option<Certified>> {
        Box::pin(async move {
            let Some(found) = self.checkpoint(checkpoint).await? else { return Ok(None) };
            let summary = found.signed_summary().map_err(bad("the checkpoint"))?;
            let contents = found.contents().map_err(bad("the checkpoint's contents"))?;
            Ok(Some(Certified { summary, contents: contents.contents().map_err(bad("the checkpoint's contents"))? }))
        })
    }

    fn epoch_end(&self, epoch: u64) -> Answer<'_, Option<SignedCheckpointSummary>> {
        Box::pin(async move {
            let asked = self.client.epoch().epoch_number(epoch).read_mask(EpochField::LAST_CHECKPOINT);
            let Some(found) = known(within(limits::CALL_TIMEOUT, asked).await)? else { return Ok(None) };
            let Some(last) = found.last_checkpoint else { return Ok(None) };
            let Some(found) = self.checkpoint(last).await? else { return Ok(None) };
            found.signed_summary().map(Some).map_err(bad("the checkpoint"))
        })
    }

    fn committee(&self) -> Answer<'_, Option<ValidatorCommittee>> {
        Box::pin(async move {
            let asked = self.client.epoch().read_mask([EpochField::EPOCH, EpochField::COMMITTEE]);
            within(limits::CALL_TIMEOUT, asked).await?.committee().map(Some).map_err(bad("the committee"))
        })
    }
}
