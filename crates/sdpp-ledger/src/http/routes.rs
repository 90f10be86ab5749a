//! What a ledger answers. `openapi.json` beside this file says the same for machines; a test
//! compares the two.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::{Extension, Path, RawQuery, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, Response, Uri};
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use sdpp_log::{Checkpoint, Note, TilePath};
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::AssetId;
use serde::Serialize;
use tokio::time;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::bundle::{Bundle, Room};
use super::grant::DevGrant;
use super::json::{
    AboutJson, BalanceJson, ChannelJson, GrantJson, OfferedJson, ProofJson, RecordJson, SubmittedJson, hex32, size,
};
use super::limits::Limits;
use super::problem::{Code, Problem};
use super::query::parameters;
use super::visitors::Peer;
use crate::host::LedgerHost;
use crate::limits::ENTRY_MAX;
use crate::service::ServiceError;

/// The type of an entry: COSE (RFC 9052).
pub(super) const COSE: &str = "application/cose";
const OCTETS: &str = "application/octet-stream";
pub(super) const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// A tile or an entry never changes.
const FOR_EVER: &str = "public, max-age=31536000, immutable";
pub(super) const SHORTLY: &str = "public, max-age=1";
const NEVER: &str = "no-store";

const OPENAPI: &str = include_str!("openapi.json");

#[derive(Clone)]
struct App {
    host: Arc<dyn LedgerHost>,
    body: Duration,
    bundles: Arc<Room>,
    grant: Option<Arc<DevGrant>>,
}

type Answer = Result<Response<Body>, Problem>;

/// Method, path and handler of every route that is always there: the one place to add another.
fn table() -> Vec<(&'static str, &'static str, MethodRouter<App>)> {
    // Signatures and keys hardly shrink, so more effort than the least is wasted.
    let gzip = CompressionLayer::new().gzip(true).quality(CompressionLevel::Fastest);
    vec![
        ("get", "/", get(about)),
        ("get", "/healthz", get(healthz)),
        ("get", "/openapi.json", get(openapi)),
        ("get", "/checkpoint", get(checkpoint)),
        ("get", "/tile/{level}/{*tile}", get(tile)),
        ("get", "/tile/entries/{*tile}", get(bundle).layer(gzip)),
        ("post", "/v1/entries", post(submit)),
        ("get", "/v1/entries/{index}", get(entry)),
        ("get", "/v1/entries/{index}/proof", get(travelling_proof)),
        ("get", "/v1/entries/{index}/receipt", get(receipt)),
        ("get", "/v1/balance", get(balance)),
        ("get", "/v1/channels/{channel}", get(channel)),
        ("get", "/v1/records/{statement}", get(record)),
        ("get", "/v1/proof/inclusion", get(inclusion)),
        ("get", "/v1/proof/consistency", get(consistency)),
    ]
}

/// Gives money for trials, where the server does.
const GRANT: &str = "/v1/dev/grant";

/// All routes of a ledger.
pub(super) fn router(host: Arc<dyn LedgerHost>, limits: &Limits, grant: Option<DevGrant>) -> Router {
    let mut routes = table().into_iter().fold(Router::new(), |router, (_, path, route)| router.route(path, route));
    if grant.is_some() {
        routes = routes.route(GRANT, get(offered).post(give));
    }
    let bundles = Arc::new(Room::new(limits));
    let app = App { host, body: Duration::from_millis(limits.body_ms), bundles, grant: grant.map(Arc::new) };
    routes.fallback(not_found).method_not_allowed_fallback(bad_method).with_state(app)
}

pub(super) async fn not_found() -> Problem {
    Problem(Code::NotFound)
}

pub(super) async fn bad_method() -> Problem {
    Problem(Code::BadMethod)
}

pub(super) fn content(kind: &'static str, cache: &'static str, body: impl Into<Body>) -> Response<Body> {
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, cache)], body.into()).into_response()
}

