//! JSON-RPC over HTTP.

use std::fmt;

use reqwest::{Client, StatusCode, Url, header};

use crate::json::{Body, Line};
use crate::limits;
use crate::node::CallError;

/// A node's URL. What it has of user, password, path and query is not shown: providers put their keys there.
pub struct HttpLine {
    url: Url,
    client: Client,
}

/// A URL that is none of a node. It is not repeated: it may hold a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BadUrl;

impl fmt::Display for BadUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the node's URL is none: it begins with https:// or http:// (JSON-RPC), or grpcs:// or grpc:// (gRPC)",
        )
    }
}

impl std::error::Error for BadUrl {}

impl HttpLine {
    /// To the node at this URL.
    ///
    /// # Errors
    /// [`BadUrl`].
    pub fn new(url: &str) -> Result<Self, BadUrl> {
        let url = Url::parse(url).map_err(|_| BadUrl)?;
        if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none() {
            return Err(BadUrl);
        }
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).build().map_err(|_| BadUrl)?;
        Ok(Self { url, client })
    }

    async fn ask(&self, body: Vec<u8>, executes: bool) -> Result<Vec<u8>, CallError> {
        let timeout = if executes { limits::EXECUTE_TIMEOUT } else { limits::CALL_TIMEOUT };
        let asked = self.client.post(self.url.clone()).header(header::CONTENT_TYPE, "application/json").body(body);
        let answer = asked.timeout(timeout).send().await.map_err(|error| why(&error))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::TOO_MANY_REQUESTS => return Err(CallError::Busy),
            status if status.is_server_error() => return Err(CallError::Lost),
            _ => return Err(CallError::Malformed("its status")),
        }
        body_of(answer).await
    }
}

/// What a failed request may have done.
pub(crate) fn why(error: &reqwest::Error) -> CallError {
    if error.is_connect() { CallError::Unreachable } else { CallError::Lost }
}

/// Reads an answer's body, as far as it may be long.
pub(crate) async fn body_of(mut answer: reqwest::Response) -> Result<Vec<u8>, CallError> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|_| CallError::Lost)? {
        body.extend_from_slice(&piece);
        if body.len() > limits::ANSWER_BYTES_MAX {
            return Err(CallError::Malformed("it is too long"));
        }
    }
    Ok(body)
}

impl Line for HttpLine {
    fn name(&self) -> String {
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{}://{}{port}", self.url.scheme(), self.url.host_str().unwrap_or_default())
    }

    fn post(&self, body: Vec<u8>, executes: bool) -> Body<'_> {
        Box::pin(self.ask(body, executes))
    }
}
