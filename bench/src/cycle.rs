//! The paper's Fig. 3: how long an order takes where each payment takes its time, by the order's size.
//!
//! `cargo run --release -p sdpp-bench --bin cycle`. The real machines of seller and buyer under a clock that stands still while
//! they work: nothing takes time but the ledger, where a payment is final after one `cycle`. So the figures say what the
//! conversation costs in cycles, on any machine; `length` says what it costs in work.

use std::fmt;
use std::sync::Arc;

use sdpp_proto::buyer::{self, Buyer, BuyerConfig, OrderDraft};
use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::frame::FrameHeader;
use sdpp_proto::identity::SigningKey;
use sdpp_proto::journal::StoreId;
use sdpp_proto::message::Batch;
use sdpp_proto::money::{Amount, AssetId, Unit};
use sdpp_proto::seller::{self, Admission, Seller, SellerConfig};
use sdpp_proto::statement::{
    Form, Menu, PayOption, Product, RecordOffer, RecordPolicy, Sample, SealKey, Signed, Signing, Stalled,
};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use zeroize::Zeroizing;

use crate::Failure;
use crate::length::Line;

const START: Timestamp = Timestamp::from_ms(1_800_000_000_000);
/// Bytes of a message.
const SIZE: usize = 100;
/// Steps until a sale counts as stuck.
const STEPS_MAX: u64 = 10_000_000;

/// One sale.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Milliseconds from a payment to its finality.
    pub cycle_ms: u64,
    /// Messages of a window.
    pub k: u32,
    /// Windows that may be outstanding: 1 is lock step.
    pub windows: u32,
    /// Messages of the order.
    pub messages: u64,
}

/// How long it took.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The sale.
    pub spec: Spec,
    /// Milliseconds of the simulated clock, from the connection to both settlements.
    pub took_ms: u64,
    /// Payments that were made.
    pub payments: u64,
}

/// All sales.
pub struct Report(pub Vec<Row>);

/// Runs all of them.
///
/// # Errors
/// Where one does not settle.
pub fn measure((cycles, ks, windows): (&[u64], &[u32], &[u32]), lengths: &[u64]) -> Result<Report, Failure> {
    let mut rows = Vec::new();
    for &cycle_ms in cycles {
        for &k in ks {
            for &windows in windows {
                for &messages in lengths {
                    rows.push(sell(Spec { cycle_ms, k, windows, messages })?);
                }
            }
        }
    }
    Ok(Report(rows))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, " cycle s    K  windows   messages    seconds   messages/s   payments")?;
        for Row { spec, took_ms, payments } in &self.0 {
            let Spec { cycle_ms, k, windows, messages } = spec;
            let (cycle, took) = (seconds(*cycle_ms), seconds(*took_ms));
            let rate = real(*messages) / took;
            writeln!(f, "{cycle:>8.1} {k:>4} {windows:>8} {messages:>10} {took:>10.1} {rate:>12.2} {payments:>10}")?;
        }
        Ok(())
    }
}

impl Report {
    /// The same as lines of a drawing, those of one cycle: by K and windows.
    pub fn lines(&self, cycle_ms: u64) -> Vec<Line> {
        let mut lines: Vec<Line> = Vec::new();
        for row in self.0.iter().filter(|row| row.spec.cycle_ms == cycle_ms) {
            let credit =
                if row.spec.windows == 1 { "lock step".to_owned() } else { format!("{} windows", row.spec.windows) };
            let name = format!("K = {}, {credit}", row.spec.k);
            let point = (real(row.spec.messages), seconds(row.took_ms));
            match lines.last_mut().filter(|line| line.name == name) {
                Some(line) => line.points.push(point),
                None => lines.push(Line { name, points: vec![point] }),
            }
        }
        lines
    }
}

fn seconds(ms: u64) -> f64 {
    real(ms) / 1000.0
}

#[expect(clippy::cast_precision_loss, reason = "what is counted here is far below 2^53")]
const fn real(number: u64) -> f64 {
    number as f64
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&Zeroizing::new([seed; 32]))
}

