//! A witness over HTTP, as a ledger asks it.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use sdpp_log::add_checkpoint::{AddCheckpoint, CONFLICT_CONTENT_TYPE, parse_conflict, parse_cosigned};
use sdpp_log::{
    Checkpoint, Hash, Note, NoteError, OpenError, ProofError, Refusal, Signature, SignatureType, VerifierKey,
    cosignature,
};

use super::caller::{Call, Caller, ClientOptions, HttpClientError, Reply};
use super::limits::ANSWER_MAX;
use super::routes::TEXT;
use crate::keys::Verifier;
use crate::witness::{Cosigning, WitnessError, WitnessService};

/// A witness that is served elsewhere. Its requests run on the runtime of its options; the thread
/// of a ledger waits for them without one, at most [`ClientOptions::call_ms`].
///
/// A signature that does not verify is no answer: in a note it would spoil all the others.
pub struct HttpWitness {
    caller: Caller,
    key: VerifierKey,
}

impl HttpWitness {
    /// The witness with this key, by its submission prefix. Nothing is sent yet.
    ///
    /// # Errors
    /// [`HttpClientError`].
    pub fn new(url: &str, key: VerifierKey, options: ClientOptions) -> Result<Self, HttpClientError> {
        if key.signature_type() != SignatureType::Cosignature {
            return Err(HttpClientError::NotAWitness);
        }
        Ok(Self { caller: Caller::new(url, options)?, key })
    }

    /// Its key, for policies.
    pub const fn key(&self) -> &VerifierKey {
        &self.key
    }

    async fn ask(&self, old: u64, proof: &[Hash], note: &str) -> Result<Signature, WitnessError> {
        let checkpoint = read(note).map_err(|error| WitnessError::Refused(Refusal::Malformed(error)))?;
        let request = AddCheckpoint::new(old, proof.to_vec(), note);
        let request = request.map_err(|_| WitnessError::Refused(Refusal::BadProof(ProofError::TooLong)))?;
        let call = Call::post("/add-checkpoint", TEXT, request.to_string().into_bytes(), ANSWER_MAX);
        let reply = self.caller.call(call).await.map_err(|_| WitnessError::Unavailable)?;
        if reply.status == 200 {
            return self.cosignature(&reply.body, note).ok_or(WitnessError::Unavailable);
        }
        Err(refusal(&reply, old, checkpoint.size()).map_or(WitnessError::Unavailable, WitnessError::Refused))
    }

    /// Its own valid signature among the lines of an answer.
    fn cosignature(&self, body: &Bytes, note: &str) -> Option<Signature> {
        let mut signatures = parse_cosigned(body).ok()?.into_iter();
        let signature = signatures.find(|signature| signature.is_by(&self.key))?;
        let mut alone = Note::new(Note::parse(note.as_bytes()).ok()?.text()).ok()?;
        alone.add(signature.clone()).ok()?;
        let valid = cosignature::cosignatures(&alone, std::slice::from_ref(&self.key), &Verifier).ok()?;
        (!valid.is_empty()).then_some(signature)
    }
}

fn read(note: &str) -> Result<Checkpoint, OpenError> {
    let note = Note::parse(note.as_bytes()).map_err(OpenError::Note)?;
    Checkpoint::parse(note.text()).map_err(OpenError::Checkpoint)
}

/// The rule behind a status; none where it does not fit the request, which is nobody's rule. What a
/// status does not tell apart is given as the likeliest.
fn refusal(reply: &Reply, old: u64, new: u64) -> Option<Refusal> {
    match reply.status {
        400 if old > new => Some(Refusal::Rollback),
        403 => Some(Refusal::BadSignature(NoteError::NotSigned)),
        404 => Some(Refusal::UnknownOrigin),
        409 => {
            conflict(reply).filter(|known_size| *known_size != old).map(|known_size| Refusal::Conflict { known_size })
        }
        422 if old == new => Some(Refusal::Fork { known_size: old }),
        422 => Some(Refusal::BadProof(ProofError::RootMismatch)),
        _ => None,
    }
}

fn conflict(reply: &Reply) -> Option<u64> {
    if reply.headers.get(CONTENT_TYPE)?.as_bytes() != CONFLICT_CONTENT_TYPE.as_bytes() {
        return None;
    }
    parse_conflict(&reply.body)
}

impl WitnessService for HttpWitness {
    fn cosign<'a>(&'a self, old: u64, proof: &'a [Hash], note: &'a str) -> Cosigning<'a> {
        Box::pin(self.ask(old, proof, note))
    }
}
