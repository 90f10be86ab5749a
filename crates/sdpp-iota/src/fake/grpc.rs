//! The fake network over gRPC: the services of a node as far as a wallet needs them. Fields that no mask asks for are left out,
//! as nodes do.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::stream::{self, Stream};
use iota_sdk_grpc_client::prost_types::FieldMask;
use iota_sdk_grpc_client::tonic::transport::Server;
use iota_sdk_grpc_client::tonic::transport::server::TcpIncoming;
use iota_sdk_grpc_client::tonic::{Code, Request, Response, Status, async_trait};
use iota_sdk_grpc_types::google::rpc::Status as Refusal;
use iota_sdk_grpc_types::v1::bcs::BcsData;
use iota_sdk_grpc_types::v1::checkpoint::{Checkpoint, CheckpointContents, CheckpointSummary};
use iota_sdk_grpc_types::v1::epoch::Epoch;
use iota_sdk_grpc_types::v1::ledger_service::ledger_service_server::{LedgerService, LedgerServiceServer};
use iota_sdk_grpc_types::v1::ledger_service::{
    CheckpointData, GetCheckpointRequest, GetEpochRequest, GetEpochResponse, GetHealthRequest, GetHealthResponse,
    GetObjectsRequest, GetObjectsResponse, GetServiceInfoRequest, GetServiceInfoResponse, GetTransactionsRequest,
    GetTransactionsResponse, StreamCheckpointsRequest, TransactionResult, checkpoint_data, get_checkpoint_request,
};
use iota_sdk_grpc_types::v1::object::Object as Listed;
use iota_sdk_grpc_types::v1::signatures::{UserSignature, UserSignatures, ValidatorAggregatedSignature};
use iota_sdk_grpc_types::v1::state_service::state_service_server::{StateService, StateServiceServer};
use iota_sdk_grpc_types::v1::state_service::{
    GetCoinInfoRequest, GetCoinInfoResponse, ListDynamicFieldsRequest, ListDynamicFieldsResponse,
    ListOwnedObjectsRequest, ListOwnedObjectsResponse,
};
use iota_sdk_grpc_types::v1::transaction::{ExecutedTransaction, Transaction as Sent, TransactionEffects as Done};
use iota_sdk_grpc_types::v1::transaction_execution_service::transaction_execution_service_server::{
    TransactionExecutionService, TransactionExecutionServiceServer,
};
use iota_sdk_grpc_types::v1::transaction_execution_service::{
    ExecuteTransactionItem, ExecuteTransactionResult, ExecuteTransactionsRequest, ExecuteTransactionsResponse,
    SimulateTransactionResult, SimulateTransactionsRequest, SimulateTransactionsResponse, SimulatedTransaction,
    ViewFunctionCallsRequest, ViewFunctionCallsResponse,
};
use iota_sdk_grpc_types::v1::versioned::{VersionedCheckpointSummary, VersionedObject};
use iota_sdk_types::{
    Address, Digest, MoveStruct, Object, ObjectData, ObjectId, ObjectReference, Owner, SenderSignedTransaction,
    StructTag, Transaction, TransactionDigest, TransactionEffects, Version,
};

use super::{FakeCoin, FakeSigned, Fate, Way};
use crate::node::Transport as _;

/// Services of a node of the fake network, with the word of its validators.
#[derive(Clone)]
pub struct FakeGrpc {
    signed: Arc<FakeSigned>,
    way: Way,
}

type Told<T> = Result<Response<T>, Status>;
type Many<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

