//! The store in memory: the suite, crashes and faults.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::indexing_slicing,
    clippy::too_many_lines,
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that panics has failed"
)]

use sdpp_rail::{FlushFault, MemoryDisk, MemoryStore, Store, StoreError, StoreReader, suite};

fn failed(error: &StoreError) -> bool {
    matches!(error, StoreError::Failed(_))
}

/// A store with one durable row and head, and one of each that is only written.
fn half_flushed() -> (MemoryDisk, MemoryStore) {
    let mut store = MemoryStore::new();
    store.append("s", b"kept").unwrap();
    store.swap("h", None, b"kept").unwrap();
    store.flush().unwrap();
    store.append("s", b"new").unwrap();
    store.swap("h", Some(b"kept"), b"new").unwrap();
    (store.disk(), store)
}

fn holds(store: &MemoryStore) -> (usize, Option<Vec<u8>>) {
    (store.read("s", 0, 9).unwrap().len(), store.head("h").unwrap())
}

fn kept() -> (usize, Option<Vec<u8>>) {
    (1, Some(b"kept".to_vec()))
}

fn all() -> (usize, Option<Vec<u8>>) {
    (2, Some(b"new".to_vec()))
}

#[test]
fn it_passes_the_suite() {
    suite::store(MemoryStore::new, |store| store.disk().open());
}

#[test]
fn handles_share_what_is_written_and_die_with_a_crash() {
    let (disk, mut store) = half_flushed();
    let clone = store.clone();
    assert_eq!((holds(&store), holds(&clone)), (all(), all()));
    assert_eq!((disk.unflushed(), disk.flushes(), disk.appends()), (2, 1, 2));
    disk.crash();
    assert!(clone.head("h").is_err_and(|error| failed(&error)), "a handle from before the crash");
    assert!(store.append("s", b"x").is_err_and(|error| failed(&error)));
    let store = disk.open();
    assert_eq!(holds(&store), kept());
    assert_eq!((disk.unflushed(), disk.flushes()), (0, 1));
}

#[test]
fn a_failed_flush_freezes_until_opened_again() {
    for (fault, after) in
        [(FlushFault::Fails, kept()), (FlushFault::Full, kept()), (FlushFault::FailsButDurable, all())]
    {
        let (disk, mut store) = half_flushed();
        disk.fail_next_flush(fault);
        let error = store.flush().unwrap_err();
        assert_eq!(error == StoreError::Full, fault == FlushFault::Full);
        assert_eq!(store.flush(), Err(error.clone()), "{fault:?}: frozen");
        assert_eq!(store.append("s", b"x"), Err(error.clone()), "{fault:?}: frozen");
        assert_eq!(store.swap("h", None, b"x"), Err(error), "{fault:?}: frozen");
        assert_eq!(disk.flushes(), 1, "a failed flush is not counted");
        let mut store = disk.open();
        assert_eq!(holds(&store), after, "{fault:?}");
        store.append("s", b"on").unwrap();
        store.flush().unwrap();
    }
}

#[test]
fn a_lying_flush_is_found_out_by_a_crash_only() {
    let (disk, mut store) = half_flushed();
    disk.fail_next_flush(FlushFault::Lies);
    store.flush().unwrap();
    assert_eq!(disk.flushes(), 2, "it said that all is well");
    assert_eq!((disk.unflushed(), disk.believed()), (2, 2), "a row and a head");
    assert_eq!(holds(&store), all());
    assert_eq!(holds(&disk.open()), kept(), "it was not");
    assert_eq!((disk.unflushed(), disk.believed()), (0, 0), "nothing is left to lose");

    let (disk, mut store) = half_flushed();
    disk.fail_next_flush(FlushFault::Lies);
    store.flush().unwrap();
    disk.fail_next_append(StoreError::Failed("medium".to_owned()));
    assert!(store.append("s", b"x").is_err());
    assert_eq!(holds(&store), all(), "without a crash the lie holds");

    let (disk, mut store) = half_flushed();
    disk.fail_next_flush(FlushFault::Lies);
    store.flush().unwrap();
    store.append("s", b"third").unwrap();
    store.flush().unwrap();
    assert_eq!(holds(&disk.open()).0, 3, "an honest flush makes all before it durable");
}

#[test]
fn failed_writes_freeze_and_take_nothing_durable() {
    let (disk, mut store) = half_flushed();
    let broken = StoreError::Failed("broken".to_owned());
    disk.fail_next_append(broken.clone());
    assert_eq!(store.append("s", b"x"), Err(broken.clone()));
    assert_eq!(store.append("s", b"x"), Err(broken.clone()), "frozen");
    assert_eq!(holds(&store), kept(), "everything since the last good flush is lost");
    let mut store = disk.open();
    disk.fail_next_put(broken.clone());
    assert_eq!(store.swap("h", Some(b"kept"), b"x"), Err(broken));
    assert_eq!(holds(&disk.open()), kept());
}

#[test]
fn a_healed_disk_has_none_of_the_faults_that_were_set() {
    let (disk, mut store) = half_flushed();
    disk.fail_next_append(StoreError::Full);
    disk.fail_next_put(StoreError::Full);
    disk.fail_next_read(StoreError::Full);
    disk.fail_next_flush(FlushFault::Fails);
    disk.set_room(Some(0));
    disk.heal();
    assert_eq!(holds(&store), all());
    assert_eq!(store.append("s", b"third"), Ok(2));
    assert_eq!(store.swap("h", Some(b"new"), b"third"), Ok(true));
    assert_eq!(store.flush(), Ok(()));
}

#[test]
fn a_read_that_fails_takes_back_what_is_not_flushed() {
    let (disk, mut store) = half_flushed();
    disk.fail_next_read(StoreError::Full);
    assert_eq!(store.read("s", 0, 9), Err(StoreError::Full));
    assert_eq!(holds(&store), kept());
    assert_eq!(store.append("s", b"x"), Err(StoreError::Full), "frozen");
}

#[test]
fn a_full_disk_takes_writes_again_when_there_is_room() {
    let (disk, mut store) = half_flushed();
    store.flush().unwrap();
    disk.set_room(Some(5));
    assert_eq!(store.append("s", b"four"), Ok(2));
    assert_eq!(store.append("s", b"more"), Err(StoreError::Full));
    assert_eq!(store.flush(), Err(StoreError::Full), "frozen");
    assert_eq!(disk.open().append("s", b"more"), Err(StoreError::Full), "still no room");
    disk.set_room(None);
    assert_eq!(disk.open().append("s", b"more"), Ok(2));
}

#[test]
fn a_reader_believes_what_a_lying_flush_says() {
    let (disk, mut store) = half_flushed();
    let reader = store.reader().unwrap();
    assert_eq!(reader.head("h"), Ok(Some(b"kept".to_vec())), "written is not durable");
    disk.fail_next_flush(FlushFault::Lies);
    store.flush().unwrap();
    assert_eq!(reader.head("h"), Ok(Some(b"new".to_vec())), "nobody can tell");
    disk.crash();
    assert!(reader.head("h").is_err_and(|error| failed(&error)), "a handle from before the crash");
}
