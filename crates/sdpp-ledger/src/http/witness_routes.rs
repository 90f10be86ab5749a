//! What a witness answers (C2SP tlog-witness).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use sdpp_log::Refusal;
use sdpp_log::add_checkpoint::{AddCheckpoint, CONFLICT_CONTENT_TYPE, conflict_body, cosigned_body};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;

use super::json::hex32;
use super::limits::{Limits, WITNESS_BODY_MAX};
use super::problem::{Code, Problem};
use super::routes::{SHORTLY, TEXT, bad_method, content, not_found, read_body};
use crate::service::ServiceError;
use crate::witness::{Witness, WitnessError};

#[derive(Clone)]
struct App {
    witness: Arc<Witness>,
    /// The logs by the hashes of their origins.
    logs: Arc<BTreeMap<[u8; 32], String>>,
    body: Duration,
}

/// All routes of a witness.
pub(super) fn router(witness: Arc<Witness>, limits: &Limits) -> Router {
    let logs = witness.origins().map(|origin| (Sha256::digest(origin).into(), origin.to_owned())).collect();
    let app = App { witness, logs: Arc::new(logs), body: Duration::from_millis(limits.body_ms) };
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/{log}/checkpoint", get(checkpoint))
        .fallback(not_found)
        .method_not_allowed_fallback(bad_method)
        .with_state(app)
}

fn refused(status: StatusCode, kind: &'static str, text: String) -> Response<Body> {
    (status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], text).into_response()
}

async fn add_checkpoint(State(app): State<App>, body: Body) -> Result<Response<Body>, Problem> {
    let body = read_body(body, WITNESS_BODY_MAX, app.body).await?;
    // It waits for a disk.
    let answer = spawn_blocking(move || {
        let request = AddCheckpoint::parse(&body).ok()?;
        Some(app.witness.answer(request.old_size(), request.proof(), request.note()))
    });
    let answer = answer.await.map_err(|_| ServiceError::Unavailable)?;
    match answer.ok_or(Code::BadRequest)? {
        Ok(signature) => Ok(content(TEXT, "no-store", cosigned_body(&[signature]))),
        Err(WitnessError::Unavailable) => Err(ServiceError::Unavailable.into()),
        Err(WitnessError::Refused(Refusal::Conflict { known_size })) => {
            Ok(refused(StatusCode::CONFLICT, CONFLICT_CONTENT_TYPE, conflict_body(known_size)))
        }
        Err(WitnessError::Refused(refusal)) => {
            let status = StatusCode::from_u16(refusal.http_status()).unwrap_or(StatusCode::BAD_REQUEST);
            Ok(refused(status, TEXT, format!("{refusal}\n")))
        }
    }
}

async fn checkpoint(State(app): State<App>, Path(log): Path<String>) -> Result<Response<Body>, Problem> {
    let origin = hex32(&log).and_then(|hash| app.logs.get(&hash).cloned()).ok_or(Code::NotFound)?;
    let latest = spawn_blocking(move || app.witness.latest(&origin)).await;
    match latest.map_err(|_| ServiceError::Unavailable)? {
        Ok(Some(note)) => Ok(content(TEXT, SHORTLY, note)),
        Ok(None) => Err(Code::NotFound.into()),
        Err(_) => Err(ServiceError::Unavailable.into()),
    }
}