impl FakeGrpc {
    /// Serves it on a free port, for as long as the runtime runs; `way` decides what becomes of each question, by its method.
    ///
    /// # Errors
    /// What the port says.
    pub async fn serve(signed: FakeSigned, way: Way) -> std::io::Result<SocketAddr> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let (address, node) = (listener.local_addr()?, Self { signed: Arc::new(signed), way });
        let served = Server::builder()
            .add_service(LedgerServiceServer::new(node.clone()))
            .add_service(StateServiceServer::new(node.clone()))
            .add_service(TransactionExecutionServiceServer::new(node))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(served);
        Ok(address)
    }

    /// What becomes of a question; the answer is made where it arrives.
    fn fated<T>(&self, method: &str, answer: impl FnOnce() -> Result<T, Status>) -> Told<T> {
        match (self.way)(method) {
            Fate::Refused => Err(Status::unavailable("nobody is there")),
            Fate::Busy => Err(Status::resource_exhausted("there is too much to do")),
            Fate::RequestLost => Err(Status::deadline_exceeded("it got lost")),
            Fate::AnswerLost => answer().and_then(|_| Err(Status::deadline_exceeded("the answer got lost"))),
            Fate::Answered | Fate::Lied(_) | Fate::Replaced(_) => answer().map(Response::new),
        }
    }

    fn executed(&self, digest: &TransactionDigest, wants: &Wants) -> Option<ExecutedTransaction> {
        let mut ledger = self.signed.network().lock();
        if !ledger.is_known(digest) {
            return None;
        }
        let done = ledger.done.get(digest)?;
        Some(wants.executed(&done.signed, &done.effects, done.checkpoint))
    }

    fn execute(&self, item: &ExecuteTransactionItem, wants: &Wants) -> Result<ExecutedTransaction, Refusal> {
        let bad = || Refusal::new(Code::InvalidArgument, "it is no signed transaction");
        let transaction = item.transaction.as_ref().and_then(|sent| sent.transaction().ok()).ok_or_else(bad)?;
        let signatures = item.signatures.as_ref().and_then(|signatures| signatures.try_into().ok()).ok_or_else(bad)?;
        let executed = self.signed.network().lock().execute(SenderSignedTransaction::new(transaction, signatures));
        let digest = executed.map_err(|why| Refusal::new(Code::InvalidArgument, why))?;
        let ledger = self.signed.network().lock();
        let done = ledger.done.get(&digest).ok_or_else(bad)?;
        Ok(wants.executed(&done.signed, &done.effects, done.checkpoint))
    }

    fn simulate(&self, transaction: &Transaction, wants: &Wants) -> Result<SimulatedTransaction, Refusal> {
        let effects = self.signed.network().lock().dry_run(transaction);
        let effects = effects.map_err(|why| Refusal::new(Code::InvalidArgument, why))?;
        let mut executed = ExecutedTransaction::default();
        if wants.has("executed_transaction.effects.bcs") {
            executed = executed.with_effects(Done::default().with_bcs(bytes(&effects)));
        }
        Ok(SimulatedTransaction::default().with_executed_transaction(executed))
    }
}

/// Paths that a mask asks for.
struct Wants(Vec<String>);

impl Wants {
    fn of(mask: Option<FieldMask>) -> Self {
        Self(mask.unwrap_or_default().paths)
    }

    /// Whether it asks for this one, or for what this one is in.
    fn has(&self, path: &str) -> bool {
        let covers = |asked: &String| {
            path.strip_prefix(asked.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.iter().any(|asked| asked == "*" || covers(asked))
    }

    fn executed(
        &self,
        signed: &SenderSignedTransaction,
        effects: &TransactionEffects,
        checkpoint: Option<u64>,
    ) -> ExecutedTransaction {
        let signed = signed.signed_transaction();
        let mut told = ExecutedTransaction::default();
        let (has_digest, has_bcs) = (self.has("transaction.digest"), self.has("transaction.bcs"));
        if has_digest || has_bcs {
            let mut sent = Sent::default();
            if has_digest {
                sent = sent.with_digest(signed.transaction().digest());
            }
            if has_bcs {
                sent = sent.with_bcs(bytes(signed.transaction()));
            }
            told = told.with_transaction(sent);
        }
        if self.has("signatures.bcs") {
            let all = signed.signatures().iter().cloned().map(UserSignature::try_from);
            let all = all.filter_map(Result::ok).collect();
            told = told.with_signatures(UserSignatures::default().with_signatures(all));
        }
        if self.has("effects.bcs") {
            told = told.with_effects(Done::default().with_bcs(bytes(effects)));
        }
        match checkpoint.filter(|_| self.has("checkpoint")) {
            Some(checkpoint) => told.with_checkpoint(checkpoint),
            None => told,
        }
    }
}

fn bytes<T: serde::Serialize>(value: &T) -> BcsData {
    BcsData::serialize(value).unwrap_or_default()
}

/// A coin as nodes hand objects out.
fn listed(id: &ObjectId, coin: &FakeCoin, wants: &Wants) -> Listed {
    let mut told = Listed::default();
    if wants.has("reference") {
        let reference = ObjectReference::new(*id, Version::from_u64(coin.version), coin.digest);
        told.reference = Some(reference.into());
    }
    if wants.has("bcs") {
        let contents = [id.as_bytes(), &coin.balance.to_le_bytes()].concat();
        let made = MoveStruct::new(StructTag::new_gas_coin().into(), Version::from_u64(coin.version), contents);
        told.bcs = made.ok().map(|made| {
            let (owner, before) = (Owner::Address(coin.owner), TransactionDigest::ZERO);
            bytes(&VersionedObject::V1(Object::new(ObjectData::Struct(made), owner, before, super::STORAGE)))
        });
    }
    told
}

fn once<T: Send + 'static>(items: Vec<T>) -> Many<T> {
    Box::pin(stream::iter(items.into_iter().map(Ok)))
}

const NOT_HERE: &str = "the fake network has not this";

#[async_trait]
impl LedgerService for FakeGrpc {
    type GetObjectsStream = Many<GetObjectsResponse>;
    type GetTransactionsStream = Many<GetTransactionsResponse>;
    type GetCheckpointStream = Many<CheckpointData>;
    type StreamCheckpointsStream = Many<CheckpointData>;

