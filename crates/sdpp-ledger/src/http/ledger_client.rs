//! A ledger over HTTP, as [`LedgerClient`](crate::LedgerClient) uses it.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sdpp_log::limits::NOTE_BYTES_MAX;
use sdpp_log::{Checkpoint, Hash, Note, TileKind, TilePath, TlogProof, VerifierKey, bundle};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::{Amount, AssetId};
use serde::de::DeserializeOwned;

use super::caller::{Call, Caller, ClientOptions, Failed, HttpClientError, Reply};
use super::json::{AboutJson, BalanceJson, ChannelJson, OfferedJson, ProofJson, RecordJson, SubmittedJson, amount};
use super::limits::{ANSWER_MAX, BUNDLE_MAX, READ_RETRIES, RETRY_AFTER_S};
use super::problem::service_error;
use super::routes::{COSE, TEXT};
use crate::channel::Channel;
use crate::fold::Recorded;
use crate::fsck::{Source, SourceError};
use crate::limits::{ENTRIES_PAGE_MAX, ENTRY_MAX};
use crate::receipt::RECEIPT_MAX;
use crate::service::{Answer, LedgerService, ServiceError, Submitted};
use crate::wait::block_on;

/// The seam to a ledger that is served elsewhere. It believes nothing and checks nothing but form:
/// a [`LedgerClient`](crate::LedgerClient) over it does.
///
/// Nothing is asked twice. What failed before anything was sent is [`ServiceError::Unavailable`]; a
/// submitted entry whose answer got lost is [`ServiceError::Unknown`].
pub struct HttpLedger {
    caller: Caller,
}

impl HttpLedger {
    /// The ledger at a URL. Nothing is sent yet.
    ///
    /// # Errors
    /// [`HttpClientError`].
    pub fn new(url: &str, options: ClientOptions) -> Result<Self, HttpClientError> {
        Ok(Self { caller: Caller::new(url, options)? })
    }

