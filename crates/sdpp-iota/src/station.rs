//! Gas stations: somebody who pays the gas of somebody else's transactions, over the HTTP of IOTA's own gas station.

use std::time::Duration;

use base64ct::{Base64, Encoding as _};
use iota_sdk_types::{Address, ObjectReference, SenderSignedTransaction};
use reqwest::{Client, StatusCode, Url, header};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use crate::http::{BadUrl, body_of, why};
use crate::limits;
use crate::node::{Answer, CallError};

/// What people are told of a station's refusal, at most.
const REASON_CHARS_MAX: usize = 300;

/// Gas that a station has set aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reserved {
    /// Whose it is.
    pub sponsor: Address,
    /// Under which number the station knows it.
    pub reservation: u64,
    /// Its coins.
    pub coins: Vec<ObjectReference>,
}

/// Who pays the gas. It sees what it pays for, and signs no transaction twice.
pub trait GasStation: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// Sets gas aside for so many nanos.
    fn reserve(&self, budget: u64) -> Answer<'_, Reserved>;

    /// Signs a transaction that is paid with what was set aside, and has it executed. Once: asked for again, it refuses, and what became of the
    /// transaction is looked up by its digest.
    fn execute<'a>(&'a self, reservation: u64, signed: &'a SenderSignedTransaction) -> Answer<'a, ()>;
}

/// A station over HTTP.
pub struct HttpStation {
    url: Url,
    token: Option<Zeroizing<String>>,
    client: Client,
}

impl HttpStation {
    /// At this URL; the token is what it knows its users by.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn new(url: &str, token: Option<Zeroizing<String>>) -> Result<Self, BadUrl> {
        let mut url = Url::parse(url).map_err(|_| BadUrl)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(BadUrl);
        }
        // What is asked for is below it.
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(|_| BadUrl)?;
        Ok(Self { url, token, client })
    }

    async fn ask(&self, what: &str, body: &Value, patience: Duration) -> Result<Value, CallError> {
        let url = self.url.join(what).map_err(|_| CallError::Malformed("the gas station's URL"))?;
        let asked = self.client.post(url).header(header::CONTENT_TYPE, "application/json").body(body.to_string());
        let mut asked = asked.timeout(patience);
        if let Some(token) = &self.token {
            asked = asked.bearer_auth(token.as_str());
        }
        let answer = asked.send().await.map_err(|error| why(&error))?;
        match answer.status() {
            StatusCode::TOO_MANY_REQUESTS => return Err(CallError::Busy),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(CallError::Refused("the gas station does not know this user: set its token".into()));
            }
            _ => {}
        }
        let told: Value =
            serde_json::from_slice(&body_of(answer).await?).map_err(|_| CallError::Malformed("it is no JSON"))?;
        match told.get("error").and_then(Value::as_str) {
            Some(reason) => Err(CallError::Refused(
                reason.chars().filter(|char| !char.is_control()).take(REASON_CHARS_MAX).collect(),
            )),
            None => Ok(told),
        }
    }
}

/// A number, as such or as text.
fn number(value: Option<&Value>) -> Option<u64> {
    let value = value?;
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn reserved(told: &Value) -> Option<Reserved> {
    let result = told.get("result")?;
    let text = |value: &Value, name| value.get(name).and_then(Value::as_str).map(str::to_owned);
    let coin = |coin: &Value| {
        Some(ObjectReference {
            object_id: text(coin, "objectId")?.parse().ok()?,
            version: number(coin.get("version"))?.into(),
            digest: text(coin, "digest")?.parse().ok()?,
        })
    };
    let coins = result.get("gas_coins")?.as_array()?.iter().map(coin).collect::<Option<Vec<_>>>()?;
    let sponsor = text(result, "sponsor_address")?.parse().ok()?;
    Some(Reserved { sponsor, reservation: number(result.get("reservation_id"))?, coins })
}

impl GasStation for HttpStation {
    fn name(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    fn reserve(&self, budget: u64) -> Answer<'_, Reserved> {
        Box::pin(async move {
            let body = json!({ "gas_budget": budget, "reserve_duration_secs": limits::RESERVED_FOR.as_secs() });
            reserved(&self.ask("v1/reserve_gas", &body, limits::CALL_TIMEOUT).await?)
                .ok_or(CallError::Malformed("the reserved gas"))
        })
    }

    fn execute<'a>(&'a self, reservation: u64, signed: &'a SenderSignedTransaction) -> Answer<'a, ()> {
        Box::pin(async move {
            let signed = signed.signed_transaction();
            let [signature] = signed.signatures() else { return Err(CallError::Malformed("the signature")) };
            let bytes = bcs::to_bytes(signed.transaction()).map_err(|_| CallError::Malformed("the transaction"))?;
            let body = json!({
                "reservation_id": reservation,
                "tx_bytes": Base64::encode_string(&bytes),
                "user_sig": Base64::encode_string(&signature.to_bytes()),
            });
            self.ask("v1/execute_tx", &body, limits::EXECUTE_TIMEOUT).await.map(drop)
        })
    }
}
