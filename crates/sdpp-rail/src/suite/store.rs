//! What a [`Store`] must do.
#![allow(clippy::indexing_slicing, reason = "a suite is a test: it panics where the contract is broken")]

use crate::store::Store;

/// Runs all cases. `make` gives an empty store each time; `crash` ends the process that has a store
/// open, without a flush, and opens it again.
///
/// # Panics
/// Where the store breaks its contract.
pub fn store<S: Store>(mut make: impl FnMut() -> S, mut crash: impl FnMut(S) -> S) {
    positions_have_no_gaps(make());
    reads_keep_to_range_and_limit(make());
    streams_are_listed_by_prefix_and_sorted(make());
    swap_compares(make());
    put_overwrites(make());
    heads_are_listed_by_prefix_and_sorted(make());
    a_reader_sees_what_is_durable(make());
    large_bodies_come_back(make(), &mut crash);
    many_streams_are_kept_apart(make(), &mut crash);
    an_unflushed_write_is_lost(make(), &mut crash);
    a_flush_keeps_rows_and_heads_together(make(), &mut crash);
    positions_go_on_after_a_crash(make(), &mut crash);
    flushing_nothing_is_fine(make(), &mut crash);
}

fn bodies<S: Store>(store: &S, stream: &str, from: u64, rows_max: usize) -> Vec<Vec<u8>> {
    let rows = store.read(stream, from, rows_max).expect("read");
    let positions: Vec<u64> = rows.iter().map(|row| row.position).collect();
    let expected: Vec<u64> = (from..).take(rows.len()).collect();
    assert_eq!(positions, expected, "rows come in order, from the position asked for, without gaps");
    rows.into_iter().map(|row| row.body).collect()
}

fn positions_have_no_gaps<S: Store>(mut store: S) {
    for expected in 0..20u64 {
        assert_eq!(store.append("a", &expected.to_be_bytes()), Ok(expected), "positions count from 0");
        assert_eq!(store.append("b", b""), Ok(expected), "each stream counts for itself; a row may be empty");
        if expected % 7 == 0 {
            store.flush().expect("flush");
        }
    }
    let rows = bodies(&store, "a", 0, 100);
    assert_eq!(rows.len(), 20, "what is written is read, flushed or not");
    assert_eq!(rows[13], 13u64.to_be_bytes(), "a row holds what was appended");
}

fn reads_keep_to_range_and_limit<S: Store>(mut store: S) {
    for n in 0..10u8 {
        store.append("s", &[n]).expect("append");
    }
    assert_eq!(bodies(&store, "s", 0, 3), [[0], [1], [2]], "at most rows_max rows");
    assert_eq!(bodies(&store, "s", 7, 100), [[7], [8], [9]], "from the position on");
    assert_eq!(bodies(&store, "s", 9, 1), [[9]], "the last row");
    for (stream, from, rows_max) in [("s", 10, 5), ("s", u64::MAX, 5), ("s", 1 << 63, 5), ("s", 0, 0), ("none", 0, 5)] {
        assert_eq!(store.read(stream, from, rows_max), Ok(vec![]), "{stream} from {from}, at most {rows_max}");
    }
    assert_eq!(bodies(&store, "s", 0, usize::MAX).len(), 10, "no limit is a limit, too");
}

fn streams_are_listed_by_prefix_and_sorted<S: Store>(mut store: S) {
    // `_` and `%` mean something to SQL, `ß` and `é` to collations.
    let names = ["order/b", "order/a", "orders", "Order/x", "o_der/%", "menu", "order/", "order/ß", "order/é"];
    for name in names {
        store.append(name, b"x").expect("append");
        store.append(name, b"y").expect("append");
    }
    let mut sorted: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    sorted.sort();
    assert_eq!(store.streams("").as_deref(), Ok(&sorted[..]), "all names once, in the order of their bytes");
    let under = ["order/", "order/a", "order/b", "order/ß", "order/é"].map(str::to_owned);
    assert_eq!(store.streams("order/").as_deref(), Ok(&under[..]), "the names that begin so");
    assert_eq!(store.streams("o_der").as_deref(), Ok(&["o_der/%".to_owned()][..]), "a prefix is no pattern");
    assert_eq!(store.streams("zebra"), Ok(vec![]), "no such name");
    store.swap("order/head", None, b"h").expect("swap");
    assert_eq!(store.streams("order/").map(|names| names.len()), Ok(5), "heads are no streams");
}

