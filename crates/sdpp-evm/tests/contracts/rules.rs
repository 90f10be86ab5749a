//! One test a rule.

use alloy::primitives::{Address, B256, Bytes, U256};
use alloy::signers::local::PrivateKeySigner;
use alloy::sol_types::{Eip712Domain, SolCall as _, SolStruct};
use sdpp_evm::abi::SdppChannels::{self as c, Terms, Voucher};
use sdpp_evm::typed::{self, Place};

use super::chain::{
    CHAIN, CLOSED, COIN, COINS, Chain, GRACE, Reverted, TestUsd, UNUSED, amount, key, sign_digest, terms,
};

alloy::sol!(
    #[allow(missing_docs)]
    TestFeeToken,
    "../../contracts/artifacts/TestFeeToken.json"
);
alloy::sol!(
    #[allow(missing_docs)]
    TestFalseToken,
    "../../contracts/artifacts/TestFalseToken.json"
);
alloy::sol!(
    #[allow(missing_docs)]
    TestHookToken,
    "../../contracts/artifacts/TestHookToken.json"
);

/// With one open channel of 1,000 coins.
fn with_channel() -> (Chain, Terms, B256) {
    let mut chain = Chain::new();
    let terms = terms(COIN, 1);
    let id = chain.place().channel_id(&terms);
    chain.open(&terms, 1_000).unwrap();
    (chain, terms, id)
}

fn redeem(chain: &mut Chain, voucher: Voucher) -> Result<(), Reverted> {
    chain.call(&key(9), &c::redeemCall { voucher }).map(|_| ())
}

/// A close of the payee's without a voucher.
fn nothing(id: B256) -> Voucher {
    let (cumulative, messages, commitment) = (U256::ZERO, 0, B256::ZERO);
    Voucher { channelId: id, cumulative, messages, commitment, signature: Bytes::new() }
}

#[test]
fn ids_and_digests_are_those_of_the_contract() {
    let (mut chain, terms, id) = with_channel();
    let (at, place) = (chain.channels, chain.place());
    assert_eq!(chain.look(at, &c::idOfCall { terms }), id);
    let (messages, commitment) = (17, B256::repeat_byte(5));
    let voucher = typed::Voucher { channelId: id, cumulative: amount(500), messages, commitment };
    let digest = c::voucherDigestCall { id, cumulative: amount(500), messages, commitment };
    assert_eq!(chain.look(at, &digest), place.digest(&voucher));
    let domain: c::eip712DomainReturn = chain.look(at, &c::eip712DomainCall {});
    let said = Eip712Domain::new(
        Some(domain.name.into()),
        Some(domain.version.into()),
        Some(domain.chainId),
        Some(domain.verifyingContract),
        None,
    );
    assert_eq!(said, place.domain());
}

#[test]
fn a_voucher_pays_the_payee_whoever_sends_it_and_once() {
    let (mut chain, _, id) = with_channel();
    let voucher = chain.voucher(&key(3), id, 300);
    redeem(&mut chain, voucher.clone()).unwrap();
    assert_eq!(chain.balance(COIN, &key(2)), amount(300));
    // Again, and a lower one.
    redeem(&mut chain, voucher).unwrap();
    let lower = chain.voucher(&key(3), id, 299);
    redeem(&mut chain, lower).unwrap();
    assert_eq!(chain.balance(COIN, &key(2)), amount(300));
    let higher = chain.voucher(&key(3), id, 1_000);
    redeem(&mut chain, higher).unwrap();
    assert_eq!(chain.balance(COIN, &key(2)), amount(1_000));
    assert_eq!((chain.balance(COIN, &key(9)), chain.channel(id).redeemed.to::<u64>()), (U256::ZERO, 1_000));
}

#[test]
fn no_voucher_is_worth_more_than_the_deposit() {
    let (mut chain, _, id) = with_channel();
    for cumulative in [1_001, u64::MAX] {
        let voucher = chain.voucher(&key(3), id, cumulative);
        assert!(redeem(&mut chain, voucher).unwrap_err().is::<c::AboveDeposit>());
    }
}

