//! A seller that runs: what its owner can ask and tell it meanwhile.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sdpp::seller::{Limits, Offer, OrderState, Seller, Status};
use sdpp_proto::codec::StatementId;
use sdpp_proto::money::{Amount, AssetId};
use sdpp_proto::statement::PayOption;
use serde_json::{Value, json};

use super::shop::Shop;
use crate::config::Rail;
use crate::control::{Answer, Answers, Request};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use crate::text::symbol;
use crate::ways::rail_of;
use sdpp_config::told;

/// How long the place of money may take to say what is still to be had.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// A seller with the things it was made from.
pub(super) struct Running {
    shop: Mutex<Shop>,
    seller: Seller,
    asset: AssetId,
}

/// What listens for its owner; ends when dropped.
pub(super) struct Listening {
    #[cfg(unix)]
    _control: crate::control::Serving,
    #[cfg(unix)]
    hangups: tokio::task::JoinHandle<()>,
}

#[cfg(unix)]
impl Drop for Listening {
    fn drop(&mut self) {
        self.hangups.abort();
    }
}

impl Running {
    pub(super) fn new(shop: Shop, seller: Seller) -> Self {
        let asset = shop.till.asset.clone();
        Self { shop: Mutex::new(shop), seller, asset }
    }

    fn shop(&self) -> MutexGuard<'_, Shop> {
        // It is changed whole or not at all.
        self.shop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers on the role's socket, and reads the configuration again on SIGHUP.
    #[cfg(unix)]
    pub(super) fn listen(self: Arc<Self>) -> Result<Listening, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let path = crate::control::path(&self.shop().role);
        let control = crate::control::serve(path.clone(), self.clone());
        let control = control.map_err(|error| {
            failed(Exit::Storage, format!("{}: {error}; is the path of --home too long?", path.display()))
        })?;
        let mut hangup = signal(SignalKind::hangup())?;
        let hangups = tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                match self.reload() {
                    Ok(()) => eprintln!("configuration read again; running orders keep their terms"),
                    Err(error) => eprintln!("sdpp: {error}; all stays as it was"),
                }
            }
        });
        Ok(Listening { _control: control, hangups })
    }

    /// Where there are no Unix sockets, nobody asks.
    #[cfg(not(unix))]
    #[allow(clippy::unnecessary_wraps, reason = "elsewhere it can fail")]
    pub(super) fn listen(self: Arc<Self>) -> Result<Listening, Failure> {
        Ok(Listening {})
    }

    fn reload(&self) -> Result<(), Failure> {
        self.change(Shop::reread)
    }

    fn reprice(&self, topic: &str, price: &str) -> Result<(), Failure> {
        let price = price.parse()?;
        self.change(|shop| shop.reprice(topic, price))
    }

    /// The rule first, then the menu that says so.
    fn pause(&self, topic: &str, paused: bool) -> Result<(), Failure> {
        let known = if paused { self.seller.pause(topic) } else { self.seller.unpause(topic) };
        if !known {
            return Err("there is no such product".into());
        }
        self.change(|shop| shop.pause(topic, paused))
    }

    /// Puts on sale what a change of the shop makes of it, whole or not at all.
    fn change(&self, make: impl FnOnce(&mut Shop) -> Result<Vec<Offer>, Failure>) -> Result<(), Failure> {
        let mut shop = self.shop();
        let before = shop.plan();
        let put = make(&mut shop).and_then(|offers| {
            let pools = shop.pools(&offers);
            Ok(self.seller.reload(offers, pools, Limits::default()).map(drop)?)
        });
        if put.is_err() {
            shop.go_back(before);
        }
        put
    }

    async fn obey(&self, request: Request) -> Result<Vec<Value>, String> {
        let known = |known: bool, what: &str| if known { Ok(Vec::new()) } else { Err(what.to_owned()) };
        let done = |done: Result<(), Failure>| done.map(|()| Vec::new()).map_err(|error| error.to_string());
        match request {
            Request::Status => Ok(self.rows()),
            Request::Pause { topic } => done(self.pause(&topic, true)),
            Request::Unpause { topic } => done(self.pause(&topic, false)),
            Request::Price { topic, price } => done(self.reprice(&topic, &price)),
            Request::Reload => done(self.reload()),
            Request::End { order } => {
                known(self.seller.end(&self.order(&order)?), "no session of this order is live; its buyer is away")
            }
            Request::WriteOff { order } => {
                let order = self.order(&order)?;
                let written = self.seller.write_off(&order).await.map_err(|error| error.to_string())?;
                known(written, "the order does not wait for its buyer")
            }
        }
    }

    /// The order whose id begins so.
    fn order(&self, start: &str) -> Result<StatementId, String> {
        let all = self.seller.status().orders;
        let mut same = all.iter().map(|order| order.order).filter(|order| order.to_string().starts_with(start));
        match (same.next(), same.next()) {
            (Some(order), None) => Ok(order),
            (None, _) => Err(format!("there is no order {start}")),
            (Some(_), Some(_)) => Err(format!("several orders begin with {start}: write more of it")),
        }
    }

    fn rows(&self) -> Vec<Value> {
        let Status { since, products, connections, silent, orders, strangers, proven, totals } = self.seller.status();
        let mut rows = vec![json!({
            "kind": "seller", "since_ms": since.as_ms(), "connections": connections, "silent": silent,
            "messages": totals.messages, "bytes": totals.bytes, "windows": totals.windows, "skipped": totals.skipped,
        })];
        for (name, pool) in [("strangers", strangers), ("proven", proven)] {
            rows.push(json!({
                "kind": "pool", "name": name, "used": pool.used.to_string(), "limit": pool.limit.to_string(),
            }));
        }
        for product in products {
            rows.push(json!({
                "kind": "product", "topic": product.topic, "price": told(&product.price, symbol(&self.asset)),
                "paused": product.paused,
            }));
        }
        for order in orders.iter().filter(|order| order.state != OrderState::Over || order.owed > Amount::ZERO) {
            rows.push(json!({
                "kind": "order", "order": order.order.to_string(), "buyer": order.buyer.to_string(),
                "topic": order.topic, "state": format!("{:?}", order.state).to_lowercase(), "sent": order.sent,
                "due": order.due.to_string(), "paid": order.paid.to_string(), "owed": order.owed.to_string(),
                "skipped": order.skipped, "since_ms": order.since.as_ms(),
            }));
        }
        rows
    }

    /// Says what was sold, at the end.
    pub(super) fn farewell(&self) {
        let Status { totals, orders, .. } = self.seller.status();
        let unit = symbol(&self.asset);
        let paid = totals.paid.iter().find(|(asset, _)| **asset == self.asset).map_or(Amount::ZERO, |(_, paid)| *paid);
        eprintln!("sold {} messages for {paid} {unit}", totals.messages);
        let owing: Vec<_> = orders.iter().filter(|order| order.owed > Amount::ZERO).collect();
        for order in owing {
            eprintln!("order {} still owes {} {unit}: it goes on when its buyer comes back", order.order, order.owed);
        }
    }
}