fn swap_compares<S: Store>(mut store: S) {
    assert_eq!(store.head("h"), Ok(None), "nothing yet");
    assert_eq!(store.swap("h", Some(b""), b"1"), Ok(false), "an empty value is not no value");
    assert_eq!(store.swap("h", None, b"1"), Ok(true), "the first value");
    assert_eq!(store.swap("h", None, b"2"), Ok(false), "there is a value already");
    assert_eq!(store.swap("h", Some(b"0"), b"2"), Ok(false), "another value");
    assert_eq!(store.head("h"), Ok(Some(b"1".to_vec())), "a refused swap changes nothing");
    assert_eq!(store.swap("h", Some(b"1"), b""), Ok(true), "the expected value");
    assert_eq!(store.head("h"), Ok(Some(vec![])), "an empty value is kept");
    assert_eq!(store.swap("h", Some(b""), b"3"), Ok(true), "and compared");
    assert_eq!(store.head("H"), Ok(None), "keys are exact");
}

fn put_overwrites<S: Store>(mut store: S) {
    store.put("h", b"1").expect("put");
    store.put("h", b"2").expect("put");
    assert_eq!(store.head("h"), Ok(Some(b"2".to_vec())), "the newest value");
    assert_eq!(store.swap("h", Some(b"2"), b"3"), Ok(true), "a put value is compared, too");
}

fn heads_are_listed_by_prefix_and_sorted<S: Store>(mut store: S) {
    for key in ["b/2", "b/1", "b", "b/%", "c/1", "B/1", "b/ß"] {
        store.put(key, key.as_bytes()).expect("put");
    }
    let keys = |after: Option<&str>, heads_max| -> Vec<String> {
        let heads = store.heads("b/", after, heads_max).expect("heads");
        assert!(heads.iter().all(|(key, value)| key.as_bytes() == value), "each with its value");
        heads.into_iter().map(|(key, _)| key).collect()
    };
    assert_eq!(keys(None, 9), ["b/%", "b/1", "b/2", "b/ß"], "those that begin so, in the order of their bytes");
    assert_eq!(keys(None, 2), ["b/%", "b/1"], "at most so many");
    assert_eq!(keys(Some("b/1"), 9), ["b/2", "b/ß"], "behind a key");
    assert_eq!(keys(Some("b/10"), 1), ["b/2"], "that need not be there");
    assert_eq!(keys(Some("a"), 1), ["b/%"], "or stand before all of them");
    assert_eq!(keys(Some("b/ß"), 9), Vec::<String>::new(), "behind the last");
}

fn a_reader_sees_what_is_durable<S: Store>(mut store: S) {
    store.append("s", b"0").expect("append");
    store.put("h/1", b"old").expect("put");
    store.flush().expect("flush");
    let reader = store.reader().expect("reader");
    store.append("s", b"1").expect("append");
    store.put("h/1", b"new").expect("put");
    store.put("h/2", b"new").expect("put");
    let seen = || {
        let rows = reader.read("s", 0, 9).expect("read").len();
        let heads = reader.heads("h/", None, 9).expect("heads").into_iter().map(|(_, value)| value);
        (rows, reader.head("h/1").expect("head"), heads.collect::<Vec<_>>())
    };
    assert_eq!(seen(), (1, Some(b"old".to_vec()), vec![b"old".to_vec()]), "not what is only written");
    store.flush().expect("flush");
    assert_eq!(seen(), (2, Some(b"new".to_vec()), vec![b"new".to_vec(); 2]), "all that is flushed");
}