#[test]
fn a_voucher_of_another_signer_channel_chain_or_contract_is_refused() {
    let (mut chain, mut terms, id) = with_channel();
    terms.salt = B256::repeat_byte(2);
    let other = chain.place().channel_id(&terms);
    chain.open(&terms, 1_000).unwrap();
    // The payer, the payee and a stranger are no signers.
    for stranger in [1, 2, 9] {
        let voucher = chain.voucher(&key(stranger), id, 300);
        assert!(redeem(&mut chain, voucher).unwrap_err().is::<c::BadSignature>());
    }
    let moved = Voucher { channelId: id, ..chain.voucher(&key(3), other, 300) };
    assert!(redeem(&mut chain, moved).unwrap_err().is::<c::BadSignature>());
    let Place { contract, .. } = chain.place();
    for place in [Place { chain: CHAIN + 1, contract }, Place { chain: CHAIN, contract: key(5).address() }] {
        let good = chain.voucher(&key(3), id, 300);
        let (cumulative, messages, commitment) = (good.cumulative, good.messages, good.commitment);
        let statement = typed::Voucher { channelId: id, cumulative, messages, commitment };
        let signature = sign_digest(&key(3), place.digest(&statement));
        assert!(redeem(&mut chain, Voucher { signature, ..good }).unwrap_err().is::<c::BadSignature>());
    }
    assert_eq!(chain.balance(COIN, &key(2)), U256::ZERO);
}

#[test]
fn every_field_of_a_voucher_is_signed() {
    let (mut chain, _, id) = with_channel();
    let good = chain.voucher(&key(3), id, 300);
    let mut changed = vec![
        Voucher { cumulative: amount(301), ..good.clone() },
        Voucher { messages: good.messages + 1, ..good.clone() },
        Voucher { commitment: B256::repeat_byte(8), ..good.clone() },
        Voucher { signature: Bytes::new(), ..good.clone() },
        Voucher { signature: good.signature[..64].to_vec().into(), ..good.clone() },
    ];
    for byte in 0..good.signature.len() {
        let mut signature = good.signature.to_vec();
        signature[byte] ^= 1;
        changed.push(Voucher { signature: signature.into(), ..good.clone() });
    }
    for voucher in changed {
        assert!(redeem(&mut chain, voucher).unwrap_err().is::<c::BadSignature>());
    }
    redeem(&mut chain, good).unwrap();
}

#[test]
fn a_closed_channel_never_opens_again() {
    let (mut chain, terms, id) = with_channel();
    let old = chain.voucher(&key(3), id, 700);
    chain.call(&key(2), &c::closeCall { last: chain.voucher(&key(3), id, 100) }).unwrap();
    assert!(chain.open(&terms, 1_000).unwrap_err().is::<c::AlreadyUsed>());
    assert!(redeem(&mut chain, old).unwrap_err().is::<c::NotOpen>());
    let channel = chain.channel(id);
    assert_eq!((channel.state, channel.redeemed.to::<u64>()), (CLOSED, 100));
    assert_eq!((chain.balance(COIN, &key(1)), chain.balance(COIN, &key(2))), (amount(900), amount(100)));
}

#[test]
fn one_payers_close_does_not_hold_up_the_redemption_of_others() {
    let (mut chain, mut terms, id) = with_channel();
    terms.salt = B256::repeat_byte(2);
    let other = chain.place().channel_id(&terms);
    chain.open(&terms, 1_000).unwrap();
    let vouchers = vec![chain.voucher(&key(3), id, 300), chain.voucher(&key(3), other, 400)];
    chain.call(&key(2), &c::closeCall { last: nothing(id) }).unwrap();
    chain.call(&key(9), &c::redeemManyCall { vouchers }).unwrap();
    assert_eq!(chain.balance(COIN, &key(2)), amount(400));
}

