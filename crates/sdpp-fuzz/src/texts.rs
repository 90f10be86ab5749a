//! What people write: addresses of products, the configuration file.

use sdpp::address::Address;
use sdpp::topic;
use sdpp_config::{AskedPrice, Config};

/// Addresses, topics of messages and filters of topics.
///
/// An address is written so that it is read as the same one; a message with a topic is split as it was joined.
pub(crate) fn address(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        if let Ok(address) = text.parse::<Address>() {
            let again = address.to_string();
            assert_eq!(again.parse(), Ok(address.clone()), "{text} is written as {again}");
            assert!(again.ends_with(&address.socket()) || address.topic.is_some());
        }
        if let Some((filter, name)) = text.split_once('\n')
            && topic::is_filter(filter)
            && topic::check(name).is_ok()
        {
            let plain = !filter.contains(['+', '#']);
            assert!(!plain || topic::matches(filter, name) == (filter == name));
        }
    }
    if let Ok((name, payload)) = topic::split(data) {
        let mut again = Vec::new();
        assert_eq!(topic::join(name, payload, &mut again), Ok(()));
        assert_eq!(again, data, "one message for this topic and payload");
    }
}

/// The text of a configuration file, and of a price.
///
/// What is accepted is complete: each product has a source of exactly one kind, and a price that can be asked.
pub(crate) fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(price) = text.parse::<AskedPrice>() {
        assert!(price.price.per > 0);
        assert_eq!(price.to_string().parse(), Ok(price), "a price is written as it is read");
    }
    let Ok(config) = Config::parse(text) else { return };
    for product in &config.products {
        let (name, source) = config.source_of(product).expect("it was checked");
        assert_eq!(config.sources.get(name), Some(source));
        assert!(source.kind() != "nothing" && product.price.price.per > 0);
        assert_eq!(config.products.iter().filter(|other| other.topic == product.topic).count(), 1);
    }
}