fn config(spec: Spec) -> Arc<SellerConfig> {
    let key = key(1);
    let (secret, public) = SealSecret::derive(Suite::X25519, &Zeroizing::new([9; 32]));
    let product = Product {
        id: 1,
        topic: "weather".into(),
        schema: String::new(),
        unit: Unit::Message,
        amount: Amount::new(1),
        per: 1,
        available: None,
        k: spec.k,
        window_ms: 0,
        window_bytes: 0,
        message_max: 1_000,
        windows_max: spec.windows,
        signing: Signing::Window,
        acks: false,
        when_stalled: Stalled::Buffer,
        sample: false,
        cadence_ms: None,
        licence: None,
    };
    let option = PayOption {
        id: 1,
        rail: "cycle".into(),
        asset: AssetId::new("unit@cycle"),
        address: "seller".into(),
        finality: 0,
        grace_min_ms: 0,
        pay_by_ms: spec.cycle_ms.saturating_mul(10),
        channel: false,
        terms: Vec::new(),
    };
    let menu = Menu {
        seller: key.public(),
        until: START.after_ms(12 * 60 * 60 * 1000),
        seal: vec![SealKey { suite: Suite::X25519, public }],
        records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
        default_currency: AssetId::new("unit@cycle"),
        options: vec![option],
        products: vec![product],
    };
    let (menu, samples) = (Signed::sign(&key, menu), Vec::<Signed<Sample>>::new());
    Arc::new(SellerConfig { key, menu, seals: vec![secret], samples })
}

struct World {
    now: Timestamp,
    spec: Spec,
    seller: Seller,
    buyer: Buyer,
    batch: Batch,
    offered: u64,
    /// What is durable at once, and is told in the next step.
    stored: (Option<StoreId>, Option<StoreId>),
    /// When a payment is final.
    paying: Option<(Timestamp, StatementId)>,
    payments: u64,
    ended: (Option<seller::Ended>, Option<buyer::Ended>),
}

/// One sale under the simulated clock.
fn sell(spec: Spec) -> Result<Row, Failure> {
    let buyer =
        BuyerConfig { key: key(2), seller: Some(key(1).public()), suites: vec![Suite::X25519], pay_moves_money: true };
    let mut world = World {
        now: START,
        spec,
        seller: Seller::new(config(spec), [1; 32], START),
        buyer: Buyer::new(buyer, [2; 32], START),
        batch: Batch::new(),
        offered: 0,
        stored: (None, None),
        paying: None,
        payments: 0,
        ended: (None, None),
    };
    for _ in 0..STEPS_MAX {
        if world.ended.0.is_some() && world.ended.1.is_some() {
            break;
        }
        if !world.step()? {
            world.wait()?;
        }
    }
    if world.ended.1 != Some(buyer::Ended::Settled) {
        return Err(format!("{spec:?} did not settle: {:?}", world.ended).into());
    }
    Ok(Row { spec, took_ms: world.now.since_ms(START), payments: world.payments })
}

impl World {
    /// Everything that takes no time; whether there was any.
    fn step(&mut self) -> Result<bool, Failure> {
        let mut moved = self.offer();
        while let Some(output) = self.seller.poll_output(self.now) {
            moved = true;
            self.seller_said(output);
        }
        while let Some(output) = self.buyer.poll_output(self.now) {
            moved = true;
            self.buyer_said(output)?;
        }
        if let Some(id) = self.stored.0.take() {
            self.seller.stored(self.now, id);
            moved = true;
        }
        if let Some(id) = self.stored.1.take() {
            self.buyer.stored(self.now, id);
            moved = true;
        }
        Ok(self.carry() || moved)
    }

    fn offer(&mut self) -> bool {
        if !self.seller.is_live() {
            return false;
        }
        while self.offered < self.spec.messages && !self.batch.is_full() {
            let time = i64::try_from(self.offered).unwrap_or(i64::MAX);
            if self.batch.push(time, &[b'x'; SIZE]).is_err() {
                break;
            }
            self.offered = self.offered.saturating_add(1);
        }
        let before = self.batch.len();
        let _ = self.seller.offer(self.now, &mut self.batch);
        self.seller.idle(self.now);
        self.batch.len() != before
    }