#[test]
fn a_payer_has_the_rest_back_alone_after_the_grace_period_and_not_before() {
    let (mut chain, _, id) = with_channel();
    let finish = c::finishCloseCall { id };
    assert!(chain.call(&key(1), &finish).unwrap_err().is::<c::NoCloseRequested>());
    for stranger in [2, 3, 9] {
        assert!(chain.call(&key(stranger), &c::requestCloseCall { id }).unwrap_err().is::<c::NotAllowed>());
    }
    let asked: c::CloseRequested = chain.call(&key(1), &c::requestCloseCall { id }).unwrap().event();
    assert_eq!(asked.closeAt, U256::from(chain.now + u64::from(GRACE)));
    assert!(chain.call(&key(1), &c::requestCloseCall { id }).unwrap_err().is::<c::ClosePending>());
    chain.now += u64::from(GRACE) - 1;
    assert!(chain.call(&key(1), &finish).unwrap_err().is::<c::GraceNotOver>());
    // The payee's last chance.
    let voucher = chain.voucher(&key(3), id, 250);
    redeem(&mut chain, voucher).unwrap();
    chain.now += 1;
    chain.call(&key(9), &finish).unwrap();
    let before = chain.coins(key(1).address());
    chain.call(&key(9), &c::withdrawCall { token: COIN, account: key(1).address() }).unwrap();
    assert_eq!(chain.coins(key(1).address()) - before, amount(750));
    assert_eq!(chain.balance(COIN, &key(2)), amount(250));
}

#[test]
fn a_deposit_grows_but_not_while_a_close_is_pending() {
    let (mut chain, _, id) = with_channel();
    let top_up = c::topUpCall { id, amount: amount(500), fromBalance: U256::ZERO };
    let at = (key(9).address(), chain.channels);
    assert!(chain.call_at(at, &top_up, amount(499)).unwrap_err().is::<c::BadAmount>());
    chain.call_at(at, &top_up, amount(500)).unwrap();
    assert_eq!(chain.channel(id).deposit.to::<u64>(), 1_500);
    chain.call(&key(1), &c::requestCloseCall { id }).unwrap();
    assert!(chain.call_at(at, &top_up, amount(500)).unwrap_err().is::<c::ClosePending>());
}

#[test]
fn only_the_payee_closes_at_once_and_a_relayed_close_brings_it_what_it_signed_for() {
    let (mut chain, _, id) = with_channel();
    for stranger in [1, 3, 9] {
        assert!(chain.call(&key(stranger), &c::closeCall { last: nothing(id) }).unwrap_err().is::<c::NotAllowed>());
    }
    let consent = chain.sign(&key(2), &typed::Close { channelId: id, redeemed: amount(600) });
    let close = |last: Voucher, redeemed: u64, consent: &Bytes| c::closeForCall {
        last,
        redeemed: amount(redeemed),
        consent: consent.clone(),
    };
    // Whoever relays it takes an older voucher, or none, or says that less was signed for.
    let (old, last) = (chain.voucher(&key(3), id, 599), chain.voucher(&key(3), id, 600));
    assert!(chain.call(&key(1), &close(old.clone(), 600, &consent)).unwrap_err().is::<c::BadAmount>());
    assert!(chain.call(&key(1), &close(nothing(id), 600, &consent)).unwrap_err().is::<c::BadAmount>());
    assert!(chain.call(&key(1), &close(old, 599, &consent)).unwrap_err().is::<c::BadSignature>());
    chain.call(&key(1), &close(last, 600, &consent)).unwrap();
    assert_eq!((chain.balance(COIN, &key(1)), chain.balance(COIN, &key(2))), (amount(400), amount(600)));
}

#[test]
fn a_relayed_wish_to_close_is_the_payers() {
    let (mut chain, _, id) = with_channel();
    let wish = typed::RequestClose { channelId: id };
    for stranger in [2, 3, 9] {
        let consent = chain.sign(&key(stranger), &wish);
        assert!(chain.call(&key(9), &c::requestCloseForCall { id, consent }).unwrap_err().is::<c::BadSignature>());
    }
    let consent = chain.sign(&key(1), &wish);
    chain.call(&key(9), &c::requestCloseForCall { id, consent }).unwrap();
    assert!(chain.channel(id).closeAt.to::<u64>() > 0);
}

