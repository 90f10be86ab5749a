//! The loop: one event after the other, faults between them, invariants after each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use sdpp_proto::codec::{Bytes32, StatementId};
use sdpp_proto::seller::{SellerConfig, SellerOrder};
use sdpp_proto::statement::{Form, Menu, RecordOffer, SealKey, Signed};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_rail::{FlushFault, MemoryDisk};
use zeroize::Zeroizing;

use super::buyer::{self, Buyer};
use super::call;
use super::ctx::{Ctx, Event, Party, START, Shared};
use super::keys::{BUYER, SELLER, key};
use super::liars;
use super::link::{Link, Links};
use super::model::Account;
use super::money::{Money, RailKind};
use super::plan::{Liar, Plan};
use super::seller::{self, Seller};
use crate::coverage::Coverage;
use crate::dice::Dice;

/// Time that everybody has to come to an end once all is calm.
const PATIENCE_MS: u64 = 60 * 60 * 1000;
/// Steps that no run needs.
const STEPS_MAX: u64 = 20_000;
/// Between two looks of an idle ledger at the clock.
const TICK_MS: u64 = 45_000;
/// What each buyer has at the start.
const FUNDS: sdpp_proto::money::Amount = sdpp_proto::money::Amount::new(10_000_000);

/// What a run has shown.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was reached.
    pub coverage: Coverage,
    /// Events.
    pub steps: u64,
    /// Virtual time.
    pub passed_ms: u64,
}

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Failure {
    /// After how many events.
    pub step: u64,
    /// At which virtual time.
    pub at_ms: u64,
    /// What does not hold.
    pub what: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "step {}, {} ms: {}", self.step, self.at_ms, self.what)
    }
}

/// Runs the world of a seed.
///
/// # Errors
/// The first invariant that does not hold.
///
/// # Panics
/// Where a machine or the world itself panics: that is a finding, too.
pub fn simulate(seed: u64, trace: bool) -> Result<Report, Failure> {
    run((Dice::seeded(seed), None), trace)
}

/// Runs the world of a seed that pays on an EVM chain: another one than that of [`simulate`], so that those stay what they are.
///
/// # Errors
/// The first invariant that does not hold.
#[cfg(feature = "evm")]
pub fn simulate_evm(seed: u64, trace: bool) -> Result<Report, Failure> {
    run((Dice::seeded(seed), Some(RailKind::Evm)), trace)
}

/// Runs the world that these bytes choose: a fuzzer's way in.
///
/// # Errors
/// The first invariant that does not hold.
pub fn simulate_bytes(bytes: &[u8]) -> Result<Report, Failure> {
    run((Dice::of_bytes(bytes), None), false)
}

fn run((mut dice, wanted): (Dice, Option<RailKind>), trace: bool) -> Result<Report, Failure> {
    let plan = Plan::draw(&mut dice, wanted);
    let shared = Shared::new(dice, plan.weather);
    let mut world = World::new(plan, &shared, trace);
    let done = world.live();
    let at_ms = shared.now().since_ms(START);
    let step = world.steps;
    let coverage = shared.coverage().clone();
    match done {
        Ok(()) => Ok(Report { coverage, steps: step, passed_ms: at_ms }),
        Err(what) => Err(Failure { step, at_ms, what }),
    }
}

pub(super) struct BuyerSeat {
    /// In place of a process.
    pub(super) liar: Option<liars::BuyerSeat>,
    /// Its channel's: the same one when its ledger is back.
    liar_reference: Option<Bytes32>,
    pub(super) house: buyer::House,
    pub(super) process: Option<Buyer>,
    pub(super) boot: u32,
}

impl BuyerSeat {
    fn is_quiet(&self) -> bool {
        match &self.liar {
            Some(liar) => liar.done && liar.is_idle(),
            None => self.house.done && self.process.as_ref().is_some_and(Buyer::is_idle),
        }
    }
}

/// What the storm has done so far.
#[derive(Default)]
pub(super) struct Storm {
    /// A disk has lied: what it forgot may be signed or asked for again.
    pub(super) forgot: bool,
    /// What was found wrong in a process that is gone.
    pub(super) last_words: Option<String>,
    /// Since when all is well.
    pub(super) calm_since: Option<Timestamp>,
    /// The rail does not answer before this.
    rail_down_until: Timestamp,
}

pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) ctx: Ctx,
    pub(super) money: Money,
    pub(super) links: Links,
    pub(super) seller_house: seller::House,
    pub(super) seller: Option<Seller>,
    /// In place of the seller's process.
    pub(super) lying_seller: Option<liars::SellerSeat>,
    pub(super) seller_boot: u32,
    config: Option<Arc<SellerConfig>>,
    /// Secrets of the newest menu, for a seller that lies.
    seals: Vec<SealSecret>,
    pub(super) buyers: Vec<BuyerSeat>,
    pub(super) accounts: BTreeMap<StatementId, Account>,
    pub(super) steps: u64,
    pub(super) storm: Storm,
}

impl World {
    fn new(plan: Plan, shared: &Arc<Shared>, trace: bool) -> Self {
        plan.points().for_each(|point| shared.hit(point));
        let mut money = Money::new(shared, plan.rail, (plan.witnessed, plan.pay_by_ms));
        money.be_late(plan.looks);
        let replica = |yes: bool| yes.then(MemoryDisk::new);
        let buyers = plan.wishes.iter().enumerate().map(|(number, wish)| {
            let key = key(BUYER + number as u8);
            let house = buyer::House {
                number,
                key,
                disk: MemoryDisk::new(),
                replica: replica(plan.replicas),
                wish: wish.clone(),
                sink: Vec::new(),
                times: BTreeMap::new(),
                file: Arc::default(),
                keeps_all: false,
                forgiven: Vec::new(),
                cut: None,
                openings: Vec::new(),
                done: false,
                ended: None,
                skew_ms: plan.skew_ms[1 + number % 3],
            };
            BuyerSeat { liar: None, liar_reference: None, house, process: None, boot: 0 }
        });
        let buyers: Vec<BuyerSeat> = buyers.collect();
        money.fund(&key(SELLER).public(), sdpp_proto::money::Amount::new(1));
        for seat in &buyers {
            money.fund(&seat.house.key.public(), FUNDS);
        }
        let seller_house = seller::House {
            key: key(SELLER),
            disk: MemoryDisk::new(),
            book: MemoryDisk::new(),
            replica: replica(plan.replicas),
            source: 0,
            source_end: plan.source_end,
            pace_ms: plan.pace_ms,
            next_at: Timestamp::ZERO,
        };
        let mut ctx = Ctx::new(shared.clone(), trace);
        ctx.at(START, Event::Start(Party::Seller));
        for number in 0..buyers.len() {
            ctx.at(START, Event::Start(Party::Buyer(number)));
        }
        if plan.rail.has_ledger() {
            ctx.after(TICK_MS, Event::LedgerTick);
        }
        Self {
            plan,
            ctx,
            money,
            links: Links::new(),
            seller_house,
            seller: None,
            lying_seller: None,
            seller_boot: 0,
            config: None,
            seals: Vec::new(),
            buyers,
            accounts: BTreeMap::new(),
            steps: 0,
            storm: Storm::default(),
        }
    }

    /// Storm, calm, end.
    fn live(&mut self) -> Result<(), String> {
        self.ctx.say(|| self.plan.summary());
        while self.steps < self.plan.storm && !self.is_quiet() {
            if !self.step(Timestamp::NEVER)? {
                break;
            }
            if self.ctx.shared.chance(self.plan.weather.fault) {
                self.suffer();
                self.check()?;
            }
        }
        self.ctx.say(|| "all is calm".to_owned());
        self.calm();
        let until = self.ctx.now().after_ms(PATIENCE_MS);
        while !self.is_quiet() {
            if !self.step(until)? {
                return Err(self.unfinished());
            }
        }
        self.end()
    }

    /// Everybody is done, and nobody is connected.
    fn is_quiet(&self) -> bool {
        let idle = self.seller.as_ref().map(Seller::is_idle);
        let idle = idle.or_else(|| self.lying_seller.as_ref().map(liars::SellerSeat::is_idle));
        idle == Some(true) && self.buyers.iter().all(BuyerSeat::is_quiet)
    }

    fn unfinished(&self) -> String {
        let state = |seat: &BuyerSeat| {
            let order = seat.process.as_ref().and_then(Buyer::order);
            let sums = order.map(|order| (order.due().get(), order.paid().get(), order.is_settled()));
            format!("buyer {} done {}, order {sums:?}", seat.house.number, seat.house.done)
        };
        let states: Vec<String> = self.buyers.iter().map(state).collect();
        let idle = self.seller.as_ref().map(Seller::is_idle);
        format!("not everybody comes to an end: {}; seller idle {idle:?}", states.join("; "))
    }

