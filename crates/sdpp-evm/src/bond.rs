//! Bonds behind invoices (`spec/rails.md` §7): the calls of the contract, made from statements as they travel.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolValue as _;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::limits::{MESSAGE_HEADER_LEN, SIGNATURE_LEN};
use sdpp_proto::span::span_salt;
use sdpp_proto::statement::{Invoice, Menu, Order, Signed, Signing};

use crate::abi::SdppBond::{Origin, Terms, answerCall, challengeCall, showTwoCall};
use crate::limits;
use crate::typed::Place;

/// The id of a bond with these terms, in the contract at that place.
pub fn id(place: &Place, terms: &Terms) -> B256 {
    keccak256((U256::from(place.chain), place.contract, terms.clone()).abi_encode())
}

/// Shows two invoices of one window; none, where they are not that and nothing can be had for them. It counts once its
/// [`commitment`] was announced in an earlier block.
pub fn show_two(terms: &Terms, one: &Signed<Invoice>, other: &Signed<Invoice>) -> Option<showTwoCall> {
    let of_key = |invoice: &Signed<Invoice>| invoice.issuer().as_bytes() == &terms.key.0;
    let is_fault = (one.order_id, one.n) == (other.order_id, other.n) && one.digest != other.digest;
    (is_fault && of_key(one) && of_key(other)).then(|| showTwoCall {
        terms: terms.clone(),
        one: one.bytes().to_vec().into(),
        other: other.bytes().to_vec().into(),
    })
}

/// What an account announces before it shows these two.
pub fn commitment(by: Address, call: &showTwoCall) -> B256 {
    keccak256((by, keccak256(&call.one), keccak256(&call.other)).abi_encode())
}

/// Asks for the window of an invoice; none, where it is too large for an answer or the statements are not of one sale.
pub fn challenge(
    terms: &Terms,
    invoice: &Signed<Invoice>,
    (order, menu): (&Signed<Order>, &Signed<Menu>),
) -> Option<challengeCall> {
    let is_sale = invoice.order_id == order.id() && order.menu_id == menu.id();
    let around = u64::try_from(MESSAGE_HEADER_LEN.saturating_add(SIGNATURE_LEN)).unwrap_or(u64::MAX);
    let fits = invoice.bytes.saturating_add(invoice.count.saturating_mul(around)) <= limits::REVEAL_BYTES_MAX;
    (is_sale && fits).then(|| challengeCall {
        terms: terms.clone(),
        origin: Origin {
            invoice: invoice.bytes().to_vec().into(),
            order: order.bytes().to_vec().into(),
            menu: menu.bytes().to_vec().into(),
        },
    })
}

/// What a seller keeps of a window that it may be asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Window<'a> {
    /// The salt of its order.
    pub order_salt: &'a Bytes32,
    /// The messages of its span in canonical form.
    pub messages: &'a [u8],
    /// Whether each has a signature.
    pub signing: Signing,
}

/// Shows the window of an invoice. Only the span's own salt is in it: other windows of the order stay hidden.
pub fn answer(terms: &Terms, invoice: &Signed<Invoice>, window: &Window<'_>) -> answerCall {
    answerCall {
        terms: terms.clone(),
        statement: invoice.bytes().to_vec().into(),
        salt: B256::new(span_salt(window.order_salt, invoice.n).0),
        messages: window.messages.to_vec().into(),
        areSigned: window.signing == Signing::Message,
    }
}