#[test]
fn what_a_channel_left_opens_the_next_one() {
    let (mut chain, mut terms, id) = with_channel();
    chain.call(&key(2), &c::closeCall { last: chain.voucher(&key(3), id, 100) }).unwrap();
    terms.salt = B256::repeat_byte(2);
    let at = (key(1).address(), chain.channels);
    let open = |all, kept| c::openCall { terms: terms.clone(), amount: amount(all), fromBalance: amount(kept) };
    assert!(chain.call_at(at, &open(1_000, 901), amount(99)).unwrap_err().is::<c::BadAmount>());
    assert!(chain.call_at(at, &open(800, 900), U256::ZERO).unwrap_err().is::<c::BadAmount>());
    chain.call_at(at, &open(1_000, 900), amount(100)).unwrap();
    assert_eq!(chain.balance(COIN, &key(1)), U256::ZERO);
    assert_eq!(chain.channel(chain.place().channel_id(&terms)).deposit.to::<u64>(), 1_000);
}

#[test]
fn terms_that_lock_money_up_are_refused() {
    let mut chain = Chain::new();
    let good = terms(COIN, 1);
    let zero = Address::ZERO;
    let bad = [
        Terms { payee: zero, ..good.clone() },
        Terms { signer: zero, ..good.clone() },
        Terms { grace: 90 * 24 * 3_600 + 1, ..good.clone() },
    ];
    for terms in bad {
        assert!(chain.open(&terms, 1_000).unwrap_err().is::<c::BadTerms>());
    }
    assert!(chain.open(&good, 0).unwrap_err().is::<c::BadAmount>());
    // Somebody else's channel.
    let open = c::openCall { terms: good, amount: amount(5), fromBalance: U256::ZERO };
    let at = (key(9).address(), chain.channels);
    assert!(chain.call_at(at, &open, amount(5)).unwrap_err().is::<c::NotAllowed>());
}

/// The domain and the statement of a token that somebody signs for.
fn of_token(chain: &mut Chain, token: Address, key: &PrivateKeySigner, statement: &impl SolStruct) -> Bytes {
    let said = chain.look(token, &TestUsd::eip712DomainCall {});
    let domain = Eip712Domain::new(
        Some(said.name.into()),
        Some(said.version.into()),
        Some(said.chainId),
        Some(said.verifyingContract),
        None,
    );
    sign_digest(key, statement.eip712_signing_hash(&domain))
}

fn parts(signature: &Bytes) -> (u8, B256, B256) {
    (signature[64], B256::from_slice(&signature[..32]), B256::from_slice(&signature[32..64]))
}

alloy::sol! {
    struct ReceiveWithAuthorization {
        address from;
        address to;
        uint256 value;
        uint256 validAfter;
        uint256 validBefore;
        bytes32 nonce;
    }
    struct Permit {
        address owner;
        address spender;
        uint256 value;
        uint256 nonce;
        uint256 deadline;
    }
}