    /// One event and the invariants; false when there is none until then.
    pub(super) fn step(&mut self, until: Timestamp) -> Result<bool, String> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return Err(format!("{STEPS_MAX} steps and no end: {}", self.unfinished()));
        }
        let Some(event) = self.ctx.next(until) else { return Ok(false) };
        self.happen(event)?;
        self.check()?;
        Ok(true)
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Start(party) => self.start(party)?,
            Event::Turn(Party::Seller) => {
                if let Some(liar) = &mut self.lying_seller {
                    liar.turn(&mut self.ctx, &mut self.links);
                }
                if let Some(seller) = &mut self.seller {
                    seller.turn(&mut self.ctx, &mut self.links, &mut self.seller_house);
                }
            }
            Event::Turn(Party::Buyer(number)) => {
                let seat = &mut self.buyers[number];
                if let Some(liar) = &mut seat.liar {
                    liar.turn(&mut self.ctx, &mut self.links);
                }
                if let Some(buyer) = &mut seat.process {
                    buyer.turn(&mut self.ctx, &mut self.links, &mut seat.house);
                }
            }
            Event::Crash(party) => self.crash(&[party], "crash: under a disk that lied"),
            Event::Commit(party, boot) => self.commit(party, boot),
            Event::Apply(ticket, asked) => self.apply(ticket, asked),
            Event::Answer(ticket, answer) => self.answer(ticket, answer),
            Event::Dial(number, boot) => self.dial(number, boot),
            Event::Tend(boot) => {
                if let Some(seller) = self.seller.as_mut().filter(|seller| seller.boot == boot) {
                    if self.ctx.shared.is_calm() {
                        seller.write_off();
                    }
                    seller.tend(&mut self.ctx);
                }
            }
            Event::LedgerStart => {
                if let Some(house) = &self.money.house {
                    house.start()?;
                }
            }
            Event::LedgerTick => {
                if let Some(house) = &self.money.house {
                    house.tick();
                    self.ctx.after(TICK_MS, Event::LedgerTick);
                }
            }
        }
        self.notice()
    }

    fn start(&mut self, party: Party) -> Result<(), String> {
        match party {
            Party::Seller if self.seller.is_none() && self.lying_seller.is_none() => self.start_seller(),
            Party::Buyer(number) if self.buyers[number].process.is_none() && self.buyers[number].liar.is_none() => {
                self.start_buyer(number)
            }
            _ => Ok(()),
        }
    }

    fn start_seller(&mut self) -> Result<(), String> {
        self.seller_boot += 1;
        let house = &self.seller_house;
        let replica = house.replica.as_ref().map(MemoryDisk::open);
        let (payee, records) = self.money.payee(&house.key, (house.book.open(), replica));
        if self.config.is_none() || self.ctx.below(8) == 1 {
            if self.config.is_some() {
                self.ctx.hit("start: new menu");
            }
            let (config, seals) = self.menu(&payee);
            (self.config, self.seals) = (Some(config), seals);
        }
        let config = self.config.clone().ok_or("a seller has a menu")?;
        if let Liar::Seller(lie, at) = self.plan.liar {
            let seals = std::mem::take(&mut self.seals);
            let who = (self.seller_house.key.clone(), config.menu.clone());
            self.lying_seller = Some(liars::SellerSeat::new(who, seals, (lie, at)));
            return Ok(());
        }
        let about = (self.seller_boot, self.plan.caps, self.plan.skew_ms[0]);
        let seller = Seller::start(&mut self.ctx, (config, house), (payee, records), about)?;
        self.remember(&seller)?;
        self.seller = Some(seller);
        Ok(())
    }

    /// What was credited survives, unless a disk has lied; what was durable though nobody was told so, counts.
    fn remember(&mut self, seller: &Seller) -> Result<(), String> {
        let restored: BTreeSet<StatementId> = seller.accounts().map(SellerOrder::id).collect();
        for (order, known) in &self.accounts {
            if known.credited > 0 && !restored.contains(order) && !seller.is_over(order) && !self.storm.forgot {
                return Err(format!(
                    "{} were credited before the crash, and the order is gone after it",
                    known.credited
                ));
            }
        }
        for account in seller.accounts() {
            let known = self.accounts.entry(account.id()).or_default();
            let before = known.credited.max(known.booked);
            if account.paid().get() < before && !self.storm.forgot {
                return Err(format!("{before} were credited before the crash, {} after it", account.paid()));
            }
            known.books(account.paid(), self.storm.forgot)?;
            known.credits(account.paid(), self.storm.forgot)?;
        }
        Ok(())
    }

    fn menu(&self, payee: &Arc<dyn sdpp_rail::Payee>) -> (Arc<SellerConfig>, Vec<SealSecret>) {
        let now = self.ctx.now().after_ms(self.plan.skew_ms[0]);
        let seed = Zeroizing::new(self.ctx.shared.dice().seed());
        let pairs = Suite::ALL.map(|suite| (suite, SealSecret::derive(suite, &seed)));
        let copies = Suite::ALL.map(|suite| SealSecret::derive(suite, &seed).0);
        let menu = Menu {
            seller: self.seller_house.key.public(),
            until: now.after_ms(12 * 60 * 60 * 1000),
            seal: pairs.iter().map(|(suite, (_, public))| SealKey { suite: *suite, public: public.clone() }).collect(),
            records: RecordOffer { backend: "none".into(), origin: String::new(), form: Form::Full },
            default_currency: payee.option().asset,
            options: vec![Money::option(payee)],
            products: vec![self.plan.product.clone()],
        };
        let menu = Signed::sign(&self.seller_house.key, menu);
        let seals = pairs.into_iter().map(|(_, (secret, _))| secret).collect();
        let key = self.seller_house.key.clone();
        (Arc::new(SellerConfig { key, menu, seals, samples: Vec::new() }), copies.into())
    }

    fn start_buyer(&mut self, number: usize) -> Result<(), String> {
        if let Liar::Buyer(lie, at) = self.plan.liar
            && number + 1 == self.buyers.len()
        {
            let config = self.config.as_ref().ok_or("the seller starts first")?;
            let BuyerSeat { house, liar_reference, .. } = &mut self.buyers[number];
            let drawn = || Bytes32(self.ctx.shared.dice().seed());
            let reference = *liar_reference.get_or_insert_with(drawn);
            let (who, about) = ((number, &house.key, reference), (&house.wish, &config.menu));
            let liar = liars::BuyerSeat::new(&self.money, who, (lie, at), about);
            match liar {
                Ok(liar) => {
                    self.buyers[number].liar = Some(liar);
                    self.ctx.after(1, Event::Dial(number, 0));
                }
                // Its ledger is away.
                Err(_) => self.ctx.after(1_000, Event::Start(Party::Buyer(number))),
            }
            return Ok(());
        }
        let seat = &mut self.buyers[number];
        seat.boot += 1;
        let replica = seat.house.replica.as_ref().map(MemoryDisk::open);
        let rail = self.money.payer(&seat.house.key, replica);
        seat.process = Some(Buyer::start(&mut self.ctx, &mut seat.house, rail, seat.boot)?);
        Ok(())
    }

    fn commit(&mut self, party: Party, boot: u32) {
        match party {
            Party::Seller => {
                if let Some(seller) = self.seller.as_mut().filter(|seller| seller.boot == boot) {
                    let acks = seller.journal.commit();
                    seller.acked(&mut self.ctx, acks);
                    if seller.journal.failed {
                        self.operator(party);
                    }
                }
            }
            Party::Buyer(number) => {
                let seat = &mut self.buyers[number];
                if let Some(buyer) = seat.process.as_mut().filter(|buyer| buyer.boot == boot) {
                    let acks = buyer.journal.commit();
                    self.ctx.say(|| {
                        format!(
                            "buyer {number}: commit, failed {}, sink {} of {}",
                            buyer.journal.failed,
                            seat.house.file.synced(),
                            seat.house.sink.len()
                        )
                    });
                    buyer.acked(&mut self.ctx, &seat.house, acks);
                    if buyer.journal.failed {
                        self.operator(party);
                    }
                }
            }
        }
    }

    /// A journal has failed: somebody comes, stops the process and starts it again.
    pub(super) fn operator(&mut self, party: Party) {
        let later = 500 + self.ctx.below(3_000);
        self.ctx.after(later, Event::Turn(party));
        self.ctx.wake(party, self.ctx.now());
        self.ctx.after(later, Event::Start(party));
        self.failed_at(party);
    }

    fn failed_at(&mut self, party: Party) {
        // It has said its goodbyes in the next turn; then it is gone.
        match party {
            Party::Seller => {
                if let Some(seller) = &mut self.seller {
                    seller.turn(&mut self.ctx, &mut self.links, &mut self.seller_house);
                }
            }
            Party::Buyer(number) => {
                let seat = &mut self.buyers[number];
                if let Some(buyer) = &mut seat.process {
                    buyer.turn(&mut self.ctx, &mut self.links, &mut seat.house);
                }
            }
        }
        self.stop(party);
    }

    fn apply(&mut self, ticket: call::Ticket, asked: call::Call) {
        let boot = match ticket.party {
            Party::Seller => self.seller.as_ref().map(|seller| seller.boot),
            Party::Buyer(number) => self.buyers[number].process.as_ref().map(|buyer| buyer.boot),
        };
        if boot != Some(ticket.boot) {
            // Sent before its sender died: it arrives, or it does not.
            self.ctx.hit("call: of a process that died");
            if self.ctx.below(2) == 0 {
                return;
            }
        }
        let is_down = self.ctx.now() < self.storm.rail_down_until;
        call::arrive(&mut self.ctx, ticket, asked, is_down);
    }

    fn answer(&mut self, ticket: call::Ticket, answer: call::Answer) {
        match ticket.party {
            Party::Seller => {
                if let Some(seller) = self.seller.as_mut().filter(|seller| seller.boot == ticket.boot) {
                    seller.answered(&mut self.ctx, ticket, answer);
                }
            }
            Party::Buyer(number) => {
                let seat = &mut self.buyers[number];
                if let Some(buyer) = seat.process.as_mut().filter(|buyer| buyer.boot == ticket.boot) {
                    buyer.answered(&mut self.ctx, &mut seat.house, (ticket, answer));
                }
            }
        }
    }

    fn dial(&mut self, number: usize, boot: u32) {
        let seat = &mut self.buyers[number];
        let wants = match (&seat.liar, &mut seat.process) {
            (Some(liar), _) => liar.wants_line(),
            (None, Some(buyer)) => buyer.boot == boot && buyer.wants_line(&seat.house),
            (None, None) => false,
        };
        if !wants {
            return;
        }
        if self.seller.is_none() && self.lying_seller.is_none() {
            self.ctx.hit("link: no connection");
            match &mut seat.process {
                Some(buyer) => buyer.no_line(&mut self.ctx),
                None => self.ctx.after(300, Event::Dial(number, boot)),
            }
            return;
        }
        let id = self.ctx.link_id();
        self.ctx.hit(match seat.house.wish.suite {
            Suite::X25519 => "session: suite 1",
            Suite::XWing => "session: suite 2",
        });
        let mut link = Link::new(number);
        if self.ctx.shared.chance(self.plan.weather.cut) {
            link.cut_after(1 + self.ctx.below(4_000) as usize);
        }
        self.links.insert(id, link);
        if let Some(seller) = &mut self.seller {
            seller.accept(&mut self.ctx, id);
        }
        if let Some(liar) = &mut self.lying_seller {
            liar.accept(&mut self.ctx, &mut self.links, id);
        }
        if let Some(liar) = &mut seat.liar {
            liar.connected(&mut self.ctx, id);
        }
        if let Some(buyer) = &mut seat.process {
            buyer.connected(&mut self.ctx, &mut seat.house, id);
            if buyer.journal.failed {
                self.operator(Party::Buyer(number));
            }
        }
    }

    /// A process dies: what is not durable is gone, and its connections with it.
    pub(super) fn stop(&mut self, party: Party) {
        // What it did last counts, too.
        if let Err(what) = self.notice() {
            self.storm.last_words.get_or_insert(what);
        }
        let journal = match party {
            Party::Seller => self.seller.take().map(|seller| seller.journal),
            Party::Buyer(number) => self.buyers[number].process.take().map(|buyer| buyer.journal),
        };
        let Some(journal) = journal else { return };
        let (disk, believed) = (journal.disk.clone(), journal.lied);
        if journal.has_waiting() {
            self.ctx.hit("crash: rows were lost");
        }
        if believed {
            self.ctx.hit("crash: believed rows were lost");
            self.ctx.say(|| format!("{party:?}: its disk has lied"));
            self.storm.forgot = true;
        }
        disk.crash();
        match party {
            Party::Seller => {
                self.seller_house.book.crash();
                for link in self.links.values_mut() {
                    link.abandon(&mut self.ctx, party);
                }
            }
            Party::Buyer(number) => {
                for link in self.links.values_mut().filter(|link| link.buyer == number) {
                    link.abandon(&mut self.ctx, party);
                }
            }
        }
        self.ctx.say(|| format!("{party:?} has died"));
    }

    /// Something goes wrong.
    fn suffer(&mut self) {
        let buyer = self.ctx.below(self.buyers.len() as u64) as usize;
        match self.ctx.below(15) {
            0..=2 => {
                if let Some(link) = self.links.values_mut().next_back() {
                    link.suffer(&mut self.ctx);
                }
            }
            3 => self.crash(&[Party::Seller], "crash: seller"),
            4 => self.crash(&[Party::Buyer(buyer)], "crash: buyer"),
            5 => self.crash(&[Party::Seller, Party::Buyer(buyer)], "crash: both"),
            6 => self.shake_ledger(),
            7 => {
                if let Some(seller) = &self.seller {
                    seller.journal.spoil(&self.ctx);
                }
            }
            8 => {
                let seat = &self.buyers[buyer];
                if self.ctx.below(4) == 1 {
                    self.ctx.hit("disk: sink fails");
                    seat.house.file.spoil(true);
                } else if let Some(buyer) = &seat.process {
                    buyer.journal.spoil(&self.ctx);
                }
            }
            9 => self.shake_rail(),
            10..=12 => self.deceive(buyer),
            13 => {
                if let Some(seller) = &mut self.seller {
                    seller.be_rude(&mut self.ctx);
                }
            }
            _ => {
                let seat = &mut self.buyers[buyer];
                if let Some(buyer) = &mut seat.process {
                    buyer.be_rude(&mut self.ctx, &mut seat.house);
                }
            }
        }
    }

    fn crash(&mut self, parties: &[Party], point: &'static str) {
        self.ctx.hit(point);
        for party in parties {
            self.stop(*party);
            let later = self.ctx.below(3_000);
            self.ctx.after(later, Event::Start(*party));
        }
    }

    /// A disk lies about a flush, and the power goes before an honest one.
    fn deceive(&mut self, buyer: usize) {
        if !self.plan.lies {
            return;
        }
        let party = if self.ctx.below(2) == 0 { Party::Seller } else { Party::Buyer(buyer) };
        let disk = match party {
            Party::Seller => &self.seller_house.disk,
            Party::Buyer(number) => &self.buyers[number].house.disk,
        };
        self.ctx.hit("disk: flush lies");
        disk.fail_next_flush(FlushFault::Lies);
        let soon = self.ctx.below(25);
        self.ctx.after(soon, Event::Crash(party));
    }

    fn shake_ledger(&mut self) {
        if let Some(chain) = &self.money.chain {
            return chain.suffer();
        }
        let Some(house) = &self.money.house else { return };
        if self.ctx.below(3) == 1 {
            self.ctx.hit("disk: ledger");
            house.spoil(self.ctx.below(3));
            // The operator notices, and starts it again.
            let later = 2_000 + self.ctx.below(5_000);
            self.ctx.after(later, Event::LedgerStart);
        } else {
            self.ctx.hit("crash: ledger");
            house.crash();
            let later = self.ctx.below(5_000);
            self.ctx.after(later, Event::LedgerStart);
        }
    }

    fn shake_rail(&mut self) {
        match self.ctx.below(3) {
            0 => self.storm.rail_down_until = self.ctx.now().after_ms(self.ctx.below(8_000)),
            1 => self.money.be_late(self.ctx.below(40) as u32),
            _ => {
                let looks = 1 + self.ctx.below(20) as u32;
                if self.money.reorganise(looks) {
                    self.ctx.hit("rail: reorganised");
                }
            }
        }
    }

    /// From here on all is well: who is dead starts again.
    fn calm(&mut self) {
        self.ctx.shared.calm();
        self.storm.calm_since = Some(self.ctx.now());
        self.storm.rail_down_until = Timestamp::ZERO;
        for link in self.links.values_mut() {
            link.heal();
        }
        if let Some(house) = &self.money.house {
            house.heal();
        }
        let now = self.ctx.now();
        for party in self.parties() {
            self.heal_disk(party);
            self.ctx.at(now, Event::Start(party));
            self.ctx.wake(party, now);
        }
        self.ctx.at(now, Event::LedgerStart);
    }

    fn heal_disk(&self, party: Party) {
        let disk = match party {
            Party::Seller => &self.seller_house.disk,
            Party::Buyer(number) => &self.buyers[number].house.disk,
        };
        disk.heal();
        if let Party::Buyer(number) = party {
            self.buyers[number].house.file.spoil(false);
        }
    }

    pub(super) fn parties(&self) -> Vec<Party> {
        std::iter::once(Party::Seller).chain((0..self.buyers.len()).map(Party::Buyer)).collect()
    }
}
