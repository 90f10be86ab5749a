//! Ledgers that turn on their users, over HTTP: forks, old backups, and whoever sits between.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;

use sdpp_ledger::http::ServerConfig;
use sdpp_ledger::{Contradiction, LedgerClient, LocalLedger, ServiceError, StartError};
use sdpp_rail::{MemoryDisk, RailError};

use crate::common::*;
use crate::kit::*;
use crate::witness::{Stand, note, strict};

fn witnessed(stand: &Stand, disk: &MemoryDisk) -> Result<LocalLedger, StartError> {
    LocalLedger::start(config(&Hand::new(), vec![Arc::new(stand.remote())]), Box::new(disk.open()))
}

fn signed_by_the_log(note: &str) {
    policy().check(note.as_bytes(), &sdpp_ledger::Verifier).expect("signed by the log");
}

#[test]
fn a_forked_ledger_is_caught_by_its_witness_over_http() {
    let stand = Stand::new(&MemoryDisk::new());
    // Two copies of one ledger, both started while the witness had seen nothing.
    let (honest, fork) =
        (witnessed(&stand, &MemoryDisk::new()).unwrap(), witnessed(&stand, &MemoryDisk::new()).unwrap());
    let served = |ledger: &LocalLedger| serve(&stand.runtime, Arc::new(ledger.clone()), ServerConfig::default());
    let (server, forked) = (served(&honest), served(&fork));
    let follower = |at: SocketAddr, memory: &MemoryDisk| {
        let service = Arc::new(http(&stand.runtime, at));
        LedgerClient::new(service, strict(stand.witness.key()), Some(Box::new(memory.open()))).unwrap()
    };
    let memory = MemoryDisk::new();
    let client = follower(server.local_addr(), &memory);
    block_on(client.submit(&issue(PAYER, 100, 1))).unwrap();
    assert_eq!(balance(&client, PAYER), 100);
    drop(client);
    // The fork promises nothing, shows nothing, and takes nothing more.
    let deceived = follower(forked.local_addr(), &MemoryDisk::new());
    assert!(block_on(deceived.submit(&issue(STRANGER, 100, 1))).is_err());
    assert_eq!(balance(&follower(forked.local_addr(), &MemoryDisk::new()), STRANGER), 0);
    assert_eq!(submit(&fork, &issue(STRANGER, 100, 2)), Err(ServiceError::Frozen));
    // One that asks no witness is believed by nobody who wants one, and its note is evidence there.
    let alone = fresh_ledger();
    submit(&alone, &issue(STRANGER, 100, 1)).unwrap();
    let alone_served = served(&alone);
    for memory in [&memory, &MemoryDisk::new()] {
        let client = follower(alone_served.local_addr(), memory);
        assert_eq!(block_on(client.follow()), Err(RailError::Unavailable));
        assert_eq!(client.evidence(), None, "the ledger may still wait for its witness");
    }
    assert_eq!(stand.add("2", &[], &note(&alone)).status, 422);
    let forks = stand.witness.forks(ORIGIN).unwrap();
    assert!(!forks.is_empty(), "kept");
    for (accepted, other) in &forks {
        assert_ne!(accepted, other);
        signed_by_the_log(accepted);
        signed_by_the_log(other);
    }
    // The honest one goes on.
    submit(&honest, &issue(PAYER, 100, 2)).unwrap();
    assert_eq!(balance(&follower(server.local_addr(), &memory), PAYER), 200);
    for server in [server, forked, alone_served] {
        stand.runtime.block_on(server.stop());
    }
}

/// A ledger with two entries and a tick, and a copy of its store that was made one entry earlier.
fn with_backup(start: impl Fn(&MemoryDisk) -> LocalLedger) -> (LocalLedger, MemoryDisk, MemoryDisk) {
    let (disk, backup) = (MemoryDisk::new(), MemoryDisk::new());
    let copy = ledger(&Hand::new(), backup.open());
    submit(&copy, &issue(PAYER, 100, 1)).unwrap();
    copy.stop();
    let newest = start(&disk);
    submit(&newest, &issue(PAYER, 100, 1)).unwrap();
    submit(&newest, &issue(PAYER, 100, 2)).unwrap();
    (newest, disk, backup)
}

#[test]
fn a_ledger_restored_from_a_backup_does_not_start_below_what_a_served_witness_knows() {
    let stand = Stand::new(&MemoryDisk::new());
    let (newest, disk, backup) = with_backup(|disk| witnessed(&stand, disk).unwrap());
    newest.stop();
    assert_eq!(witnessed(&stand, &backup).err(), Some(StartError::RolledBack { size: 2, witnessed: 3 }));
    let other = MemoryDisk::new();
    let foreign = ledger(&Hand::new(), other.open());
    for number in 1..3 {
        submit(&foreign, &issue(STRANGER, 100, number)).unwrap();
    }
    foreign.stop();
    assert_eq!(witnessed(&stand, &other).err(), Some(StartError::Forked));
    let again = witnessed(&stand, &disk).expect("the newest store goes on");
    submit(&again, &issue(PAYER, 100, 3)).unwrap();
    again.stop();
    // Nobody knows what a witness would say that does not answer.
    let remote = Arc::new(stand.remote());
    stand.runtime.block_on(stand.server.stop());
    let silent =
        |disk: &MemoryDisk| LocalLedger::start(config(&Hand::new(), vec![remote.clone()]), Box::new(disk.open())).err();
    assert_eq!(silent(&disk), Some(StartError::WitnessSilent));
    assert_eq!(silent(&backup), Some(StartError::WitnessSilent));
}

