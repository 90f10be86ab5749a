//! What the chain says of an own order: its channel, its vouchers, its records.

use sdpp_evm::typed::Place;
use sdpp_evm::{Address, Channel, ChannelState, Claim, EvmTerms, VoucherProof, address_of};
use sdpp_proto::codec::ChannelId;
use sdpp_proto::journal::Entry;
use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Kind, Payment, RecordOffer, Signed, Terms};

use super::{Chain, RAIL, RECORDS, connect};
use crate::audit::{Check, State};
use crate::buy::journals::Found;
use crate::buy::terms_of;
use crate::exit::{Exit, failed};
use crate::home::Home;
use crate::ledger::Failure;
use crate::text::symbol;
use sdpp::journal::order_stream;

/// Asks the chain about an order; nothing where it has nothing to do with one.
pub(crate) async fn check(home: &Home, chain: &Chain, found: &Found) -> Result<Vec<Check>, Failure> {
    let order = found.order.order;
    let (terms, offer) = terms_of(&found.journal, &order).await?;
    let entries = found.journal.read(order_stream(&order)).await?;
    let mut checks = Vec::new();
    if terms.option.rail == RAIL {
        checks.extend(money(home, chain, &terms, &entries).await?);
    }
    if offer.backend == RECORDS {
        checks.extend(records(home, chain, (&terms, &offer), &entries).await?);
    }
    Ok(checks)
}

/// The payments of an order that carry vouchers, in order.
fn payments(entries: &[Entry]) -> Vec<Signed<Payment>> {
    let payment = |entry: &Entry| match entry {
        Entry::Statement(statement) if statement.kind == Kind::Payment => Signed::parse(&statement.bytes).ok(),
        Entry::Statement(_) | Entry::Salt(_) | Entry::Intent(_) | Entry::Record { .. } => None,
    };
    entries.iter().filter_map(payment).collect()
}

async fn money(home: &Home, chain: &Chain, terms: &Terms, entries: &[Entry]) -> Result<Vec<Check>, Failure> {
    let refused = |error: &dyn std::fmt::Display| failed(Exit::Refused, error.to_string());
    let evm = EvmTerms::parse(&terms.option.terms).map_err(|error| refused(&error))?;
    let network = chain.of_terms(&home.config()?, &evm)?;
    let node = connect(&network).await?;
    let unreachable = |error| failed(Exit::Unreachable, format!("{}: {error}", network.rpc));
    let Some(id) = terms.order.channel else {
        return Ok(vec![Check::new("channel", State::False, "the order names none")]);
    };
    let now = node.channel(&id).await.map_err(unreachable)?;
    let paid = payments(entries);
    let last = paid.last().map_or(Amount::ZERO, |payment| payment.total);
    let Some(opened) = node.opening(&id).await.map_err(unreachable)? else {
        let text = format!("{id} was not opened within the blocks that were looked through");
        return Ok(vec![Check::new("channel", State::Missing, text)]);
    };
    let unit = symbol(&terms.option.asset);
    let (payee, deposit) = (opened.payee, opened.deposit);
    let text = format!("{id}: {deposit} {unit} locked for {payee}");
    let named = (Some(payee), opened.token) == (address_of(&terms.option.address), evm.token());
    let mut checks = vec![if named && opened.is_of(&node.place(), &id, &terms.order) {
        Check::new("channel", State::Good, text)
    } else {
        Check::new(
            "channel",
            State::False,
            format!("{text}, but it is not this order's: another payee, token or order"),
        )
    }];
    checks.push(vouchers(&node.place(), &id, &opened.signer, &paid));
    checks.push(redeemed(&now, last, unit));
    Ok(checks)
}

/// Every payment's voucher is signed by the channel's signer, for this channel and contract. Where an invoice asks for
/// nothing new its payment carries none: the voucher before is worth the same total.
fn vouchers(place: &Place, id: &ChannelId, signer: &Address, paid: &[Signed<Payment>]) -> Check {
    let (mut before, mut signed) = (Amount::ZERO, 0u64);
    for payment in paid {
        let adds_nothing = payment.total == before;
        before = payment.total;
        if payment.proof.is_none() && adds_nothing {
            continue;
        }
        let proof = payment.proof.as_deref().and_then(VoucherProof::parse);
        let is_good = proof.is_some_and(|proof| {
            let (total, messages, invoice) = (payment.total, proof.messages, payment.invoice_id);
            let claim = Claim { channel: *id, total, messages, invoice };
            claim.is_signed(place, signer, &proof)
        });
        if !is_good {
            let text = format!("that of payment {} ({} in all) is not worth anything", payment.id(), payment.total);
            return Check::new("vouchers", State::False, text);
        }
        signed = signed.saturating_add(1);
    }
    Check::new("vouchers", State::Good, format!("{signed} are signed by {signer}"))
}

