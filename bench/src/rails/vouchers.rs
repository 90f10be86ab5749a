//! Signing and checking vouchers.

use std::hint::black_box;
use std::time::Instant;

use alloy::primitives::{Address, B256};
use alloy::signers::local::PrivateKeySigner;
use sdpp_evm::Claim;
use sdpp_evm::typed::Place;
use sdpp_proto::codec::{ChannelId, StatementId};
use sdpp_proto::money::Amount;

use super::Options;
use crate::report::Rates;
use crate::{Failure, since};

/// Microseconds for one.
#[derive(Clone, Default, Debug)]
pub struct Vouchers {
    /// To sign.
    pub sign_us: Rates,
    /// To check: from the claim's fields and the proof to the signer's address.
    pub verify_us: Rates,
}

/// As many vouchers a round as is asked for, each another one.
pub(super) fn measure(options: &Options) -> Result<Vouchers, Failure> {
    let signer = PrivateKeySigner::from_bytes(&B256::repeat_byte(3))?;
    let place = Place { chain: 31_337, contract: Address::repeat_byte(4) };
    let claim = |number: u32| {
        let (channel, invoice) = (ChannelId([1; 32]), StatementId([2; 32]));
        let (total, messages) = (Amount::new(u128::from(number)), u64::from(number));
        Claim { channel, total, messages, invoice }
    };
    let mut found = Vouchers::default();
    // The first round warms up.
    for round in 0..=options.rounds {
        let start = Instant::now();
        let signed: Result<Vec<_>, _> =
            (0..options.vouchers).map(|number| black_box(claim(number)).sign(&place, &signer)).collect();
        let (signing, signed) = (since(start), signed?);
        let start = Instant::now();
        let good = (0..)
            .zip(&signed)
            .all(|(number, proof)| black_box(claim(number)).is_signed(&place, &signer.address(), proof));
        let checking = since(start);
        if !good {
            return Err("a voucher that was just signed is not taken".into());
        }
        if round > 0 {
            let each = |time: std::time::Duration| time.as_secs_f64() * 1e6 / f64::from(options.vouchers.max(1));
            found.sign_us.push(each(signing));
            found.verify_us.push(each(checking));
        }
    }
    Ok(found)
}
