//! Refused requests: problem details (RFC 9457) whose `code` is stable. The table of codes stands
//! in `spec/ledger-http.md` too; a test compares the two.

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, Response, StatusCode};
use axum::response::IntoResponse;
use sdpp_proto::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::json::PlaceJson;
use super::limits::RETRY_AFTER_S;
use crate::refusal::{Place, Refusal};
use crate::service::ServiceError;

/// Why a request is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Code {
    /// The ledger said no.
    Service(ServiceError),
    /// A path, a parameter or a body that cannot be read.
    BadRequest,
    /// No such resource.
    NotFound,
    /// The resource has other methods.
    BadMethod,
    /// The body is of another type.
    BadMediaType,
    /// The body is longer than it may be.
    BodyTooLong,
    /// The body did not come in time.
    BodyTooSlow,
    /// The address asks too often.
    TooManyRequests {
        /// When it may ask again.
        after_s: u64,
    },
    /// The server, or the address, has too many connections.
    TooManyConnections,
}

/// The refusals that carry nothing. With the three that do they are all: a test counts.
const PLAIN: [Refusal; 31] = [
    Refusal::TooLong,
    Refusal::Malformed,
    Refusal::BadSignature,
    Refusal::OtherLog,
    Refusal::ZeroAmount,
    Refusal::BadSymbol,
    Refusal::IssueReferenceUsed,
    Refusal::SupplyOverflow,
    Refusal::InsufficientFunds,
    Refusal::TransferReferenceUsed,
    Refusal::GraceTooLong,
    Refusal::ChannelExists,
    Refusal::UnknownChannel,
    Refusal::ChannelClosed,
    Refusal::ClosePending,
    Refusal::NotThePayer,
    Refusal::TopUpReferenceUsed,
    Refusal::CloseNotRequested,
    Refusal::NoTickYet,
    Refusal::VoucherMalformed,
    Refusal::VoucherBadSignature,
    Refusal::VoucherWrongSigner,
    Refusal::VoucherWrongChannel,
    Refusal::VoucherHasProof,
    Refusal::VoucherNotRising,
    Refusal::VoucherAboveDeposit,
    Refusal::NotTheLog,
    Refusal::TickBackward,
    Refusal::RecordMalformed,
    Refusal::RecordBadSignature,
    Refusal::RecordNotAHash,
];

/// The code of a refusal.
const fn refusal_code(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::TooLong => "too-long",
        Refusal::Malformed => "malformed",
        Refusal::BadSignature => "bad-signature",
        Refusal::OtherLog => "other-log",
        Refusal::KnownEntry(_) => "known-entry",
        Refusal::KnownRecord(_) => "known-record",
        Refusal::ZeroAmount => "zero-amount",
        Refusal::BadSymbol => "bad-symbol",
        Refusal::IssueReferenceUsed => "issue-reference-used",
        Refusal::SupplyOverflow => "supply-overflow",
        Refusal::InsufficientFunds => "insufficient-funds",
        Refusal::TransferReferenceUsed => "transfer-reference-used",
        Refusal::GraceTooLong => "grace-too-long",
        Refusal::ChannelExists => "channel-exists",
        Refusal::UnknownChannel => "unknown-channel",
        Refusal::ChannelClosed => "channel-closed",
        Refusal::ClosePending => "close-pending",
        Refusal::NotThePayer => "not-the-payer",
        Refusal::TopUpReferenceUsed => "top-up-reference-used",
        Refusal::CloseNotRequested => "close-not-requested",
        Refusal::GraceRuns(_) => "grace-runs",
        Refusal::NoTickYet => "no-tick-yet",
        Refusal::VoucherMalformed => "voucher-malformed",
        Refusal::VoucherBadSignature => "voucher-bad-signature",
        Refusal::VoucherWrongSigner => "voucher-wrong-signer",
        Refusal::VoucherWrongChannel => "voucher-wrong-channel",
        Refusal::VoucherHasProof => "voucher-has-proof",
        Refusal::VoucherNotRising => "voucher-not-rising",
        Refusal::VoucherAboveDeposit => "voucher-above-deposit",
        Refusal::NotTheLog => "not-the-log",
        Refusal::TickBackward => "tick-backward",
        Refusal::RecordMalformed => "record-malformed",
        Refusal::RecordBadSignature => "record-bad-signature",
        Refusal::RecordNotAHash => "record-not-a-hash",
    }
}