fn redeemed(now: &Channel, last: Amount, unit: &str) -> Check {
    let took = now.redeemed;
    let closed = now.state == ChannelState::Closed;
    if took > last {
        let text = format!("{took} {unit} were taken, and {last} were signed here: is a journal missing?");
        return Check::new("redeemed", State::False, text);
    }
    let rest = last.saturating_sub(took);
    let text = format!("{took} of {last} {unit}{}", if closed { "; the channel is closed" } else { "" });
    match (rest.is_zero(), closed) {
        (true, _) | (false, true) => Check::new("redeemed", State::Good, text),
        (false, false) => Check::new("redeemed", State::Good, format!("{text}; the seller can still take the rest")),
    }
}

/// What the order asked to be recorded at its ends is on the chain.
async fn records(
    home: &Home,
    chain: &Chain,
    (terms, offer): (&Terms, &RecordOffer),
    entries: &[Entry],
) -> Result<Vec<Check>, Failure> {
    let network = super::records_place(home, chain, &offer.origin)?;
    let contract = network.records;
    let node = connect(&network).await?;
    let mut missing = Vec::new();
    let mut count = 0u64;
    for entry in entries {
        let Entry::Statement(statement) = entry else { continue };
        let is_end = matches!(statement.kind, Kind::Order | Kind::Settlement | Kind::Default);
        let is_pair = terms.order.record.every > 0 && matches!(statement.kind, Kind::Invoice | Kind::Payment);
        if !is_end && !is_pair {
            continue;
        }
        let at = node.is_recorded(contract, &statement.id).await;
        match at.map_err(|error| failed(Exit::Unreachable, format!("{}: {error}", network.rpc)))? {
            true => count = count.saturating_add(1),
            // Not each of them has to be there where every so many are recorded.
            false if is_end => missing.push(format!("{} {}", statement.kind.name(), statement.id)),
            false => {}
        }
    }
    let text = format!("{count} statements are in {contract}");
    Ok(vec![match missing.first() {
        None => Check::new("records", State::Good, text),
        Some(first) => Check::new("records", State::Missing, format!("{text}; not there: {first}")),
    }])
}

#[cfg(test)]
mod tests {
    use sdpp_evm::PrivateKeySigner;
    use sdpp_proto::codec::StatementId;
    use sdpp_proto::identity::SigningKey;
    use sdpp_rail::Proof;

    use super::*;

    const CHANNEL: ChannelId = ChannelId([1; 32]);

    fn place() -> Place {
        Place { chain: 1, contract: Address::repeat_byte(4) }
    }

    fn signer() -> PrivateKeySigner {
        PrivateKeySigner::from_slice(&[3; 32]).unwrap()
    }

    /// The payment of the invoice of this number, with its voucher or without.
    fn payment(number: u8, total: u128, is_signed: bool) -> Signed<Payment> {
        let (total, invoice) = (Amount::new(total), StatementId([number; 32]));
        let claim = Claim { channel: CHANNEL, total, messages: u64::from(number), invoice };
        let proof = is_signed.then(|| match claim.sign(&place(), &signer()).unwrap().encode() {
            Proof::Bytes(bytes) => bytes,
            Proof::Voucher => panic!("it has a proof"),
        });
        let (order_id, prev) = (StatementId([0; 32]), StatementId([number.wrapping_sub(1); 32]));
        let key = SigningKey::from_seed(&zeroize::Zeroizing::new([5; 32]));
        let body = Payment { order_id, prev, invoice_id: invoice, total, channel: Some(CHANNEL), proof };
        Signed::sign(&key, body)
    }

    fn checked(paid: &[Signed<Payment>]) -> (State, String) {
        let check = vouchers(&place(), &CHANNEL, &signer().address(), paid);
        (check.state, check.text)
    }

    #[test]
    fn a_payment_of_nothing_new_needs_no_voucher_and_any_other_does() {
        let good = [
            payment(1, 0, false),
            payment(2, 3, true),
            payment(3, 3, false),
            payment(4, 3, true),
            payment(5, 6, true),
            payment(6, 6, false),
        ];
        let (state, text) = checked(&good);
        assert_eq!(state, State::Good, "{text}");
        assert!(text.starts_with("3 are signed"), "{text}");
        for bad in [payment(7, 9, false), payment(7, 3, false), payment(7, 0, false)] {
            let paid = [good.as_slice(), &[bad]].concat();
            assert_eq!(checked(&paid).0, State::False);
        }
        // Nothing is asked of the first one either, only where it is paid.
        assert_eq!(checked(&[payment(1, 3, false)]).0, State::False);
        let other = vouchers(&place(), &ChannelId([2; 32]), &signer().address(), &good);
        assert_eq!(other.state, State::False, "another channel's");
    }
}
