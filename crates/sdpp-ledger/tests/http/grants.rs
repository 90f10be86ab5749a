//! Money for trials.

use sdpp_ledger::http::{DevGrant, ServerConfig};
use sdpp_ledger::{Refusal, ServiceError};
use sdpp_proto::money::Amount;

use crate::common::*;
use crate::kit::*;

fn grant(amount: u128) -> DevGrant {
    DevGrant { key: test_key(9), symbol: "uUSD".to_owned(), amount: Amount::new(amount) }
}

#[test]
fn trial_money_comes_once_and_only_where_it_is_offered() {
    let without = World::new();
    let path = format!("/v1/dev/grant?account={}", public(1));
    assert_eq!(post(without.address(), &path, "text/plain", b"").problem(), (404, "not-found".to_owned()));
    assert_eq!(without.get(&path).problem(), (404, "not-found".to_owned()));
    assert_eq!(block_on(without.http().grant(&public(1))), Ok(None));
    assert_eq!(block_on(without.http().trial()), Ok(None));

    let world = World::with(ServerConfig { grant: Some(grant(500)), ..ServerConfig::default() });
    assert_eq!(block_on(world.http().trial()), Ok(Some((grant(500).asset(), Amount::new(500)))));
    for bad in ["/v1/dev/grant", "/v1/dev/grant?account=z6Mk", "/v1/dev/grant?account=1&amount=2"] {
        assert_eq!(post(world.address(), bad, "text/plain", b"").problem(), (400, "bad-request".to_owned()), "{bad}");
    }
    let told = post(world.address(), &path, "text/plain", b"").json();
    assert_eq!((told["amount"].as_str(), told["index"].as_u64()), (Some("500"), Some(1)), "a tick stands before it");
    assert_eq!(told["asset"], grant(500).asset().as_str());
    let http = world.http();
    let again = block_on(http.grant(&public(1))).unwrap().unwrap();
    assert_eq!(again.index, 1);
    assert_eq!(again.id.to_string(), told["id"].as_str().unwrap());
    assert_ne!(block_on(http.grant(&public(2))).unwrap().unwrap().index, 1);

    let client = world.client();
    let asset = grant(500).asset();
    let seen = block_on(client.fresh(|fold| Ok((fold.balances_of(&public(1))?, fold.issued(&asset)?)))).unwrap();
    assert_eq!(seen, (vec![(asset, Amount::new(500))], Amount::new(1000)));
}

#[test]
fn another_amount_does_not_grant_again() {
    let ledger = fresh_ledger();
    let runtime = runtime();
    let served = |amount| {
        let config = ServerConfig { grant: Some(grant(amount)), ..ServerConfig::default() };
        serve(&runtime, std::sync::Arc::new(ledger.clone()), config)
    };
    let (first, second) = (served(500), served(600));
    let ask = |server: &sdpp_ledger::http::Server| block_on(http(&runtime, server.local_addr()).grant(&public(1)));
    assert!(ask(&first).unwrap().is_some());
    assert_eq!(ask(&second), Err(ServiceError::Refused(Refusal::IssueReferenceUsed)));
}