impl Code {
    /// The stable name.
    const fn name(&self) -> &'static str {
        match self {
            Self::Service(ServiceError::Refused(refusal)) => refusal_code(refusal),
            Self::Service(ServiceError::OutOfRange) => "out-of-range",
            Self::Service(ServiceError::Unavailable) => "unavailable",
            Self::Service(ServiceError::Frozen) => "frozen",
            Self::Service(ServiceError::Unknown) => "unknown",
            Self::BadRequest => "bad-request",
            Self::NotFound => "not-found",
            Self::BadMethod => "bad-method",
            Self::BadMediaType => "bad-media-type",
            Self::BodyTooLong => "body-too-long",
            Self::BodyTooSlow => "body-too-slow",
            Self::TooManyRequests { .. } => "too-many-requests",
            Self::TooManyConnections => "too-many-connections",
        }
    }

    const fn status(&self) -> StatusCode {
        match self {
            Self::Service(ServiceError::Refused(_)) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Service(ServiceError::OutOfRange) | Self::NotFound => StatusCode::NOT_FOUND,
            Self::Service(ServiceError::Unavailable | ServiceError::Frozen) | Self::TooManyConnections => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Service(ServiceError::Unknown) => StatusCode::GATEWAY_TIMEOUT,
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::BadMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BadMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BodyTooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TooManyRequests { .. } => StatusCode::TOO_MANY_REQUESTS,
        }
    }

    /// What to do next, in fixed words.
    fn detail(&self) -> String {
        match self {
            Self::Service(error) => error.to_string(),
            Self::BadRequest => "the path, a parameter or the body cannot be read; see /openapi.json".to_owned(),
            Self::NotFound => "there is no such resource; see /openapi.json".to_owned(),
            Self::BadMethod => "this resource has other methods; see /openapi.json".to_owned(),
            Self::BadMediaType => "send the entry as application/cose".to_owned(),
            Self::BodyTooLong => "the body is longer than this server takes".to_owned(),
            Self::BodyTooSlow => "the body did not come in time; nothing was done".to_owned(),
            Self::TooManyRequests { .. } => "this address asks too often; wait as Retry-After says".to_owned(),
            Self::TooManyConnections => "too many connections; wait as Retry-After says".to_owned(),
        }
    }

    const fn retry_after_s(&self) -> Option<u64> {
        match self {
            Self::TooManyRequests { after_s } => Some(*after_s),
            Self::Service(ServiceError::Unavailable) | Self::TooManyConnections => Some(RETRY_AFTER_S),
            Self::Service(
                ServiceError::Refused(_) | ServiceError::OutOfRange | ServiceError::Frozen | ServiceError::Unknown,
            )
            | Self::BadRequest
            | Self::NotFound
            | Self::BadMethod
            | Self::BadMediaType
            | Self::BodyTooLong
            | Self::BodyTooSlow => None,
        }
    }
}

/// A refused request, as the answer says it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Problem(pub(super) Code);

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Self(code)
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        Self(Code::Service(error))
    }
}

/// Problem details; `type` is `about:blank` and left out.
#[derive(Serialize, Deserialize)]
struct ProblemJson {
    title: String,
    status: u16,
    detail: String,
    code: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    place: Option<PlaceJson>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ends_ms: Option<u64>,
}