#[test]
fn without_a_witness_those_who_followed_a_ledger_notice_its_old_backup() {
    for (grows, what) in
        [(0, Contradiction::RolledBack), (1, Contradiction::SplitView), (2, Contradiction::NotAnExtension)]
    {
        let world = World::new();
        let (newest, _, backup) = with_backup(|disk| ledger(&Hand::new(), disk.open()));
        let server = serve(&world.runtime, Arc::new(newest.clone()), ServerConfig::default());
        let memory = MemoryDisk::new();
        let follower = |at: SocketAddr| {
            let service = Arc::new(http(&world.runtime, at));
            LedgerClient::new(service, policy(), Some(Box::new(memory.open()))).unwrap()
        };
        assert_eq!(block_on(follower(server.local_addr()).follow()), Ok(3));
        world.runtime.block_on(server.stop());
        newest.stop();
        let restored = ledger(&Hand::new(), backup.open());
        for number in 0..grows {
            submit(&restored, &issue(STRANGER, 1, 10 + number)).unwrap();
        }
        let server = serve(&world.runtime, Arc::new(restored), ServerConfig::default());
        let client = follower(server.local_addr());
        assert_eq!(block_on(client.follow()), Err(RailError::Dishonest(what.text())), "grown by {grows}");
        let evidence = client.evidence().expect("both notes are kept");
        assert_eq!((evidence.what, evidence.notes.len()), (what, 2));
        evidence.notes.iter().for_each(|note| signed_by_the_log(note));
        // Who comes new cannot know.
        let newcomer = LedgerClient::new(Arc::new(http(&world.runtime, server.local_addr())), policy(), None).unwrap();
        assert_eq!(block_on(newcomer.follow()), Ok(2 + grows));
        world.runtime.block_on(server.stop());
    }
}

/// Somebody between a client and the ledger, who changes one bit of what is answered: the one at this place,
/// counted over all answers.
fn tapped(to: SocketAddr, place: &Arc<AtomicI64>) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let place = place.clone();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (Ok(client), Ok(server)) = (client, TcpStream::connect(to)) else { return };
            let (place, ahead) = (place.clone(), (client.try_clone().unwrap(), server.try_clone().unwrap()));
            thread::spawn(move || carry(ahead.0, ahead.1, |_| {}));
            thread::spawn(move || {
                carry(server, client, |piece| {
                    let length = piece.len() as i64;
                    let at = place.fetch_sub(length, Ordering::SeqCst);
                    if (0..length).contains(&at) {
                        piece[usize::try_from(at).unwrap()] ^= 1;
                    }
                });
            });
        }
    });
    address
}

fn carry(mut from: TcpStream, mut to: TcpStream, mut change: impl FnMut(&mut [u8])) {
    let mut piece = [0; 4096];
    while let Ok(length) = from.read(&mut piece) {
        if length == 0 {
            break;
        }
        change(&mut piece[..length]);
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn whoever_sits_between_is_never_believed() {
    let world = World::new();
    for number in 1..20 {
        submit(&world.ledger, &issue(PAYER, 7, number)).unwrap();
        submit(&world.ledger, &transfer(PAYER, PAYEE, 3, number)).unwrap();
    }
    let truth = |client: &LedgerClient| {
        // What it has made of what it was told; nobody is asked.
        let has = |seed| block_on(client.look(|fold| fold.balance(&coin(), &public(seed)))).unwrap().get();
        assert_eq!((has(PAYER), has(PAYEE)), (19 * 4, 19 * 3));
    };
    let place = Arc::new(AtomicI64::new(i64::MAX));
    let between = tapped(world.address(), &place);
    let honest = client(http(&world.runtime, between));
    block_on(honest.follow()).unwrap();
    truth(&honest);
    let answered = i64::MAX - place.load(Ordering::SeqCst);
    let (mut refused, mut at) = (0, 0);
    while at < answered {
        place.store(at, Ordering::SeqCst);
        let client = client(http(&world.runtime, between));
        match block_on(client.follow()) {
            // The change was in what nobody reads, a date for example, or it was asked for again.
            Ok(_) => truth(&client),
            Err(_) => refused += 1,
        }
        at += answered / 60 + 1;
    }
    assert!(refused > 20, "most of what is answered matters: {refused} refusals");
    place.store(i64::MAX, Ordering::SeqCst);
    truth(&honest);
}