/// How vouchers are taken by somebody who does not want to run the seller for it, as the end of a sentence.
fn take_now(option: &PayOption) -> &'static str {
    match rail_of(option) {
        Some(Rail::Evm) => ", or take them now with `sdpp wallet redeem --as seller`",
        Some(Rail::Voucher | Rail::Direct | Rail::Iota) | None => "",
    }
}

impl Running {
    /// Says what vouchers are still to bring: while nobody watches, a buyer can have its deposit back with them.
    pub(super) async fn unredeemed(&self) {
        let payees = self.shop().till.payees.clone();
        let mut sums: BTreeMap<(AssetId, &'static str), Amount> = BTreeMap::new();
        for payee in payees {
            let option = payee.option();
            let now = take_now(&option);
            // Whoever asks it to end does not wait for a place that is away.
            let Ok(Ok(found)) = tokio::time::timeout(LAST_LOOK, payee.outstanding()).await else {
                eprintln!(
                    "warning: nobody answered what vouchers by '{}' are not redeemed yet. A running seller takes them before \
                     a buyer's grace period ends: start it again in time{now}",
                    option.rail
                );
                continue;
            };
            let sum = sums.entry((option.asset, now)).or_insert(Amount::ZERO);
            *sum = found.iter().fold(*sum, |sum, one| sum.checked_add(one.amount).unwrap_or(Amount::MAX));
        }
        for ((asset, now), sum) in sums.iter().filter(|(_, sum)| !sum.is_zero()) {
            let unit = symbol(asset);
            eprintln!(
                "vouchers for {sum} {unit} are not redeemed: a running seller takes them before a buyer's grace period \
                 ends. Start it again in time{now}"
            );
        }
    }
}

impl Answers for Running {
    fn answer(&self, request: Request) -> Answer<'_> {
        Box::pin(self.obey(request))
    }
}