impl From<&Code> for ProblemJson {
    fn from(code: &Code) -> Self {
        let (place, ends_ms) = match code {
            Code::Service(ServiceError::Refused(Refusal::GraceRuns(ends))) => (None, Some(ends.as_ms())),
            Code::Service(ServiceError::Refused(refusal)) => (refusal.known().map(PlaceJson::from), None),
            Code::Service(_)
            | Code::BadRequest
            | Code::NotFound
            | Code::BadMethod
            | Code::BadMediaType
            | Code::BodyTooLong
            | Code::BodyTooSlow
            | Code::TooManyRequests { .. }
            | Code::TooManyConnections => (None, None),
        };
        Self {
            title: code.status().canonical_reason().unwrap_or_default().to_owned(),
            status: code.status().as_u16(),
            detail: code.detail(),
            code: code.name().to_owned(),
            place,
            ends_ms,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response<Body> {
        let json = serde_json::to_vec(&ProblemJson::from(&self.0)).unwrap_or_default();
        let mut response = Response::new(Body::from(json));
        *response.status_mut() = self.0.status();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(seconds) = self.0.retry_after_s() {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// The refusal of a code, with what it carries.
fn refusal_of(code: &str, place: Option<Place>, ends: Option<Timestamp>) -> Option<Refusal> {
    match (code, place, ends) {
        ("known-entry", Some(place), _) => Some(Refusal::KnownEntry(place)),
        ("known-record", Some(place), _) => Some(Refusal::KnownRecord(place)),
        ("grace-runs", _, Some(ends)) => Some(Refusal::GraceRuns(ends)),
        _ => PLAIN.into_iter().find(|refusal| refusal_code(refusal) == code),
    }
}

/// What a ledger's refusal means to whoever asked it; none if the body is no problem of ours.
pub(super) fn service_error(body: &[u8]) -> Option<ServiceError> {
    let problem: ProblemJson = serde_json::from_slice(body).ok()?;
    let place = problem.place.as_ref().and_then(PlaceJson::read);
    let ends = problem.ends_ms.map(Timestamp::from_ms);
    if let Some(refusal) = refusal_of(&problem.code, place, ends) {
        return Some(ServiceError::Refused(refusal));
    }
    match problem.code.as_str() {
        "out-of-range" => Some(ServiceError::OutOfRange),
        "frozen" => Some(ServiceError::Frozen),
        "unknown" => Some(ServiceError::Unknown),
        "body-too-long" => Some(ServiceError::Refused(Refusal::TooLong)),
        // In all of these nothing was done.
        "unavailable"
        | "bad-request"
        | "not-found"
        | "bad-method"
        | "bad-media-type"
        | "body-too-slow"
        | "too-many-requests"
        | "too-many-connections" => Some(ServiceError::Unavailable),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use sdpp_proto::codec::StatementId;

    use super::*;

    const PLACE: Place = Place { index: 7, id: StatementId([9; 32]) };

    fn codes() -> Vec<Code> {
        let carrying =
            [Refusal::KnownEntry(PLACE), Refusal::KnownRecord(PLACE), Refusal::GraceRuns(Timestamp::from_ms(u64::MAX))];
        let refusals = PLAIN.into_iter().chain(carrying).map(ServiceError::Refused);
        let errors = [ServiceError::OutOfRange, ServiceError::Unavailable, ServiceError::Frozen, ServiceError::Unknown];
        let own = [
            Code::BadRequest,
            Code::NotFound,
            Code::BadMethod,
            Code::BadMediaType,
            Code::BodyTooLong,
            Code::BodyTooSlow,
            Code::TooManyRequests { after_s: 1 },
            Code::TooManyConnections,
        ];
        refusals.chain(errors).map(Code::Service).chain(own).collect()
    }

    fn body(code: &Code) -> Vec<u8> {
        serde_json::to_vec(&ProblemJson::from(code)).unwrap()
    }

    #[test]
    fn every_refusal_comes_back_as_itself() {
        // The names as the enum has them: a new one must not be forgotten in `PLAIN`.
        let source = include_str!("../refusal.rs");
        let (_, rest) = source.split_once("pub enum Refusal {").unwrap();
        let (variants, _) = rest.split_once("\n}").unwrap();
        let names = variants.lines().map(str::trim).filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()));
        let names: Vec<&str> = names.map(|line| line.split(['(', ',']).next().unwrap()).collect();
        let refused: Vec<Refusal> = codes()
            .iter()
            .filter_map(
                |code| if let Code::Service(ServiceError::Refused(refusal)) = code { Some(*refusal) } else { None },
            )
            .collect();
        assert_eq!(refused.len(), names.len());
        for name in names {
            let refusal = refused.iter().find(|known| format!("{known:?}").split('(').next() == Some(name));
            let refusal = refusal.unwrap_or_else(|| panic!("{name} has no code"));
            let error = ServiceError::Refused(*refusal);
            assert_eq!(service_error(&body(&Code::Service(error))), Some(error));
        }
        for error in [ServiceError::OutOfRange, ServiceError::Unavailable, ServiceError::Frozen, ServiceError::Unknown]
        {
            assert_eq!(service_error(&body(&Code::Service(error))), Some(error));
        }
    }

    #[test]
    fn every_code_has_one_meaning() {
        let mut names: Vec<&str> = codes().iter().map(Code::name).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
        assert!(codes().iter().all(|code| service_error(&body(code)).is_some()));
    }

    #[test]
    fn what_is_no_problem_of_ours_is_no_answer() {
        for bad in ["", "{}", "<html>", r#"{"title":"","status":422,"detail":"","code":"made-up"}"#] {
            assert_eq!(service_error(bad.as_bytes()), None, "{bad}");
        }
        // A code that should carry something and does not.
        for code in ["known-entry", "known-record", "grace-runs"] {
            let bare = format!(r#"{{"title":"","status":422,"detail":"","code":"{code}"}}"#);
            assert_eq!(service_error(bare.as_bytes()), None, "{code}");
        }
    }

    #[test]
    fn the_table_of_the_spec_is_this_one() {
        let spec = include_str!("../../../../spec/ledger-http.md");
        let (_, table) = spec.split_once("| code | status |").unwrap();
        let rows = table.lines().skip(2).take_while(|line| line.starts_with('|'));
        let mut told: Vec<(String, String)> = rows
            .map(|row| {
                let mut cells = row.split('|').skip(1).map(str::trim);
                (cells.next().unwrap().trim_matches('`').to_owned(), cells.next().unwrap().to_owned())
            })
            .collect();
        let mut known: Vec<(String, String)> =
            codes().iter().map(|code| (code.name().to_owned(), code.status().as_u16().to_string())).collect();
        told.sort();
        known.sort();
        assert_eq!(told, known);
    }
}
