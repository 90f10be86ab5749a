//! What a menu says about its ledger: how to find it and whom to believe about it.

use std::fmt;

use minicbor::{Decode, Encode};
use sdpp_log::{Policy, VerifierKey};
use sdpp_proto::codec;
use sdpp_proto::limits::OPAQUE_MAX;

/// The opaque terms of an option on the embedded ledger. A claim of the seller: whoever pins it
/// trusts the seller about the ledger.
#[derive(Clone, PartialEq, Eq, Debug, Encode, Decode)]
#[cbor(map)]
pub struct LedgerTerms {
    /// The log's origin.
    #[n(1)]
    pub origin: String,
    /// The log's key, as C2SP writes verifier keys.
    #[n(2)]
    pub log: String,
    /// The witnesses' keys.
    #[n(3)]
    pub witnesses: Vec<String>,
    /// How many of them must have cosigned.
    #[n(4)]
    pub quorum: u16,
    /// Where the ledger is served, if it is.
    #[n(5)]
    pub url: Option<String>,
}

/// Why terms were refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TermsError {
    /// Not the canonical encoding of terms.
    Malformed,
    /// A key is not a verifier key, or not one for its purpose.
    BadKey,
    /// The log's key is not named after the origin.
    WrongOrigin,
    /// The witnesses and the quorum make no policy.
    BadPolicy,
}

impl fmt::Display for TermsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the ledger's terms cannot be read",
            Self::BadKey => "a key in the ledger's terms is wrong",
            Self::WrongOrigin => "the ledger's key is not named after its origin",
            Self::BadPolicy => "the ledger's witnesses and quorum make no policy",
        })
    }
}

impl std::error::Error for TermsError {}

impl LedgerTerms {
    /// The terms that ask buyers to trust by the same policy.
    pub fn of(policy: &Policy, url: Option<String>) -> Self {
        Self {
            origin: policy.log().name().to_owned(),
            log: policy.log().to_string(),
            witnesses: policy.witnesses().iter().map(VerifierKey::to_string).collect(),
            quorum: u16::try_from(policy.quorum()).expect("a policy has at most 64 witnesses"),
            url,
        }
    }

    /// Reads terms; keys and quorum are looked at by [`policy`](Self::policy).
    ///
    /// # Errors
    /// [`TermsError::Malformed`].
    pub fn parse(bytes: &[u8]) -> Result<Self, TermsError> {
        codec::decode(bytes, OPAQUE_MAX).map_err(|_| TermsError::Malformed)
    }

    /// The bytes for [`PayOption::terms`](sdpp_proto::statement::PayOption).
    pub fn encode(&self) -> Vec<u8> {
        codec::encode(self)
    }

    /// The policy that they ask for: what a buyer pins on first use.
    ///
    /// # Errors
    /// [`TermsError`].
    pub fn policy(&self) -> Result<Policy, TermsError> {
        let key = |text: &String| text.parse::<VerifierKey>().map_err(|_| TermsError::BadKey);
        let log = key(&self.log)?;
        if log.name() != self.origin {
            return Err(TermsError::WrongOrigin);
        }
        let witnesses = self.witnesses.iter().map(key).collect::<Result<Vec<_>, _>>()?;
        Policy::new(log, witnesses, usize::from(self.quorum)).map_err(|_| TermsError::BadPolicy)
    }

    /// Whether they speak of the log that a policy trusts. Witnesses are everybody's own choice.
    pub fn is_of(&self, policy: &Policy) -> bool {
        self.origin == policy.log().name() && self.log == policy.log().to_string()
    }
}
