//! Bonds behind invoices (`spec/rails.md` §7): the calls of the contract, made from statements as they travel.

use alloy::primitives::{Address, B256, U256, keccak256};
use alloy::sol_types::SolValue as _;
use sdpp_proto::statement::{Invoice, Signed};

use crate::abi::SdppBond::{Terms, showTwoCall};
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