#[test]
fn a_payer_without_coins_opens_and_tops_up_by_authorizations() {
    let mut chain = Chain::new();
    let token = chain.deploy(&TestUsd::BYTECODE);
    let terms = terms(token, 1);
    let (payer, id, at) = (key(1), chain.place().channel_id(&terms), chain.channels);
    let mint = TestUsd::mintCall { to: payer.address(), amount: amount(5_000) };
    chain.call_at((payer.address(), token), &mint, U256::ZERO).unwrap();
    let authorization = |value, nonce| ReceiveWithAuthorization {
        from: payer.address(),
        to: at,
        value: amount(value),
        validAfter: U256::ZERO,
        validBefore: amount(2_000_000_000),
        nonce,
    };
    let signature = of_token(&mut chain, token, &payer, &authorization(1_000, id));
    let (v, r, s) = parts(&signature);
    let (valid_after, valid_before) = (U256::ZERO, amount(2_000_000_000));
    let open = |terms: &Terms, value| c::openWithAuthorizationCall {
        terms: terms.clone(),
        amount: amount(value),
        validAfter: valid_after,
        validBefore: valid_before,
        v,
        r,
        s,
    };
    // Whoever relays it changes nothing: not the payee, not the signer, not the amount.
    let stolen = Terms { payee: key(9).address(), ..terms.clone() };
    assert!(chain.call(&key(9), &open(&stolen, 1_000)).is_err());
    assert!(chain.call(&key(9), &open(&Terms { signer: key(9).address(), ..terms.clone() }, 1_000)).is_err());
    assert!(chain.call(&key(9), &open(&terms, 999)).is_err());
    chain.call(&key(9), &open(&terms, 1_000)).unwrap();
    assert!(chain.call(&key(9), &open(&terms, 1_000)).unwrap_err().is::<c::AlreadyUsed>());

    let salt = B256::repeat_byte(4);
    let nonce = chain.look(at, &c::topUpNonceCall { id, salt });
    let (v, r, s) = parts(&of_token(&mut chain, token, &payer, &authorization(500, nonce)));
    let (from, amount_) = (payer.address(), amount(500));
    let top_up = c::topUpWithAuthorizationCall {
        id,
        from,
        amount: amount_,
        salt,
        validAfter: valid_after,
        validBefore: valid_before,
        v,
        r,
        s,
    };
    chain.call(&key(9), &top_up).unwrap();
    assert!(chain.call(&key(9), &top_up).is_err(), "used");
    assert_eq!(chain.channel(id).deposit.to::<u64>(), 1_500);
}

#[test]
fn a_payer_without_coins_opens_by_a_permit_and_its_consent() {
    let mut chain = Chain::new();
    let token = chain.deploy(&TestUsd::BYTECODE);
    let terms = terms(token, 1);
    let (payer, id, at) = (key(1), chain.place().channel_id(&terms), chain.channels);
    let mint = TestUsd::mintCall { to: payer.address(), amount: amount(5_000) };
    chain.call_at((payer.address(), token), &mint, U256::ZERO).unwrap();
    let deadline = amount(2_000_000_000);
    let permit = Permit { owner: payer.address(), spender: at, value: amount(1_000), nonce: U256::ZERO, deadline };
    let (v, r, s) = parts(&of_token(&mut chain, token, &payer, &permit));
    let consent = chain.sign(&payer, &typed::Open { channelId: id, amount: amount(1_000) });
    let open = |terms: &Terms, consent: &Bytes| c::openWithPermitCall {
        terms: terms.clone(),
        amount: amount(1_000),
        deadline,
        v,
        r,
        s,
        consent: consent.clone(),
    };
    // A permit alone says nothing about whom the money is for.
    let stolen = Terms { payee: key(9).address(), ..terms.clone() };
    assert!(chain.call(&key(9), &open(&stolen, &consent)).unwrap_err().is::<c::BadSignature>());
    let forged = chain.sign(&key(9), &typed::Open { channelId: id, amount: amount(1_000) });
    assert!(chain.call(&key(9), &open(&terms, &forged)).unwrap_err().is::<c::BadSignature>());
    // Somebody sends the permit first, to be in the way.
    let first = TestUsd::permitCall { owner: payer.address(), spender: at, value: amount(1_000), deadline, v, r, s };
    chain.call_at((key(9).address(), token), &first, U256::ZERO).unwrap();
    chain.call(&key(9), &open(&terms, &consent)).unwrap();
    assert_eq!(chain.channel(id).deposit.to::<u64>(), 1_000);
}

#[test]
fn of_a_token_that_keeps_a_fee_counts_what_came() {
    let mut chain = Chain::new();
    let token = chain.deploy(&TestFeeToken::BYTECODE);
    let terms = terms(token, 1);
    let id = chain.place().channel_id(&terms);
    chain.open(&terms, 1_000).unwrap();
    assert_eq!(chain.channel(id).deposit.to::<u64>(), 990);
    chain.call(&key(2), &c::closeCall { last: chain.voucher(&key(3), id, 990) }).unwrap();
    chain.call(&key(2), &c::withdrawCall { token, account: key(2).address() }).unwrap();
    let at = chain.channels;
    assert_eq!(chain.look(token, &TestFeeToken::balanceOfCall { account: at }), U256::ZERO);
}

