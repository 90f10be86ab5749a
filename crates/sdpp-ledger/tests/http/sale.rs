//! Honest use: a client that follows, submits and looks.

use std::sync::Arc;
use std::thread;

use sdpp_ledger::entry::Record;
use sdpp_ledger::fsck::{Options, Signatures, fsck};
use sdpp_ledger::http::{ClientOptions, HttpWitness, ServerConfig, serve_witness};
use sdpp_ledger::{
    Body, ChannelState, Entry, LedgerClient, LedgerService, LocalLedger, Place, Receipt, Refusal, ServiceError, Witness,
};
use sdpp_log::{Policy, leaf_hash};
use sdpp_proto::statement::Form;
use sdpp_rail::{FlushFault, MemoryDisk, MemoryStore, RailError};

use crate::common::*;
use crate::kit::*;

const WITNESS: u8 = 50;

#[test]
fn a_client_follows_with_a_witness_elsewhere() {
    let runtime = runtime();
    let hand = Hand::new();
    let store = Box::new(MemoryStore::new());
    let witness = Witness::start("witness.example", test_key(WITNESS), hand.clock(), store, &[log_vkey()]).unwrap();
    let key = witness.key().clone();
    let at = listener(&runtime);
    let witness_server = {
        let _inside = runtime.enter();
        serve_witness(Arc::new(witness), at, ServerConfig::default()).unwrap()
    };
    let url = format!("http://{}", witness_server.local_addr());
    let remote = HttpWitness::new(&url, key.clone(), ClientOptions::new(runtime.handle().clone())).unwrap();
    let config = config(&hand, vec![Arc::new(remote)]);
    let ledger = LocalLedger::start(config, Box::new(MemoryStore::new())).unwrap();
    let server = serve(&runtime, Arc::new(ledger), ServerConfig::default());

    let policy = || Policy::new(log_vkey(), vec![key.clone()], 1).unwrap();
    let follower = || LedgerClient::new(Arc::new(http(&runtime, server.local_addr())), policy(), None).unwrap();
    let client = follower();
    assert_eq!(block_on(client.follow()), Ok(0));
    block_on(client.submit(&issue(PAYER, 100, 1))).unwrap();
    let paid = transfer(PAYER, PAYEE, 40, 1);
    let place = block_on(client.submit(&paid)).unwrap();
    assert_eq!(balance(&client, PAYEE), 40);
    assert_eq!(block_on(client.entry(place.index)), Ok(Some(paid)));
    assert_eq!(client.evidence(), None);
    assert_eq!(balance(&follower(), PAYER), 60, "another one catches up from nothing");

    runtime.block_on(witness_server.stop());
    block_on(client.submit(&transfer(PAYER, PAYEE, 1, 2))).unwrap_err();
    assert_eq!(block_on(follower().follow()), Err(RailError::Unavailable), "a cosignature is missing");
    runtime.block_on(server.stop());
}

#[test]
fn a_client_catches_up_over_many_bundles() {
    let world = World::new();
    // A tick stands before the first: 600 entries in all.
    for number in 1..600 {
        submit(&world.ledger, &issue(PAYER, 1, number)).unwrap();
    }
    let client = world.client();
    assert_eq!(block_on(client.follow()), Ok(600));
    assert_eq!(balance(&client, PAYER), 599);

    let http = world.http();
    for (from, max, count) in
        [(0, 256, 256), (0, 1000, 256), (255, 256, 1), (256, 2, 2), (500, 256, 12), (598, 256, 2), (599, 1, 1)]
    {
        let page = block_on(http.entries(from, max)).unwrap();
        assert_eq!(page.len(), count, "{from}, {max}");
        assert_eq!(page, block_on(world.ledger.entries(from, count)).unwrap());
    }
    assert_eq!(block_on(http.entries(3, 0)), Ok(Vec::new()));
    for (from, max) in [(600, 1), (600, 2), (u64::MAX, 2), (1 << 62, 256)] {
        assert_eq!(block_on(http.entries(from, max)), Err(ServiceError::OutOfRange), "{from}, {max}");
    }
    assert_eq!(block_on(http.inclusion(599, 600)), block_on(world.ledger.inclusion(599, 600)));
    assert_eq!(block_on(http.consistency(256, 600)), block_on(world.ledger.consistency(256, 600)));
    assert_eq!(block_on(http.inclusion(600, 600)), Err(ServiceError::OutOfRange));
    assert_eq!(block_on(http.consistency(256, 601)), Err(ServiceError::OutOfRange));
}

#[test]
fn submitting_again_gives_the_first_place() {
    let world = World::new();
    let http = world.http();
    let first = submit(&http, &issue(PAYER, 100, 1)).unwrap();
    assert_eq!(submit(&http, &issue(PAYER, 100, 1)), Ok(first));
    let statement = voucher(channel(1), 1).erase();
    let record = |seed, form| entry(seed, Body::Record(Record::of(&statement, form)));
    let recorded = submit(&http, &record(PAYER, Form::Full)).unwrap();
    assert_eq!(submit(&http, &record(PAYEE, Form::Hash)), Ok(recorded));
    assert_eq!(world.post("application/cose", issue(PAYER, 100, 1).bytes()).status, 200);
}

#[test]
fn refusals_come_back_as_they_are_in_process() {
    let world = World::new();
    let http = world.http();
    submit(&http, &issue(PAYER, 100, 1)).unwrap();
    submit(&http, &open(50, 1000, 1)).unwrap();
    submit(&http, &entry(PAYER, Body::RequestClose(channel(1)))).unwrap();
    let grace = entry(STRANGER, Body::Close(channel(1)));
    for refused in [transfer(PAYER, PAYEE, 51, 1), transfer(PAYER, PAYEE, 0, 1), open(1, 0, 1), tick(1), grace] {
        let there = submit(&http, &refused).unwrap_err();
        assert!(matches!(there, ServiceError::Refused(_)), "{there:?}");
        assert_eq!(Err(there), submit(&world.ledger, &refused));
    }
}

