//! Sales on the embedded ledger: it is in this process, as quick as it can be.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sdpp_ledger::entry::{Body, Entry, Issue, asset_id};
use sdpp_ledger::{
    LedgerClient, LedgerConfig, LedgerHost as _, LocalLedger, PayeeConfig, RAIL_VOUCHER, VoucherPayee, VoucherPayer,
};
use sdpp_log::Policy;
use sdpp_proto::codec::Bytes32;
use sdpp_proto::money::Amount;
use sdpp_proto::time::Timestamp;

use super::{Came, store};
use crate::Failure;
use crate::folder::Folder;
use crate::sale::{self, Journal, Money, Spec};

/// Name of the unit.
const SYMBOL: &str = "point";

/// One sale on a fresh ledger.
pub(super) fn sell(spec: &Spec, journal: Journal) -> Result<Came, Failure> {
    let folder = Folder::new("bench-rails")?;
    let (operator, issuer) = (sale::buyer_key(101), sale::buyer_key(102));
    let clock = Arc::new(|| {
        let ms = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        Timestamp::from_ms(u64::try_from(ms).unwrap_or(u64::MAX))
    });
    let ledger = LocalLedger::start(
        LedgerConfig::new("bench.example/ledger", operator, clock),
        store(&folder, journal, "ledger")?,
    )?;
    let policy = Policy::new(ledger.key().clone(), Vec::new(), 0)?;
    let client = || LedgerClient::new(Arc::new(ledger.clone()), policy.clone(), None);
    let (sellers, buyers) = (Arc::new(client()?), Arc::new(client()?));
    let asset = asset_id(SYMBOL, &issuer.public());
    let buyer = sale::buyer_key_of_one();
    let amount = Amount::new(u128::from(spec.messages));
    let issue = Issue { symbol: SYMBOL.into(), to: buyer.public(), amount, reference: Bytes32([7; 32]) };
    let entry = Entry::sign(&issuer, sellers.origin(), Body::Issue(issue));
    sale::runtime()?.block_on(sellers.submit(&entry))?;
    let config = PayeeConfig::new(sale::buyer_key(103), asset, None);
    let payee = VoucherPayee::new(sellers, config, store(&folder, journal, "payee")?);
    let payer = VoucherPayer::new(buyers, buyer);
    let money = Money { payee: Arc::new(payee), payer: Arc::new(payer), rail: RAIL_VOUCHER.to_owned() };
    let came = super::sell(spec, journal, &money);
    ledger.stop();
    came
}