#[test]
fn a_token_that_answers_false_brings_nothing() {
    let mut chain = Chain::new();
    let token = chain.deploy(&TestFalseToken::BYTECODE);
    let terms = terms(token, 1);
    // Approved and not owned.
    let approve = TestFalseToken::approveCall { spender: chain.channels, amount: U256::MAX };
    chain.call_at((key(1).address(), token), &approve, U256::ZERO).unwrap();
    let open = c::openCall { terms: terms.clone(), amount: amount(1_000), fromBalance: U256::ZERO };
    assert!(chain.call(&key(1), &open).is_err());
    assert_eq!(chain.channel(chain.place().channel_id(&terms)).state, UNUSED);
}

#[test]
fn a_token_that_calls_back_gets_nowhere() {
    let mut chain = Chain::new();
    let token = chain.deploy(&TestHookToken::BYTECODE);
    let terms = terms(token, 1);
    let (id, at) = (chain.place().channel_id(&terms), chain.channels);
    let again = c::topUpCall { id, amount: amount(10), fromBalance: U256::ZERO }.abi_encode();
    let withdraw = c::withdrawCall { token, account: key(2).address() }.abi_encode();
    let voucher = chain.voucher(&key(3), id, 500);
    let redeem_call = c::redeemCall { voucher: voucher.clone() }.abi_encode();
    let hook = |chain: &mut Chain, target, call: &[u8]| {
        let hook = TestHookToken::hookCall { target, call: call.to_vec().into() };
        chain.call_at((key(9).address(), token), &hook, U256::ZERO).unwrap();
    };
    for call in [&again, &redeem_call] {
        hook(&mut chain, at, call);
    }
    chain.open(&terms, 1_000).unwrap();
    redeem(&mut chain, voucher).unwrap();
    hook(&mut chain, at, &withdraw);
    chain.call(&key(2), &c::withdrawCall { token, account: key(2).address() }).unwrap();
    assert!(chain.look(token, &TestHookToken::callsCall {}) >= amount(2));
    assert_eq!(chain.look(token, &TestHookToken::successesCall {}), U256::ZERO);
    assert_eq!(chain.look(token, &TestHookToken::balanceOfCall { account: key(2).address() }), amount(500));
}

#[test]
fn an_account_that_refuses_money_holds_nobody_up() {
    let mut chain = Chain::new();
    // A contract without a way to be paid.
    let refuser = chain.deploy(&TestUsd::BYTECODE);
    let terms = Terms { payee: refuser, ..terms(COIN, 1) };
    let id = chain.place().channel_id(&terms);
    chain.open(&terms, 1_000).unwrap();
    let voucher = chain.voucher(&key(3), id, 400);
    redeem(&mut chain, voucher).unwrap();
    chain.call(&key(1), &c::requestCloseCall { id }).unwrap();
    chain.now += u64::from(GRACE);
    chain.call(&key(1), &c::finishCloseCall { id }).unwrap();
    chain.call(&key(1), &c::withdrawCall { token: COIN, account: key(1).address() }).unwrap();
    assert_eq!(chain.coins(key(1).address()), U256::from(COINS) - amount(400));
    assert!(chain.call(&key(9), &c::withdrawCall { token: COIN, account: refuser }).is_err());
}

#[test]
fn nobody_withdraws_what_is_anothers() {
    let (mut chain, _, id) = with_channel();
    let voucher = chain.voucher(&key(3), id, 300);
    redeem(&mut chain, voucher).unwrap();
    let take = |value| c::withdrawToCall { token: COIN, to: key(9).address(), amount: amount(value) };
    assert!(chain.call(&key(9), &take(1)).unwrap_err().is::<c::BadAmount>());
    assert!(chain.call(&key(2), &take(301)).unwrap_err().is::<c::BadAmount>());
    chain.call(&key(2), &take(100)).unwrap();
    assert_eq!(chain.coins(key(9).address()), U256::from(COINS) + amount(100));
    assert_eq!(chain.balance(COIN, &key(2)), amount(200));
}