    async fn get_health(&self, _: Request<GetHealthRequest>) -> Told<GetHealthResponse> {
        Err(Status::unimplemented(NOT_HERE))
    }

    async fn get_service_info(&self, request: Request<GetServiceInfoRequest>) -> Told<GetServiceInfoResponse> {
        let wants = Wants::of(request.into_inner().read_mask);
        self.fated("GetServiceInfo", || {
            let ledger = self.signed.network().lock();
            let mut told = GetServiceInfoResponse::default();
            if wants.has("chain_id") {
                let mut digest = [0; Digest::LENGTH];
                let chain = u32::from_str_radix(&ledger.chain, 16).unwrap_or(0).to_be_bytes();
                digest.iter_mut().zip(chain).for_each(|(byte, of)| *byte = of);
                told = told.with_chain_id(Digest::new(digest));
            }
            Ok(if wants.has("epoch") { told.with_epoch(ledger.epoch) } else { told })
        })
    }

    async fn get_objects(&self, _: Request<GetObjectsRequest>) -> Told<Self::GetObjectsStream> {
        Err(Status::unimplemented(NOT_HERE))
    }

    async fn get_transactions(&self, request: Request<GetTransactionsRequest>) -> Told<Self::GetTransactionsStream> {
        let request = request.into_inner();
        let wants = Wants::of(request.read_mask);
        self.fated("GetTransactions", || {
            let asked = request.requests.map(|all| all.requests).unwrap_or_default();
            let result = |digest: Option<TransactionDigest>| {
                let found = digest.and_then(|digest| self.executed(&digest, &wants));
                match found {
                    Some(found) => TransactionResult::default().with_executed_transaction(found),
                    None => {
                        TransactionResult::default().with_error(Refusal::new(Code::NotFound, "no such transaction"))
                    }
                }
            };
            let digest = |asked: &Option<_>| {
                let digest: Option<Digest> = asked.as_ref().and_then(|digest| TryInto::try_into(digest).ok());
                digest.map(TransactionDigest::from)
            };
            let results = asked.iter().map(|one| result(digest(&one.digest))).collect();
            Ok(once(vec![GetTransactionsResponse::default().with_transaction_results(results)]))
        })
    }

    async fn get_checkpoint(&self, request: Request<GetCheckpointRequest>) -> Told<Self::GetCheckpointStream> {
        let request = request.into_inner();
        let Some(get_checkpoint_request::CheckpointId::SequenceNumber(number)) = request.checkpoint_id else {
            return Err(Status::unimplemented(NOT_HERE));
        };
        let is_last = self.signed.is_epoch_end(number);
        let found =
            if is_last { self.signed.ended(number) } else { self.signed.certified(number).await.ok().flatten() };
        let found = found.ok_or_else(|| Status::not_found("no such checkpoint"))?;
        let wants = Wants::of(request.read_mask);
        self.fated("GetCheckpoint", || {
            let mut told = Checkpoint::default().with_sequence_number(number);
            if wants.has("checkpoint.summary.bcs") {
                let summary = VersionedCheckpointSummary::V1(found.summary.checkpoint.clone());
                told = told.with_summary(CheckpointSummary::default().with_bcs(bytes(&summary)));
            }
            if wants.has("checkpoint.contents.bcs") {
                told = told.with_contents(CheckpointContents::default().with_bcs(bytes(&found.contents)));
            }
            if wants.has("checkpoint.signature") {
                told = told.with_signature(ValidatorAggregatedSignature::from(found.summary.signature.clone()));
            }
            let end = checkpoint_data::EndMarker::default().with_sequence_number(number);
            let parts =
                [CheckpointData::default().with_checkpoint(told), CheckpointData::default().with_end_marker(end)];
            Ok(once(parts.into()))
        })
    }

    async fn stream_checkpoints(&self, _: Request<StreamCheckpointsRequest>) -> Told<Self::StreamCheckpointsStream> {
        Err(Status::unimplemented(NOT_HERE))
    }

