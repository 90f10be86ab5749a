//! The way to the chain: what a node's HTTP client would be, and what goes wrong on it.

use std::sync::Arc;
use std::task::{Context, Poll};

use alloy::network::Ethereum;
use alloy::providers::{DynProvider, Provider as _, ProviderBuilder};
use alloy::rpc::client::RpcClient;
use alloy::rpc::json_rpc::{RequestPacket, Response, ResponsePacket, SerializedRequest};
use alloy::transports::{TransportError, TransportErrorKind, TransportFut};
use tokio::time::sleep;
use tower::Service;

use super::InlineChain;
use crate::limits;

/// What becomes of a question to a node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fate {
    /// It is answered.
    Answered,
    /// Nobody takes the connection: nothing was asked, and that is known at once.
    Refused,
    /// The node has too much to do, says so, and does nothing.
    Busy,
    /// It is lost on the way, which is noticed when the client's time is up.
    RequestLost,
    /// It is done, and the answer is lost.
    AnswerLost,
    /// It is answered by a node that has not heard of the last blocks yet, so many of them.
    Behind(u64),
    /// Nobody ever hears of it, and nothing was done: for an asker that is given up there.
    Never,
    /// Where it sends a transaction, that is mined only after so many more questions; else it is answered.
    Waits(u32),
}

/// Decides on each question, by its method. It is asked before the chain is, and may do something to the chain.
pub type Way = Arc<dyn Fn(&str) -> Fate + Send + Sync>;

#[derive(Clone)]
struct Line {
    chain: Arc<InlineChain>,
    way: Way,
}

pub(super) fn provider(chain: Arc<InlineChain>, way: Way) -> DynProvider<Ethereum> {
    let client = RpcClient::new(Line { chain, way }, true);
    ProviderBuilder::new().disable_recommended_fillers().connect_client(client).erased()
}

impl Line {
    async fn carry(self, request: SerializedRequest) -> Result<Response, TransportError> {
        let fate = (self.way)(request.method());
        let ask =
            |behind, waits| Response { id: request.id().clone(), payload: self.chain.answer(&request, behind, waits) };
        match fate {
            Fate::Answered => Ok(ask(0, 0)),
            Fate::Behind(blocks) => Ok(ask(blocks, 0)),
            Fate::Waits(questions) => Ok(ask(0, questions)),
            Fate::Busy => Ok(Response { id: request.id().clone(), payload: super::question::busy() }),
            Fate::Refused => Err(TransportErrorKind::custom_str("nobody is there")),
            Fate::RequestLost => Err(lost().await),
            Fate::Never => std::future::pending().await,
            Fate::AnswerLost => {
                drop(ask(0, 0));
                Err(lost().await)
            }
        }
    }
}

/// As long as a client waits for an answer.
async fn lost() -> TransportError {
    sleep(limits::ASK_TIMEOUT).await;
    TransportErrorKind::custom_str("no answer")
}

impl Service<RequestPacket> for Line {
    type Response = ResponsePacket;
    type Error = TransportError;
    type Future = TransportFut<'static>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), TransportError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, packet: RequestPacket) -> Self::Future {
        let line = self.clone();
        Box::pin(async move {
            match packet {
                RequestPacket::Single(request) => line.carry(request).await.map(ResponsePacket::Single),
                RequestPacket::Batch(requests) => {
                    let mut answers = Vec::new();
                    for request in requests {
                        answers.push(line.clone().carry(request).await?);
                    }
                    Ok(ResponsePacket::Batch(answers))
                }
            }
        })
    }
}
