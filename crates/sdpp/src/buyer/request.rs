//! What to buy, and what it may cost.

use sdpp_proto::money::Amount;
use sdpp_proto::statement::{Form, PayOption, Product, RecordPolicy, Terms};

use super::BuyError;

/// What to buy.
#[derive(Clone, Debug)]
pub struct Request {
    /// Topic of the product.
    pub topic: String,
    /// Messages; none: open end.
    pub quantity: Option<u64>,
    /// Outstanding windows at most; the product may allow fewer.
    pub windows: u32,
    /// Most to owe; none: what the outstanding windows cost.
    pub exposure_max: Option<Amount>,
    /// Most to spend; none: what the quantity costs.
    pub limit: Option<Amount>,
    /// What is recorded.
    pub record: RecordPolicy,
    /// What somebody has seen and agreed to: nothing is ordered on other terms. None: whatever the menu
    /// says.
    pub agreed: Option<Box<Agreed>>,
}

impl Request {
    /// So many messages of a topic: with all the windows that the product allows, for what they cost
    /// by the menu's price, every span recorded where the buyer has records.
    pub fn new(topic: impl Into<String>, count: u64) -> Self {
        Self {
            topic: topic.into(),
            quantity: Some(count),
            windows: u32::MAX,
            exposure_max: None,
            limit: None,
            record: RecordPolicy { form: Form::Full, every: 1 },
            agreed: None,
        }
    }

    /// What an order asked for: the same again, on the same terms.
    pub(super) fn again(terms: &Terms) -> Self {
        let Terms { order, product, option, .. } = terms;
        Self {
            topic: product.topic.clone(),
            quantity: order.quantity,
            windows: order.windows,
            exposure_max: Some(order.exposure_max),
            limit: Some(order.limit),
            record: order.record,
            agreed: Some(Box::new(Agreed { product: product.clone(), option: option.clone() })),
        }
    }

    /// Messages without end, until so many base units are spent or the buyer stops.
    pub fn endless(topic: impl Into<String>, limit: Amount) -> Self {
        Self { quantity: None, limit: Some(limit), ..Self::new(topic, 0) }
    }
}

/// Terms that somebody has agreed to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Agreed {
    /// The product, its price above all.
    pub product: Product,
    /// The way to pay: asset, payee, grace and deadlines.
    pub option: PayOption,
}

impl Agreed {
    /// Whether a menu still offers this. Numbers, and how much is left, are no terms.
    pub(super) fn holds(&self, product: &Product, option: &PayOption) -> bool {
        Product { id: product.id, available: product.available, ..self.product.clone() } == *product
            && PayOption { id: option.id, ..self.option.clone() } == *option
    }
}

/// Exposure and limit of a request, by the product's price where the request names none.
pub(super) fn money_of(product: &Product, request: &Request, windows: u32) -> Result<(Amount, Amount), BuyError> {
    let exposure = request.exposure_max.or_else(|| product.exposure(windows)).ok_or(BuyError::Overflow)?;
    let limit = match (request.limit, request.quantity) {
        (Some(limit), _) => limit,
        (None, Some(quantity)) => product.cost(quantity).ok_or(BuyError::Overflow)?,
        (None, None) => return Err(BuyError::NotOffered("an open end without a spend limit".into())),
    };
    Ok((exposure, limit))
}

#[cfg(test)]
mod tests {
    use sdpp_proto::money::{Price, Unit};

    use super::*;

    fn product(unit: Unit) -> Product {
        Product::new("t", Price { unit, ..Price::per_message(2) })
    }

    #[test]
    fn what_is_not_said_follows_from_the_price() {
        let request = Request::new("t", 1000);
        let money = |unit, request: &Request| money_of(&product(unit), request, 2).unwrap();
        assert_eq!(money(Unit::Message, &request), (Amount::new(400), Amount::new(2_000)));
        let largest = 64 * 1024;
        assert_eq!(money(Unit::Byte, &request), (Amount::new(400 * largest), Amount::new(2_000 * largest)));
        let said = Request { exposure_max: Some(Amount::new(5)), ..Request::endless("t", Amount::new(70)) };
        assert_eq!(money(Unit::Second, &said), (Amount::new(5), Amount::new(70)));
    }

    #[test]
    fn nothing_is_ordered_without_a_bound_on_its_cost() {
        let timed = money_of(&product(Unit::Second), &Request::new("t", 10), 2);
        assert!(matches!(timed, Err(BuyError::Overflow)), "nobody knows how long ten messages take: {timed:?}");
        let open = Request { quantity: None, ..Request::new("t", 0) };
        assert!(money_of(&product(Unit::Message), &open, 2).is_err());
    }
}
