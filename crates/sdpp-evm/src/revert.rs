//! What a refusal of the contract means to people.

use alloy::primitives::Bytes;
use alloy::sol_types::SolError as _;

use crate::abi::SdppChannels as c;

/// The reason in words.
pub(crate) fn reason_of(data: &Bytes) -> &'static str {
    let is = |selector: [u8; 4]| data.starts_with(&selector);
    let reasons = [
        (c::AlreadyUsed::SELECTOR, "a channel of this order was opened before"),
        (c::NotOpen::SELECTOR, "the channel is not open"),
        (c::ClosePending::SELECTOR, "the channel is about to be closed"),
        (c::NoCloseRequested::SELECTOR, "nobody has asked for the channel's close"),
        (c::GraceNotOver::SELECTOR, "the channel's grace period is not over"),
        (c::BadTerms::SELECTOR, "the contract refuses the channel's terms"),
        (c::BadAmount::SELECTOR, "the contract refuses the amount"),
        (c::BadSignature::SELECTOR, "the contract refuses the signature"),
        (c::NotAllowed::SELECTOR, "the account may not do this with the channel"),
        (c::AboveDeposit::SELECTOR, "the total is above the deposit"),
    ];
    let found = reasons.into_iter().find(|(selector, _)| is(*selector));
    found.map_or("the contract or its token refuses the call", |(_, reason)| reason)
}