    /// What an account has. The server's word, as in all look-ups: for people, not for decisions.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn balance(&self, asset: &AssetId, account: &PublicKey) -> Result<Amount, ServiceError> {
        let asset = utf8_percent_encode(asset.as_str(), NON_ALPHANUMERIC);
        let found: BalanceJson = self.json(format!("/v1/balance?asset={asset}&account={account}")).await?;
        amount(&found.amount).ok_or(ServiceError::Unavailable)
    }

    /// A channel, open or closed.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn channel(&self, id: ChannelId) -> Result<Option<Channel>, ServiceError> {
        self.look(format!("/v1/channels/{id}"), |channel: ChannelJson| channel.read()).await
    }

    /// Where a statement is recorded.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn record(&self, statement: StatementId) -> Result<Option<Recorded>, ServiceError> {
        self.look(format!("/v1/records/{statement}"), |record: RecordJson| record.read()).await
    }

    /// The proof of an entry that travels, by the newest checkpoint. Verify it.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn proof_of(&self, index: u64) -> Result<TlogProof, ServiceError> {
        let body = self.get(format!("/v1/entries/{index}/proof"), ANSWER_MAX).await?;
        TlogProof::parse(&body).map_err(|_| ServiceError::Unavailable)
    }

    /// The COSE receipt of an entry. Verify it.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn receipt_of(&self, index: u64) -> Result<Vec<u8>, ServiceError> {
        self.get(format!("/v1/entries/{index}/receipt"), RECEIPT_MAX).await
    }

    /// The verifier key that the server says is its log's: to be shown to somebody who pins it.
    ///
    /// # Errors
    /// [`ServiceError`].
    pub async fn claimed_key(&self) -> Result<VerifierKey, ServiceError> {
        let about: AboutJson = self.json("/".to_owned()).await?;
        about.key.parse().map_err(|_| ServiceError::Unavailable)
    }

    /// Asks for money for trials: where the ledger has put it. The server's word; follow the log to
    /// be sure. None where the server gives none.
    ///
    /// # Errors
    /// [`ServiceError`]; asking again is safe.
    pub async fn grant(&self, account: &PublicKey) -> Result<Option<Submitted>, ServiceError> {
        let call = Call::post(&format!("/v1/dev/grant?account={account}"), TEXT, Vec::new(), ANSWER_MAX);
        let answer = self.caller.call(call).await;
        // Our own word that there is no such route.
        if answer.as_ref().is_ok_and(|reply| reply.status == 404 && service_error(&reply.body).is_some()) {
            return Ok(None);
        }
        outcome(answer).map(Some)
    }

    /// What the ledger gives each account for trials; none where it gives none. The server's word.
    ///
    /// # Errors
    /// [`ServiceError::Unavailable`].
    pub async fn trial(&self) -> Result<Option<(AssetId, Amount)>, ServiceError> {
        let reply = self.caller.call(Call::get("/v1/dev/grant".to_owned(), ANSWER_MAX)).await;
        let reply = reply.map_err(|_| ServiceError::Unavailable)?;
        match reply.status {
            200 => {
                let offered: Option<OfferedJson> = serde_json::from_slice(&reply.body).ok();
                let read = offered.and_then(|offered| Some((AssetId::new(offered.asset), amount(&offered.amount)?)));
                read.map(Some).ok_or(ServiceError::Unavailable)
            }
            404 if service_error(&reply.body).is_some() => Ok(None),
            _ => Err(ServiceError::Unavailable),
        }
    }

    /// Something that may not be there.
    async fn look<J: DeserializeOwned, T>(
        &self,
        path: String,
        read: impl FnOnce(J) -> Option<T>,
    ) -> Result<Option<T>, ServiceError> {
        match self.json(path).await {
            Ok(found) => read(found).ok_or(ServiceError::Unavailable).map(Some),
            Err(ServiceError::OutOfRange) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn json<J: DeserializeOwned>(&self, path: String) -> Result<J, ServiceError> {
        let body = self.get(path, ANSWER_MAX).await?;
        serde_json::from_slice(&body).map_err(|_| ServiceError::Unavailable)
    }

    /// Reads something. Nothing can be half done, so whatever fails is [`ServiceError::Unavailable`].
    async fn get(&self, path: String, max: usize) -> Result<Vec<u8>, ServiceError> {
        let reply = self.caller.call(Call::get(path, max)).await.map_err(|_| ServiceError::Unavailable)?;
        match reply.status {
            200 => Ok(reply.body.into()),
            // Only our own word for it: what a proxy does not find may well be there.
            _ => Err(match service_error(&reply.body) {
                Some(ServiceError::OutOfRange) => ServiceError::OutOfRange,
                Some(ServiceError::Frozen) => ServiceError::Frozen,
                Some(ServiceError::Unavailable | ServiceError::Unknown | ServiceError::Refused(_)) | None => {
                    ServiceError::Unavailable
                }
            }),
        }
    }

    async fn note(&self) -> Result<Arc<str>, ServiceError> {
        let body = self.get("/checkpoint".to_owned(), NOTE_BYTES_MAX).await?;
        String::from_utf8(body).map(Arc::from).map_err(|_| ServiceError::Unavailable)
    }

    async fn proof(&self, path: String) -> Result<Vec<Hash>, ServiceError> {
        self.json::<ProofJson>(path).await?.read().ok_or(ServiceError::Unavailable)
    }

    async fn page(&self, from: u64, max: usize) -> Result<Vec<Vec<u8>>, ServiceError> {
        match max.min(ENTRIES_PAGE_MAX) {
            0 => Ok(Vec::new()),
            1 => Ok(vec![self.get(format!("/v1/entries/{from}"), ENTRY_MAX).await?]),
            max => match self.bundled(from, max).await {
                // There may be fewer; whoever follows a checkpoint never asks for more than there are.
                Err(ServiceError::OutOfRange) => self.rest(from, max).await,
                answer => answer,
            },
        }
    }

    /// What there is from an index on, by the newest checkpoint.
    async fn rest(&self, from: u64, max: usize) -> Result<Vec<Vec<u8>>, ServiceError> {
        let note = self.note().await?;
        let checkpoint = Note::parse(note.as_bytes()).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
        let left = checkpoint.ok_or(ServiceError::Unavailable)?.size().checked_sub(from);
        match left.map(|left| usize::try_from(left).unwrap_or(usize::MAX)) {
            None | Some(0) => Err(ServiceError::OutOfRange),
            Some(left) => self.bundled(from, max.min(left)).await,
        }
    }

    /// Entries out of one bundle, by the narrowest one that has them.
    async fn bundled(&self, from: u64, max: usize) -> Result<Vec<Vec<u8>>, ServiceError> {
        let page = ENTRIES_PAGE_MAX as u64;
        let index = from.checked_div(page).ok_or(ServiceError::OutOfRange)?;
        let first = usize::try_from(from.checked_rem(page).ok_or(ServiceError::OutOfRange)?).unwrap_or(usize::MAX);
        let width = first.saturating_add(max).min(ENTRIES_PAGE_MAX);
        let path = TilePath::new(TileKind::Entries, index, u16::try_from(width).unwrap_or(u16::MAX));
        let path = path.map_err(|_| ServiceError::OutOfRange)?;
        let bytes = self.get(format!("/{path}"), BUNDLE_MAX).await?;
        let entries = bundle::parse(&bytes, path.width()).map_err(|_| ServiceError::Unavailable)?;
        Ok(entries.into_iter().skip(first).map(<[u8]>::to_vec).collect())
    }
}

/// For `fsck`: its threads wait for each answer, and are told to come back at most a few times.
impl Source for HttpLedger {
    fn checkpoint(&self) -> Result<Vec<u8>, SourceError> {
        wait_for(|| self.note()).map(|note| note.as_bytes().to_vec())
    }

    fn tile(&self, path: TilePath) -> Result<Vec<u8>, SourceError> {
        wait_for(|| self.get(format!("/{path}"), BUNDLE_MAX))
    }
}

fn wait_for<T, F: Future<Output = Result<T, ServiceError>>>(ask: impl Fn() -> F) -> Result<T, SourceError> {
    for _ in 0..READ_RETRIES {
        match block_on(ask()) {
            Err(ServiceError::Unavailable) => thread::sleep(Duration::from_secs(RETRY_AFTER_S)),
            Err(ServiceError::OutOfRange) => return Err(SourceError::NotThere),
            Err(error) => return Err(SourceError::Failed(error.to_string())),
            Ok(answer) => return Ok(answer),
        }
    }
    Err(SourceError::Failed(ServiceError::Unavailable.to_string()))
}

/// What an answer to a submitted entry says.
fn outcome(answer: Result<Reply, Failed>) -> Result<Submitted, ServiceError> {
    let reply = answer.map_err(|failed| match failed {
        Failed::NotSent => ServiceError::Unavailable,
        Failed::Lost => ServiceError::Unknown,
    })?;
    if reply.status == 200 {
        let submitted: Option<SubmittedJson> = serde_json::from_slice(&reply.body).ok();
        return submitted.and_then(SubmittedJson::read).ok_or(ServiceError::Unknown);
    }
    Err(service_error(&reply.body).unwrap_or(match reply.status {
        // Whoever spoke here did not let it pass.
        400..=407 | 409..=499 => ServiceError::Unavailable,
        _ => ServiceError::Unknown,
    }))
}

impl LedgerService for HttpLedger {
    fn submit<'a>(&'a self, entry: &'a [u8]) -> Answer<'a, Submitted> {
        let call = Call::post("/v1/entries", COSE, entry.to_vec(), ANSWER_MAX);
        Box::pin(async move { outcome(self.caller.call(call).await) })
    }

    fn checkpoint(&self) -> Answer<'_, Arc<str>> {
        Box::pin(self.note())
    }

    fn entries(&self, from: u64, max: usize) -> Answer<'_, Vec<Vec<u8>>> {
        Box::pin(self.page(from, max))
    }

    fn inclusion(&self, index: u64, size: u64) -> Answer<'_, Vec<Hash>> {
        Box::pin(self.proof(format!("/v1/proof/inclusion?index={index}&size={size}")))
    }

    fn consistency(&self, old: u64, new: u64) -> Answer<'_, Vec<Hash>> {
        Box::pin(self.proof(format!("/v1/proof/consistency?old={old}&new={new}")))
    }
}