fn json(value: &impl Serialize) -> Answer {
    // Maps with text as keys and numbers of 64 bits always are JSON.
    let body = serde_json::to_vec(value).map_err(|_| ServiceError::Unavailable)?;
    Ok(content(JSON, NEVER, body))
}

/// Reads a body of at most `max` bytes within a time.
pub(super) async fn read_body(body: Body, max: usize, limit: Duration) -> Result<Bytes, Problem> {
    // What is announced as too long is not read at all.
    if body.size_hint().lower() > max as u64 {
        return Err(Code::BodyTooLong.into());
    }
    match time::timeout(limit, Limited::new(body, max).collect()).await {
        Ok(Ok(read)) => Ok(read.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Code::BodyTooLong.into()),
        Ok(Err(_)) => Err(Code::BadRequest.into()),
        Err(_) => Err(Code::BodyTooSlow.into()),
    }
}

async fn about(State(app): State<App>) -> Answer {
    let note = app.host.checkpoint().await?;
    let checkpoint = Note::parse(note.as_bytes()).ok().and_then(|note| Checkpoint::parse(note.text()).ok());
    let size = checkpoint.ok_or(ServiceError::Unavailable)?.size();
    let key = app.host.key();
    let links = table().iter().map(|(_, path, _)| (*path).to_owned()).collect();
    json(&AboutJson { origin: key.name().to_owned(), key: key.to_string(), size, links })
}

async fn healthz(State(app): State<App>) -> Answer {
    app.host.health().await?;
    Ok(content(TEXT, NEVER, "ok\n"))
}

async fn openapi() -> Response<Body> {
    content(JSON, SHORTLY, OPENAPI)
}

async fn checkpoint(State(app): State<App>) -> Answer {
    let note = app.host.checkpoint().await?;
    Ok(content(TEXT, SHORTLY, note.to_string()))
}

/// The path as it was sent: a tile has one name.
fn tile_path(uri: &Uri) -> Result<TilePath, Problem> {
    let path = uri.path().strip_prefix('/').and_then(|path| path.parse().ok());
    path.ok_or(Problem(Code::NotFound))
}

async fn tile(State(app): State<App>, uri: Uri) -> Answer {
    let bytes = app.host.tile(tile_path(&uri)?).await?;
    Ok(content(OCTETS, FOR_EVER, bytes))
}

async fn bundle(State(app): State<App>, Extension(Peer(peer)): Extension<Peer>, uri: Uri) -> Answer {
    let path = tile_path(&uri)?;
    let place = app.bundles.enter(peer).ok_or(ServiceError::Unavailable)?;
    let bytes = app.host.tile(path).await?;
    Ok(content(OCTETS, FOR_EVER, Body::new(Bundle { left: bytes.into(), place: Some(place) })))
}

/// Whether the body is said to be COSE, whatever its parameters say.
fn is_cose(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case(COSE))
}

async fn submit(State(app): State<App>, headers: HeaderMap, body: Body) -> Answer {
    if !is_cose(&headers) {
        return Err(Code::BadMediaType.into());
    }
    let entry = read_body(body, ENTRY_MAX, app.body).await?;
    let submitted = app.host.submit(&entry).await?;
    json(&SubmittedJson::from(&submitted))
}

async fn offered(State(app): State<App>) -> Answer {
    let grant = app.grant.ok_or(Code::NotFound)?;
    json(&OfferedJson { amount: grant.amount.to_string(), asset: grant.asset().to_string() })
}

async fn give(State(app): State<App>, RawQuery(query): RawQuery) -> Answer {
    let grant = app.grant.ok_or(Code::NotFound)?;
    let [account] = parameters(query.as_deref(), ["account"])?;
    let account = account.parse().map_err(|_| Code::BadRequest)?;
    let entry = grant.entry(app.host.key().name(), &account);
    let submitted = app.host.submit(entry.bytes()).await?;
    let (amount, asset) = (grant.amount.to_string(), grant.asset().to_string());
    json(&GrantJson { amount, asset, submitted: SubmittedJson::from(&submitted) })
}

