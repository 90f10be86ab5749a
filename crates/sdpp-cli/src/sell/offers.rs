//! Products of the configuration as the library offers them.

use std::path::Path;
use std::sync::Arc;

use sdpp::seller::{MakeSource, Offer};
use sdpp::source;
use sdpp_proto::limits;
use sdpp_proto::money::{Amount, Unit};
use sdpp_proto::statement::{Product, Signing, Stalled};

use crate::config::{self, Config};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;

/// A window ends after so long unless something else is said: slow streams are paid for too.
const WINDOW_MS: u64 = 1_000;
/// Largest message unless something else is said.
const MESSAGE_MAX: u32 = 64 * 1024;

/// All products, with their sources.
pub(super) fn offers(config: &Config) -> Result<Vec<Offer>, Failure> {
    (1..).zip(&config.products).map(|(id, product)| offer(config, id, product)).collect()
}

fn offer(config: &Config, id: u32, asked: &config::Product) -> Result<Offer, Failure> {
    let wrong = |what: String| failed(Exit::Usage, format!("product '{}': {what}", asked.topic));
    let (_, source) = config.source_of(asked).map_err(wrong)?;
    let product = product(id, asked, source);
    let exposure_max = asked.limits.exposure.or_else(|| worst(&product)).ok_or_else(|| {
        wrong("what its windows cost does not fit an amount: a smaller price, k or windows".to_owned())
    })?;
    let (source, sample) = (maker(asked, source)?, Vec::new());
    Ok(Offer { product, source, exposure_max, sample })
}

fn product(id: u32, asked: &config::Product, source: &config::Source) -> Product {
    let price = asked.price.0;
    let limits = &asked.limits;
    Product {
        id,
        topic: asked.topic.clone(),
        schema: asked.schema.clone().unwrap_or_default(),
        unit: price.unit,
        amount: price.amount,
        per: price.per,
        available: None,
        k: asked.k,
        window_ms: limits.window_time.unwrap_or(WINDOW_MS),
        window_bytes: limits.window_bytes.unwrap_or(0),
        message_max: limits.message_max.unwrap_or(MESSAGE_MAX).min(limits::MESSAGE_MAX),
        windows_max: asked.windows,
        signing: if asked.sign_messages { Signing::Message } else { Signing::Window },
        acks: false,
        when_stalled: if asked.skip_when_stalled { Stalled::Skip } else { Stalled::Buffer },
        sample: asked.sample > 0 && source.is_replayed(),
        cadence_ms: limits.cadence,
        licence: asked.licence.clone(),
    }
}

/// What the outstanding windows cost at most.
fn worst(product: &Product) -> Option<Amount> {
    let windows = u64::from(product.windows_max);
    let messages = u64::from(product.k).checked_mul(windows)?;
    let units = match product.unit {
        Unit::Message => messages,
        Unit::Byte => messages.checked_mul(u64::from(product.message_max))?,
        Unit::Second => product.window_ms.checked_mul(windows)?,
    };
    product.price().due(units)
}

fn maker(asked: &config::Product, source: &config::Source) -> Result<MakeSource, Failure> {
    let wrong = |what: &str| failed(Exit::Usage, format!("product '{}': {what}", asked.topic));
    let path = source.file.clone().ok_or_else(|| wrong("this kind of source is not there yet"))?;
    readable(&path)?;
    let rate = source.rate;
    Ok(Arc::new(move |_| Ok(Box::new(source::Lines::open(&path, rate, None)?))))
}

/// A file that is not there is noticed now, and not by the first buyer.
fn readable(path: &Path) -> Result<(), Failure> {
    let opened = std::fs::File::open(path).and_then(|file| file.metadata());
    match opened {
        Ok(meta) if meta.is_file() => Ok(()),
        Ok(_) => Err(failed(Exit::Data, format!("{} is no file", path.display()))),
        Err(error) => Err(failed(Exit::Data, format!("{}: {error}; see --from", path.display()))),
    }
}