#[test]
fn look_ups_tell_what_the_ledger_knows() {
    let world = World::new();
    let http = world.http();
    let made = submit(&http, &issue(PAYER, u128::MAX, 1)).unwrap();
    submit(&http, &open(50, 1000, 1)).unwrap();
    let statement = voucher(channel(1), 1).erase();
    let kept = entry(PAYER, Body::Record(Record::of(&statement, Form::Hash)));
    let recorded = submit(&http, &kept).unwrap();

    let balance = |seed| block_on(http.balance(&coin(), &public(seed))).map(|amount| amount.get());
    assert_eq!(balance(PAYER), Ok(u128::MAX - 50), "no double would hold it");
    assert_eq!(balance(STRANGER), Ok(0));
    let known = block_on(http.channel(channel(1))).unwrap().unwrap();
    assert_eq!((known.payer, known.deposit.get(), known.state), (public(PAYER), 50, ChannelState::Open));
    assert_eq!(block_on(http.channel(channel(2))), Ok(None));
    assert_eq!(known.opened.id, open(50, 1000, 1).id());
    let record = block_on(http.record(statement.id)).unwrap().unwrap();
    assert_eq!((record.place, record.form), (recorded, Form::Hash));
    assert_eq!(block_on(http.record(made.id)), Ok(None));

    submit(&http, &entry(PAYER, Body::RequestClose(channel(1)))).unwrap();
    let closing = block_on(http.channel(channel(1))).unwrap().unwrap();
    assert!(matches!(closing.state, ChannelState::Closing { .. }));
    submit(&http, &entry(PAYEE, Body::Close(channel(1)))).unwrap();
    let closed = block_on(http.channel(channel(1))).unwrap().unwrap();
    assert_eq!(closed.state, ChannelState::Closed);
}

#[test]
fn proofs_travel() {
    let world = World::new();
    let http = world.http();
    let made = issue(PAYER, 100, 1);
    let index = submit(&http, &made).unwrap().index;
    let proof = block_on(http.proof_of(index)).unwrap();
    assert_eq!(proof.index(), index);
    proof.verify(&leaf_hash(made.bytes()), &policy(), &sdpp_ledger::Verifier).unwrap();
    assert!(proof.verify(&leaf_hash(b"other"), &policy(), &sdpp_ledger::Verifier).is_err());
    let receipt = Receipt::parse(&block_on(http.receipt_of(index)).unwrap()).unwrap();
    assert_eq!((receipt.index(), receipt.subject()), (index, ORIGIN));
    receipt.verify(made.bytes(), &public(LOG)).unwrap();
    assert!(receipt.verify(made.bytes(), &public(STRANGER)).is_err());
    assert_eq!(block_on(http.proof_of(2)), Err(ServiceError::OutOfRange));
    assert_eq!(block_on(http.receipt_of(2)), Err(ServiceError::OutOfRange));
    assert_eq!(block_on(http.claimed_key()), Ok(log_vkey()));
}

#[test]
fn a_frozen_ledger_says_so() {
    let runtime = runtime();
    let disk = MemoryDisk::new();
    let ledger = ledger(&Hand::new(), disk.open());
    let server = serve(&runtime, Arc::new(ledger.clone()), ServerConfig::default());
    let http = http(&runtime, server.local_addr());
    let kept = submit(&http, &issue(PAYER, 100, 1)).unwrap();
    assert_eq!(get(server.local_addr(), "/healthz").status, 200);
    disk.fail_next_flush(FlushFault::Full);
    assert_eq!(submit(&http, &issue(PAYER, 100, 2)), Err(ServiceError::Unknown));
    assert_eq!(get(server.local_addr(), "/healthz").problem(), (503, "frozen".to_owned()));
    assert_eq!(submit(&http, &issue(PAYER, 100, 3)), Err(ServiceError::Frozen));
    assert_eq!(block_on(http.entries(kept.index, 1)).unwrap().len(), 1, "what is there can be read");
}

#[test]
fn a_ledger_is_checked_over_http() {
    let world = World::new();
    for number in 0..300 {
        submit(&world.ledger, &issue(PAYER, 1, number)).unwrap();
    }
    let options = Options { policy: policy(), signatures: Signatures::All, threads: 2 };
    let report = fsck(&world.http(), &options, &mut |_| {}).unwrap();
    assert_eq!((report.checkpoint.size(), report.verified), (301, 301));
}

#[test]
fn of_64_double_spends_exactly_one_wins() {
    let world = World::new();
    let http = Arc::new(world.http());
    submit(&*http, &issue(PAYER, 100, 1)).unwrap();
    let spend = |number: u64| -> Entry { transfer(PAYER, u8::try_from(10 + number).unwrap(), 100, number) };
    let threads: Vec<_> = (0..64)
        .map(|number| {
            let (http, entry) = (http.clone(), spend(number));
            thread::spawn(move || submit(&*http, &entry))
        })
        .collect();
    let answers: Vec<Result<Place, ServiceError>> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    let won: Vec<&Place> = answers.iter().filter_map(|answer| answer.as_ref().ok()).collect();
    assert_eq!(won.len(), 1);
    let lost = answers.iter().filter(|answer| **answer == Err(ServiceError::Refused(Refusal::InsufficientFunds)));
    assert_eq!(lost.count(), 63);
    let client = world.client();
    let rich = (0..64).filter(|number| balance(&client, u8::try_from(10 + number).unwrap()) == 100);
    assert_eq!(rich.count(), 1);
}
