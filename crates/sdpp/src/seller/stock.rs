//! What is on sale, and the menu that says so. An order finds its product by topic, in its own menu:
//! numbers of products belong to one menu, topics to the seller.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError};

use sdpp_proto::identity::SigningKey;
use sdpp_proto::limits;
use sdpp_proto::seller::SellerConfig;
use sdpp_proto::statement::{Menu, PayOption, RecordOffer, Sample, SealKey, Signed};
use sdpp_proto::suite::{SealSecret, Suite};
use sdpp_proto::time::Timestamp;
use sdpp_rail::Payee;

use super::status::ProductStatus;
use super::{Offer, StartError};
use crate::entropy;
use crate::sync::{Mutex, MutexGuard};

/// What of a menu does not change while a seller runs.
pub(crate) struct House {
    pub(crate) key: SigningKey,
    /// Their order numbers the options, so it stays.
    pub(crate) payees: Vec<Arc<dyn Payee>>,
    pub(crate) records: RecordOffer,
}

struct Inner {
    /// The menu of new connections and its sealing keys. Sessions keep the one they began with.
    config: Arc<SellerConfig>,
    offers: Vec<Arc<Offer>>,
    /// Products that were taken off the menu: orders of them go on.
    retired: HashMap<String, Arc<Offer>>,
    /// The number of every topic that was ever on the menu of this run.
    ids: HashMap<String, u32>,
    paused: HashSet<String>,
}

/// What is on sale.
pub(crate) struct Stock {
    inner: Mutex<Inner>,
}

impl Stock {
    pub(crate) fn new(house: &House, offers: Vec<Offer>, now: Timestamp) -> Result<Self, StartError> {
        let mut ids = HashMap::new();
        let offers = numbered(offers, &mut ids)?;
        let config = Arc::new(make_config(house, &offers, now)?);
        let (retired, paused) = (HashMap::new(), HashSet::new());
        Ok(Self { inner: Mutex::new(Inner { config, offers, retired, ids, paused }) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Nothing panics while it is held.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The menu for a new connection. One that has lived half its time gives way to a new one with
    /// fresh sealing keys; the old keys are erased with the last session that has them.
    pub(crate) fn config(&self, house: &House, now: Timestamp) -> Result<Arc<SellerConfig>, StartError> {
        let mut inner = self.lock();
        if inner.config.menu.until.since_ms(now) < limits::MENU_LIFE_MS / 2 {
            inner.config = Arc::new(make_config(house, &inner.offers, now)?);
        }
        Ok(inner.config.clone())
    }

    /// Puts other offers on sale. After an error all is as before.
    pub(crate) fn reload(&self, house: &House, offers: Vec<Offer>, now: Timestamp) -> Result<(), StartError> {
        let mut inner = self.lock();
        let mut ids = inner.ids.clone();
        let offers = numbered(offers, &mut ids)?;
        inner.config = Arc::new(make_config(house, &offers, now)?);
        inner.ids = ids;
        let old = std::mem::replace(&mut inner.offers, offers);
        inner.retired.extend(old.into_iter().map(|offer| (offer.product.topic.clone(), offer)));
        let topics: HashSet<String> = inner.offers.iter().map(|offer| offer.product.topic.clone()).collect();
        inner.retired.retain(|topic, _| !topics.contains(topic));
        Ok(())
    }

    /// The offer of a topic that is on the menu, and whether it is paused.
    pub(crate) fn offered(&self, topic: &str) -> Option<(Arc<Offer>, bool)> {
        let inner = self.lock();
        let offer = inner.offers.iter().find(|offer| offer.product.topic == topic)?.clone();
        let paused = inner.paused.contains(topic);
        Some((offer, paused))
    }

    /// The offer of a topic that is, or was, on the menu: for orders that were accepted. One look at both:
    /// a reload moves offers between them.
    pub(crate) fn known(&self, topic: &str) -> Option<Arc<Offer>> {
        let inner = self.lock();
        let offered = inner.offers.iter().find(|offer| offer.product.topic == topic);
        offered.or_else(|| inner.retired.get(topic)).cloned()
    }

    /// Says whether the topic is on the menu.
    pub(crate) fn set_paused(&self, topic: &str, paused: bool) -> bool {
        let mut inner = self.lock();
        let offered = inner.offers.iter().any(|offer| offer.product.topic == topic);
        match (offered, paused) {
            (true, true) => drop(inner.paused.insert(topic.to_owned())),
            (_, false) => drop(inner.paused.remove(topic)),
            (false, true) => {}
        }
        offered
    }

    pub(crate) fn products(&self) -> Vec<ProductStatus> {
        let inner = self.lock();
        let status = |offer: &Arc<Offer>| ProductStatus {
            id: offer.product.id,
            topic: offer.product.topic.clone(),
            price: offer.product.price(),
            paused: inner.paused.contains(&offer.product.topic),
        };
        inner.offers.iter().map(status).collect()
    }
}

/// Gives every topic the number it had, else the one it asks for, else the next free one.
fn numbered(offers: Vec<Offer>, ids: &mut HashMap<String, u32>) -> Result<Vec<Arc<Offer>>, StartError> {
    if offers.is_empty() {
        return Err(StartError::Settings("a seller needs a product"));
    }
    let mut seen = HashSet::new();
    if !offers.iter().all(|offer| seen.insert(offer.product.topic.clone())) {
        return Err(StartError::Settings("two products have one topic: give each its own"));
    }
    let number = |mut offer: Offer| {
        let id = match ids.get(&offer.product.topic) {
            Some(id) => *id,
            None => {
                let taken: HashSet<u32> = ids.values().copied().collect();
                let wanted = std::iter::once(offer.product.id).chain(1..=u32::MAX);
                wanted.into_iter().find(|id| !taken.contains(id)).unwrap_or_default()
            }
        };
        ids.insert(offer.product.topic.clone(), id);
        offer.product.id = id;
        Arc::new(offer)
    };
    Ok(offers.into_iter().map(number).collect())
}

fn make_config(house: &House, offers: &[Arc<Offer>], now: Timestamp) -> Result<SellerConfig, StartError> {
    let mut seal = Vec::new();
    let mut seals = Vec::new();
    for suite in Suite::ALL {
        let (secret, public) = SealSecret::derive(suite, &entropy::draw().map_err(StartError::NoEntropy)?);
        seals.push(secret);
        seal.push(SealKey { suite, public });
    }
    let seller = house.key.public();
    let options: Vec<PayOption> =
        (1u16..).zip(&house.payees).map(|(id, payee)| PayOption { id, ..payee.option() }).collect();
    let asset = options.first().map(|option| option.asset.clone());
    let menu = Menu {
        seller,
        until: now.after_ms(limits::MENU_LIFE_MS),
        seal,
        records: house.records.clone(),
        default_currency: asset.ok_or(StartError::Settings("a seller needs a way to be paid"))?,
        options,
        products: offers.iter().map(|offer| offer.product.clone()).collect(),
    };
    let menu = Signed::sign(&house.key, menu);
    // What this seller would refuse from others, it does not say itself.
    let menu = Signed::parse(menu.bytes())
        .map_err(|_| StartError::Settings("a product or payment option is outside its limits"))?;
    let sampled = offers.iter().filter(|offer| offer.product.sample);
    let samples = sampled.map(|offer| {
        let topic = offer.product.topic.clone();
        Signed::sign(&house.key, Sample { seller, topic, messages: offer.sample.clone() })
    });
    Ok(SellerConfig { key: house.key.clone(), samples: samples.collect(), menu, seals })
}