    async fn get_epoch(&self, request: Request<GetEpochRequest>) -> Told<GetEpochResponse> {
        let (now, gas_price) = {
            let ledger = self.signed.network().lock();
            (ledger.epoch, ledger.gas_price)
        };
        let request = request.into_inner();
        let (number, wants) = (request.epoch.unwrap_or(now), Wants::of(request.read_mask));
        self.fated("GetEpoch", || {
            let mut told = Epoch::default();
            if wants.has("epoch") {
                told = told.with_epoch(number);
            }
            if wants.has("committee") {
                told = told.with_committee(self.signed.committee_of(number));
            }
            if wants.has("reference_gas_price") {
                told = told.with_reference_gas_price(gas_price);
            }
            let last = self.signed.last_of(number).filter(|_| wants.has("last_checkpoint") && number < now);
            Ok(GetEpochResponse::default().with_epoch(match last {
                Some(last) => told.with_last_checkpoint(last),
                None => told,
            }))
        })
    }
}

#[async_trait]
impl StateService for FakeGrpc {
    async fn list_dynamic_fields(&self, _: Request<ListDynamicFieldsRequest>) -> Told<ListDynamicFieldsResponse> {
        Err(Status::unimplemented(NOT_HERE))
    }

    async fn list_owned_objects(&self, request: Request<ListOwnedObjectsRequest>) -> Told<ListOwnedObjectsResponse> {
        let request = request.into_inner();
        let owner = request.owner.and_then(|owner| Address::from_bytes(&owner.address).ok());
        let owner = owner.ok_or_else(|| Status::invalid_argument("no address"))?;
        if request.object_type != Some(StructTag::new_gas_coin().to_string()) {
            return Err(Status::unimplemented(NOT_HERE));
        }
        let size = request.page_size.and_then(|size| usize::try_from(size).ok()).unwrap_or(50);
        let (after, wants) = (request.page_token.unwrap_or_default(), Wants::of(request.read_mask));
        self.fated("ListOwnedObjects", || {
            let ledger = self.signed.network().lock();
            let own = ledger.coins.iter().filter(|(_, coin)| coin.owner == owner);
            let mut own = own.skip_while(|(id, _)| !after.is_empty() && id.as_bytes() <= &after[..]).peekable();
            let page: Vec<_> = own.by_ref().take(size).collect();
            let next = page.last().filter(|_| own.peek().is_some()).map(|(id, _)| id.as_bytes().to_vec());
            let told = page.iter().map(|(id, coin)| listed(id, coin, &wants)).collect();
            let told = ListOwnedObjectsResponse::default().with_objects(told);
            Ok(match next {
                Some(next) => told.with_next_page_token(next),
                None => told,
            })
        })
    }

    async fn get_coin_info(&self, _: Request<GetCoinInfoRequest>) -> Told<GetCoinInfoResponse> {
        Err(Status::unimplemented(NOT_HERE))
    }
}

#[async_trait]
impl TransactionExecutionService for FakeGrpc {
    async fn execute_transactions(
        &self,
        request: Request<ExecuteTransactionsRequest>,
    ) -> Told<ExecuteTransactionsResponse> {
        let request = request.into_inner();
        let wants = Wants::of(request.read_mask);
        self.fated("ExecuteTransactions", || {
            let result = |item| match self.execute(item, &wants) {
                Ok(done) => ExecuteTransactionResult::default().with_executed_transaction(done),
                Err(refusal) => ExecuteTransactionResult::default().with_error(refusal),
            };
            let results = request.transactions.iter().map(result).collect();
            Ok(ExecuteTransactionsResponse::default().with_transaction_results(results))
        })
    }

    async fn simulate_transactions(
        &self,
        request: Request<SimulateTransactionsRequest>,
    ) -> Told<SimulateTransactionsResponse> {
        let request = request.into_inner();
        let wants = Wants::of(request.read_mask);
        self.fated("SimulateTransactions", || {
            let mut results = Vec::new();
            for item in &request.transactions {
                let transaction = item.transaction.as_ref().and_then(|sent| sent.transaction().ok());
                let transaction = transaction.ok_or_else(|| Status::invalid_argument("no transaction"))?;
                results.push(match self.simulate(&transaction, &wants) {
                    Ok(done) => SimulateTransactionResult::default().with_simulated_transaction(done),
                    Err(refusal) => SimulateTransactionResult::default().with_error(refusal),
                });
            }
            Ok(SimulateTransactionsResponse::default().with_transaction_results(results))
        })
    }

    async fn view_function_calls(&self, _: Request<ViewFunctionCallsRequest>) -> Told<ViewFunctionCallsResponse> {
        Err(Status::unimplemented(NOT_HERE))
    }
}
