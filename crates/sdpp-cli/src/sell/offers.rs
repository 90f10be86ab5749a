//! Products of the configuration as the library offers them.

use sdpp::seller::Offer;
use sdpp_proto::limits;
use sdpp_proto::statement::{Product, Signing, Stalled};

use crate::config::{self, Config};
use crate::exit::{Exit, failed};
use crate::ledger::Failure;
use crate::sell::sources::{self, Sources};

/// All products, with their sources. Inside a runtime.
pub(super) fn offers(config: &Config, sources: &mut Sources) -> Result<Vec<Offer>, Failure> {
    let offers = (1..).zip(&config.products).map(|(id, product)| offer(config, sources, id, product));
    let offers = offers.collect::<Result<_, _>>()?;
    sources.keep(config);
    Ok(offers)
}

fn offer(config: &Config, sources: &mut Sources, id: u32, asked: &config::Product) -> Result<Offer, Failure> {
    let wrong = |what: String| failed(Exit::Usage, format!("product '{}': {what}", asked.topic));
    let (name, source) = config.source_of(asked).map_err(wrong)?;
    let sample = sources::sample(source, asked, asked.sample)?;
    let mut product = product(id, asked, source);
    product.sample = !sample.is_empty();
    let exposure_max = asked.limits.exposure.or_else(|| product.exposure(product.windows_max)).ok_or_else(|| {
        wrong("what its windows cost does not fit an amount: a smaller price, k or windows".to_owned())
    })?;
    let source = sources.maker((name, source), asked, &product)?;
    Ok(Offer { product, source, exposure_max, sample })
}

fn product(id: u32, asked: &config::Product, source: &config::Source) -> Product {
    let limits = &asked.limits;
    Product {
        id,
        schema: asked.schema.clone().unwrap_or_else(|| usual_schema(source).to_owned()),
        k: asked.k,
        window_ms: limits.window_time.unwrap_or(Product::WINDOW_MS),
        window_bytes: limits.window_bytes.unwrap_or(0),
        message_max: limits.message_max.unwrap_or(Product::MESSAGE_MAX).min(limits::MESSAGE_MAX),
        windows_max: asked.windows,
        signing: if asked.sign_messages { Signing::Message } else { Signing::Window },
        when_stalled: if asked.skip_when_stalled { Stalled::Skip } else { Stalled::Buffer },
        cadence_ms: limits.cadence,
        licence: asked.licence.clone(),
        ..Product::new(asked.topic.clone(), asked.price.price)
    }
}

/// What a message of this source looks like, unless something else is said. A broker's keeps its topic.
const fn usual_schema(source: &config::Source) -> &'static str {
    match source.mqtt {
        Some(_) => sdpp::topic::SCHEMA,
        None => "",
    }
}
