//! The socket itself.

use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

use super::{Answers, PATIENCE, REQUEST_MAX, Request};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// A socket that answers; gone when dropped.
pub(crate) struct Serving {
    path: PathBuf,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
        // Whoever finds it later finds nobody behind it.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Answers requests from now on. The caller holds the role's journal, so a socket that is there is left
/// over. Inside a runtime.
pub(crate) fn serve(path: PathBuf, answers: Arc<dyn Answers>) -> io::Result<Serving> {
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let answers = answers.clone();
            tokio::spawn(async move {
                // A caller that is gone needs no answer.
                let _ = tokio::time::timeout(PATIENCE, converse(stream, answers.as_ref())).await;
            });
        }
    });
    Ok(Serving { path, task })
}

async fn converse(mut stream: UnixStream, answers: &dyn Answers) -> io::Result<()> {
    let mut line = String::new();
    let limit = u64::try_from(REQUEST_MAX).unwrap_or(u64::MAX);
    BufReader::new((&mut stream).take(limit)).read_line(&mut line).await?;
    let answered = match serde_json::from_str::<Request>(&line) {
        Ok(request) => answers.answer(request).await,
        Err(error) => Err(format!("not a request: {error}")),
    };
    let mut text = match &answered {
        Ok(_) => json!({ "ok": true }).to_string(),
        Err(error) => json!({ "error": error }).to_string(),
    };
    for row in answered.unwrap_or_default() {
        text.push('\n');
        text.push_str(&row.to_string());
    }
    text.push('\n');
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// Asks a running program.
pub(crate) async fn call(path: &Path, request: &Request) -> Result<Vec<Value>, Failure> {
    let nobody = |error: io::Error| {
        failed(
            Exit::Unreachable,
            format!(
                "nobody runs here ({}: {error}): start `sdpp sell` or `sdpp buy`, or name another --home",
                path.display()
            ),
        )
    };
    let mut stream = UnixStream::connect(path).await.map_err(nobody)?;
    let text = tokio::time::timeout(PATIENCE, async {
        stream.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        io::Result::Ok(text)
    });
    let text = text.await.map_err(|_| failed(Exit::Unreachable, "it does not answer"))??;
    let mut rows = text.lines().map(serde_json::from_str::<Value>);
    let first = rows.next().transpose()?.unwrap_or_default();
    if let Some(error) = first.get("error").and_then(Value::as_str) {
        return Err(failed(Exit::Refused, error));
    }
    if first.get("ok").is_none() {
        return Err(failed(Exit::Unreachable, "it went away before it answered"));
    }
    Ok(rows.collect::<Result<_, _>>()?)
}