async fn entry(State(app): State<App>, Path(index): Path<String>) -> Answer {
    let page = app.host.entries(size(&index).ok_or(Code::BadRequest)?, 1).await?;
    let bytes = page.into_iter().next().ok_or(ServiceError::OutOfRange)?;
    Ok(content(COSE, FOR_EVER, bytes))
}

async fn travelling_proof(State(app): State<App>, Path(index): Path<String>) -> Answer {
    let proof = app.host.proof(size(&index).ok_or(Code::BadRequest)?).await?;
    Ok(content(TEXT, NEVER, proof.to_string()))
}

async fn receipt(State(app): State<App>, Path(index): Path<String>) -> Answer {
    let receipt = app.host.receipt(size(&index).ok_or(Code::BadRequest)?).await?;
    Ok(content(COSE, NEVER, receipt))
}

async fn balance(State(app): State<App>, RawQuery(query): RawQuery) -> Answer {
    let [asset, account] = parameters(query.as_deref(), ["asset", "account"])?;
    let key = account.parse().map_err(|_| Code::BadRequest)?;
    let amount = app.host.balance(&AssetId::new(asset.clone()), &key).await?.to_string();
    json(&BalanceJson { asset, account: key.to_string(), amount })
}

async fn channel(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = ChannelId(hex32(&id).ok_or(Code::BadRequest)?);
    let channel = app.host.channel(id).await?.ok_or(ServiceError::OutOfRange)?;
    json(&ChannelJson::new(id, &channel))
}

async fn record(State(app): State<App>, Path(id): Path<String>) -> Answer {
    let id = StatementId(hex32(&id).ok_or(Code::BadRequest)?);
    let record = app.host.record(id).await?.ok_or(ServiceError::OutOfRange)?;
    json(&RecordJson::from(record))
}

async fn inclusion(State(app): State<App>, RawQuery(query): RawQuery) -> Answer {
    let [index, tree] = parameters(query.as_deref(), ["index", "size"])?;
    let (index, tree) = size(&index).zip(size(&tree)).ok_or(Code::BadRequest)?;
    let proof = app.host.inclusion(index, tree).await?;
    json(&ProofJson::from(&proof[..]))
}

async fn consistency(State(app): State<App>, RawQuery(query): RawQuery) -> Answer {
    let [old, new] = parameters(query.as_deref(), ["old", "new"])?;
    let (old, new) = size(&old).zip(size(&new)).ok_or(Code::BadRequest)?;
    let proof = app.host.consistency(old, new).await?;
    json(&ProofJson::from(&proof[..]))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    #[test]
    fn openapi_has_these_routes_and_no_others() {
        let served: BTreeSet<String> = table()
            .iter()
            .map(|(method, path, _)| format!("{method} {}", path.replace("{*", "{")))
            .chain(["get", "post"].map(|method| format!("{method} {GRANT}")))
            .collect();
        let openapi: Value = serde_json::from_str(OPENAPI).unwrap();
        assert_eq!(openapi["openapi"], "3.1.0");
        let paths = openapi["paths"].as_object().unwrap();
        let methods = |path: &Value| path.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        let described: BTreeSet<String> = paths
            .iter()
            .flat_map(|(path, item)| methods(item).into_iter().map(move |method| format!("{method} {path}")))
            .collect();
        assert_eq!(described, served);
        for (path, item) in paths {
            for (method, operation) in item.as_object().unwrap() {
                let named = operation["parameters"].as_array().cloned().unwrap_or_default();
                let named: BTreeSet<&str> =
                    named.iter().filter(|p| p["in"] == "path").map(|p| p["name"].as_str().unwrap()).collect();
                let inside: BTreeSet<&str> =
                    path.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect();
                assert_eq!(named, inside, "{method} {path}");
                assert!(operation["responses"]["200"].is_object(), "{method} {path}");
            }
        }
    }
}
