//! What the calls cost. The bars are those of the project; `--nocapture` prints the figures.

use alloy::primitives::{Address, B256, U256};
use sdpp_evm::abi::{SdppChannels, SdppRecords};

use super::chain::{COIN, Chain, Done, TestUsd, amount, key, terms};

/// Open, redeem, close; for accounts that are new to the contract, and for those that have dealt with it before.
fn costs(token: impl Fn(&mut Chain) -> Address) -> [[u64; 3]; 2] {
    let mut chain = Chain::new();
    let token = token(&mut chain);
    [1, 2].map(|salt| {
        let terms = terms(token, salt);
        let id = chain.place().channel_id(&terms);
        let opened = chain.open(&terms, 1_000).unwrap();
        let redeem = SdppChannels::redeemCall { voucher: chain.voucher(&key(3), id, 300) };
        let redeemed = chain.call(&key(7), &redeem).unwrap();
        let close = SdppChannels::closeCall { last: chain.voucher(&key(3), id, 600) };
        let closed = chain.call(&key(2), &close).unwrap();
        for account in [1, 2] {
            let withdraw = SdppChannels::withdrawCall { token, account: key(account).address() };
            chain.call(&key(account), &withdraw).unwrap();
        }
        [opened, redeemed, closed].map(|Done { gas, .. }| gas)
    })
}

fn within(what: &str, [first, later]: [[u64; 3]; 2], bars: [u64; 3]) {
    for (index, name) in ["open", "redeem", "close"].into_iter().enumerate() {
        let (first, later, bar) = (first[index], later[index], bars[index]);
        println!("{what} {name}: {later} gas, bar {bar}; {first} the first time");
        assert!(later <= bar, "{what} {name}: {later} gas");
    }
}

#[test]
fn calls_cost_what_the_bars_allow() {
    within("native", costs(|_| COIN), [120_000, 55_000, 60_000]);
    within("token", costs(|chain| chain.deploy(&TestUsd::BYTECODE)), [160_000, 80_000, 70_000]);
    let mut chain = Chain::new();
    let records = chain.deploy(&SdppRecords::BYTECODE);
    let anchor = SdppRecords::anchorCall { digest: B256::repeat_byte(7) };
    let done = chain.call_at((key(1).address(), records), &anchor, U256::ZERO).unwrap();
    println!("anchor: {} gas, bar 25000", done.gas);
    assert!(done.gas <= 25_000);
    let event: SdppRecords::Anchored = done.event();
    assert_eq!((event.by, event.digest), (key(1).address(), B256::repeat_byte(7)));
}

#[test]
fn an_order_costs_two_transactions_however_many_windows_it_has() {
    let mut chain = Chain::new();
    let terms = terms(COIN, 1);
    let id = chain.place().channel_id(&terms);
    chain.open(&terms, 1_000).unwrap();
    // A thousand windows are vouchers off chain; the last one is worth all before it.
    let vouchers: Vec<_> = (1..=1_000).map(|total| chain.voucher(&key(3), id, total)).collect();
    let last = vouchers.last().unwrap().clone();
    chain.call(&key(2), &SdppChannels::closeCall { last }).unwrap();
    assert_eq!(chain.balance(COIN, &key(2)), amount(1_000));
}
