//! Deposits that may stand behind nothing (`spec/protocol.md` §9.1). A buyer that dies between its rail's
//! answer and its order's first row knows of the channel only by what it noted before it asked.

use base64ct::{Base64UrlUnpadded, Encoding as _};
use sdpp_proto::buyer::BuyerOrder;
use sdpp_proto::codec::{self, Bytes32};
use sdpp_proto::identity::PublicKey;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::PayOption;
use sdpp_rail::failpoint::{self, Deed};
use sdpp_rail::{CloseStatus, OpenRequest, Payer, RailError};

use crate::journal::{Journal, ReadError, opening_key};

/// Bytes of an encoded option, at most: menus are smaller.
const OPTION_MAX: usize = 32 * 1024;

/// What the rail is about to be asked, as text that a person can read (`docs/journal.md`).
pub(super) fn to_text(request: &OpenRequest) -> String {
    let OpenRequest { reference, option, limit, signer, seller } = request;
    let (reference, terms) = (base64(&reference.0), base64(&codec::encode(option)));
    format!(
        "rail {}\nasset {}\nlimit {limit}\nsigner {signer}\nseller {seller}\nreference {reference}\noption {terms}\n",
        option.rail, option.asset
    )
}

/// What the rail was asked for an order.
pub(super) fn of_order(account: &BuyerOrder) -> OpenRequest {
    let terms = account.terms();
    let option = terms.option.clone();
    let order = &terms.order;
    OpenRequest { reference: order.nonce, option, limit: order.limit, signer: order.sign_pk, seller: order.seller }
}

/// Reads it; none where it stands for nothing any more, or cannot be read.
fn of_text(text: &str) -> Option<OpenRequest> {
    let line = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let bytes = |name: &str| Base64UrlUnpadded::decode_vec(line(name)?).ok();
    Some(OpenRequest {
        reference: Bytes32(bytes("reference")?.try_into().ok()?),
        option: codec::decode::<PayOption>(&bytes("option")?, OPTION_MAX).ok()?,
        limit: Amount::new(line("limit")?.parse().ok()?),
        signer: line("signer")?.parse::<PublicKey>().ok()?,
        seller: line("seller")?.parse::<PublicKey>().ok()?,
    })
}

fn base64(bytes: &[u8]) -> String {
    Base64UrlUnpadded::encode_string(bytes)
}

/// Has the deposits come back that purchases of an earlier life opened and died over, before their order was
/// in the journal: the rail knows the channel by its reference, and closes it. A close whose grace period runs, what
/// another rail or key opened, what the rail refuses, and what is not there, for it may still be on its way, is left for
/// later.
///
/// Only the first call of a journal's life does anything: from then on a purchase may have one under way. A
/// purchase calls it by itself.
///
/// # Errors
/// [`ReadError`].
pub async fn reclaim(journal: &Journal, rail: &str, payer: &dyn Payer, signer: &PublicKey) -> Result<(), ReadError> {
    for (key, text) in journal.openings_left().await? {
        let Some(request) = of_text(&text).filter(|request| request.option.rail == rail && request.signer == *signer)
        else {
            continue;
        };
        match give_up(payer, &request).await {
            Ok(CloseStatus::Closed) => journal.put_note(key, String::new()).await?,
            Ok(CloseStatus::Pending) => {}
            Err(error) => tracing::warn!(%error, "the deposit of an order that never left stays locked for now"),
        }
    }
    Ok(())
}

/// What a request has opened is closed, if it is there.
async fn give_up(payer: &dyn Payer, request: &OpenRequest) -> Result<CloseStatus, RailError> {
    failpoint::before(Deed::Open);
    let opened = payer.opened(request).await;
    failpoint::after(Deed::Open);
    let Some(funding) = opened? else { return Ok(CloseStatus::Pending) };
    if funding.channel.is_none() {
        return Ok(CloseStatus::Closed);
    }
    failpoint::before(Deed::Close);
    let closed = payer.close(&funding).await;
    failpoint::after(Deed::Close);
    closed
}

/// The key of a request's note.
pub(super) fn key_of(request: &OpenRequest) -> String {
    opening_key(&request.reference)
}

#[cfg(test)]
mod tests {
    use sdpp_proto::identity::SigningKey;
    use sdpp_proto::money::AssetId;

    use super::*;

    #[test]
    fn an_opening_is_read_as_it_was_written() {
        let option = PayOption {
            id: 3,
            rail: "ledger".into(),
            asset: AssetId::new("test:cent"),
            address: "payee".into(),
            finality: 2,
            grace_min_ms: 60_000,
            pay_by_ms: 5_000,
            channel: true,
            terms: vec![1, 2, 3],
        };
        let signer = SigningKey::from_seed(&zeroize::Zeroizing::new([1; 32])).public();
        let (reference, limit, seller) = (Bytes32([7; 32]), Amount::new(u128::MAX), signer);
        let request = OpenRequest { reference, option, limit, signer, seller };
        assert_eq!(of_text(&to_text(&request)), Some(request));
        assert_eq!(of_text(""), None, "what is over");
    }
}