    fn seller_said(&mut self, output: seller::Output) {
        match output {
            seller::Output::Admit(_) => {
                let exposure = Amount::MAX;
                let admission = Admission { exposure, windows: self.spec.windows, ramp: false, ceiling: Amount::MAX };
                self.seller.admit(self.now, &admission);
            }
            seller::Output::Store { id, .. } => self.stored.0 = Some(id),
            // The payment travelled when it was final.
            seller::Output::Settle(settle) => self.seller.settled(self.now, &settle.payment.id(), true),
            seller::Output::Record(_) | seller::Output::Event(_) => {}
            seller::Output::Closed(ended) => self.ended.0 = Some(ended),
        }
    }

    fn buyer_said(&mut self, output: buyer::Output) -> Result<(), Failure> {
        match output {
            buyer::Output::Menu(_) => {
                let draft = OrderDraft {
                    product: 1,
                    option: 1,
                    quantity: Some(self.spec.messages),
                    windows: self.spec.windows,
                    exposure_max: Amount::MAX,
                    limit: Amount::new(self.spec.messages.into()),
                    channel: None,
                    record: RecordPolicy { form: Form::Full, every: 0 },
                    sign_key: key(3),
                    nonce: Bytes32([5; 32]),
                    until: self.now.after_ms(60_000),
                };
                self.buyer.place(self.now, draft).map_err(|error| format!("no order: {error}"))?;
            }
            buyer::Output::Store { id, .. } => self.stored.1 = Some(id),
            buyer::Output::RecordOrder(order) => self.buyer.recorded(order.id, None),
            buyer::Output::Pay { invoice, .. } => {
                self.payments = self.payments.saturating_add(1);
                self.paying = Some((self.now.after_ms(self.spec.cycle_ms), invoice.id()));
            }
            buyer::Output::Recall(_) => self.buyer.recalled(self.now, None),
            buyer::Output::Sample(_) | buyer::Output::Quote(_) | buyer::Output::Record(_) | buyer::Output::Event(_) => {
            }
            buyer::Output::Closed(ended) => self.ended.1 = Some(ended),
        }
        Ok(())
    }

    fn carry(&mut self) -> bool {
        let (mut to_buyer, mut to_seller) = (Vec::new(), Vec::new());
        self.seller.poll_transmit(self.now, &mut to_buyer, 64 * 1024);
        self.buyer.poll_transmit(self.now, &mut to_seller);
        let now = self.now;
        frames(&mut to_buyer, |frame| drop(self.buyer.handle_frame(now, frame)));
        frames(&mut to_seller, |frame| {
            // An offence shows in the output.
            let _ = self.seller.handle_frame(now, frame);
        });
        !to_buyer.is_empty() || !to_seller.is_empty()
    }

    /// The clock goes on to whatever is next.
    fn wait(&mut self) -> Result<(), Failure> {
        let final_at = self.paying.map(|(at, _)| at);
        let next = [final_at, self.seller.poll_timeout(), self.buyer.poll_timeout()].into_iter().flatten().min();
        self.now = next.ok_or("nothing is left to happen")?.max(self.now);
        if let Some((_, invoice)) = self.paying.take_if(|(at, _)| *at <= self.now) {
            self.buyer.paid(&invoice, Some(vec![7; 32]));
        }
        self.seller.handle_timeout(self.now);
        self.buyer.handle_timeout(self.now);
        Ok(())
    }
}

/// Hands over the whole frames of a stream.
fn frames(bytes: &mut [u8], mut to: impl FnMut(&mut [u8])) {
    let mut rest = bytes;
    while let Ok(Some(header)) = FrameHeader::peek(rest) {
        let Some((frame, behind)) = rest.split_at_mut_checked(header.frame_len()) else { return };
        to(frame);
        rest = behind;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_takes_cycles_away() {
        let took = |windows| sell(Spec { cycle_ms: 21_600, k: 4, windows, messages: 40 }).unwrap();
        let [lock_step, two, eight] = [1, 2, 8].map(took);
        assert_eq!((lock_step.payments, lock_step.took_ms), (10, 10 * 21_600));
        assert!(two.took_ms < lock_step.took_ms && eight.took_ms < two.took_ms, "{two:?} {eight:?}");
    }
}