fn large_bodies_come_back<S: Store>(mut store: S, crash: &mut impl FnMut(S) -> S) {
    let sizes = [65_535, 65_536, 65_537, 1 << 20];
    let body = |size: usize| -> Vec<u8> { (0..=250u8).cycle().take(size).collect() };
    for size in sizes {
        store.append("large", &body(size)).expect("append");
    }
    store.swap("large", None, &body(1 << 17)).expect("swap");
    store.flush().expect("flush");
    let store = crash(store);
    let rows = bodies(&store, "large", 0, 9);
    assert!(rows.iter().map(Vec::len).eq(sizes), "large rows keep their length");
    assert!(rows.iter().all(|row| *row == body(row.len())), "and their bytes");
    assert!(store.head("large") == Ok(Some(body(1 << 17))), "so do heads");
}

fn many_streams_are_kept_apart<S: Store>(mut store: S, crash: &mut impl FnMut(S) -> S) {
    let name = |n: usize| format!("stream/{n:04}");
    for round in 0..3u8 {
        for n in 0..300 {
            assert_eq!(store.append(&name(n), &[round]), Ok(u64::from(round)), "stream {n}");
        }
    }
    store.flush().expect("flush");
    let store = crash(store);
    let names: Vec<String> = (0..300).map(name).collect();
    assert_eq!(store.streams("stream/"), Ok(names), "all streams are there");
    assert_eq!(bodies(&store, "stream/0123", 0, 9), [[0], [1], [2]], "each with its rows");
}

fn an_unflushed_write_is_lost<S: Store>(mut store: S, crash: &mut impl FnMut(S) -> S) {
    store.append("s", b"kept").expect("append");
    store.swap("h", None, b"kept").expect("swap");
    store.flush().expect("flush");
    store.append("s", b"lost").expect("append");
    store.append("new", b"lost").expect("append");
    store.swap("h", Some(b"kept"), b"lost").expect("swap");
    store.swap("n", None, b"lost").expect("swap");
    assert_eq!(bodies(&store, "s", 0, 9).len(), 2, "written is read before it is durable");
    assert_eq!(store.head("h"), Ok(Some(b"lost".to_vec())), "heads, too");
    let store = crash(store);
    assert_eq!(bodies(&store, "s", 0, 9), [b"kept"], "a crash takes unflushed rows");
    assert_eq!(store.streams(""), Ok(vec!["s".to_owned()]), "and streams that have no row left");
    assert_eq!(store.head("h"), Ok(Some(b"kept".to_vec())), "and gives heads their value back");
    assert_eq!(store.head("n"), Ok(None), "or none");
}

fn a_flush_keeps_rows_and_heads_together<S: Store>(mut store: S, crash: &mut impl FnMut(S) -> S) {
    for n in 0..4u8 {
        let before = store.head("h").expect("head");
        store.append("a", &[n]).expect("append");
        assert_eq!(store.swap("h", before.as_deref(), &[n]), Ok(true), "swap {n}");
        store.append("b", &[n]).expect("append");
        store.flush().expect("flush");
        store.append("a", b"never flushed").expect("append");
        store = crash(store);
        let expected: Vec<[u8; 1]> = (0..=n).map(|n| [n]).collect();
        assert_eq!(bodies(&store, "a", 0, 9), expected, "rows before the head");
        assert_eq!(bodies(&store, "b", 0, 9), expected, "rows behind the head");
        assert_eq!(store.head("h"), Ok(Some(vec![n])), "the head between them");
    }
}

fn positions_go_on_after_a_crash<S: Store>(mut store: S, crash: &mut impl FnMut(S) -> S) {
    assert_eq!(store.append("s", b"0"), Ok(0), "first");
    store.flush().expect("flush");
    assert_eq!(store.append("s", b"lost"), Ok(1), "second");
    let mut store = crash(store);
    assert_eq!(store.append("s", b"1"), Ok(1), "a lost position is given again");
    store.flush().expect("flush");
    let store = crash(store);
    assert_eq!(bodies(&store, "s", 0, 9), [b"0", b"1"], "no gap and no trace");
}

fn flushing_nothing_is_fine<S: Store>(mut store: S, crash: &mut impl FnMut(S) -> S) {
    store.flush().expect("an empty store");
    store.append("s", b"x").expect("append");
    store.flush().expect("flush");
    store.flush().expect("nothing new");
    let mut store = crash(store);
    store.flush().expect("after opening");
    assert_eq!(bodies(&store, "s", 0, 9), [b"x"], "nothing changed");
}
