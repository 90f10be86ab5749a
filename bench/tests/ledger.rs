//! The ledger's benchmark stays working.
#![allow(clippy::print_stderr, clippy::unwrap_used, reason = "a test that panics has failed")]

use std::time::Duration;

use sdpp_bench::ledger::{Kind, Options, System, measure};

fn tiny(kind: Kind) -> Options {
    let folder = std::env::temp_dir().join(format!("sdpp-bench-ledger-test-{}-{}", std::process::id(), kind.name()));
    Options {
        entries: 40,
        writers: vec![1, 4],
        rounds: 0,
        round: Duration::from_millis(1),
        systems: System::ALL.to_vec(),
        kind,
        parts: 2,
        folder,
        files: false,
        http: false,
        witness: false,
    }
}

#[test]
fn the_ledger_is_measured_in_every_way() {
    for (kind, http) in [(Kind::Transfer, false), (Kind::Record, true), (Kind::Hash, false)] {
        let options = Options { files: !http, http, witness: http, ..tiny(kind) };
        let report = measure(&options, &|_| {});
        std::fs::remove_dir_all(&options.folder).unwrap();
        let report = report.unwrap();
        let long = report.long.as_ref().unwrap();
        assert_eq!((long.writers, long.parts.len()), (4, 2));
        assert!(long.parts.iter().all(|part| part.rate > 0.0) && long.verify > 0.0, "{report}");
        let proofs = long.proofs;
        assert!([proofs.one, proofs.two, proofs.verified, proofs.by_way].iter().all(|rate| *rate > 0.0), "{report}");
        assert_eq!(long.fsck.is_some(), !http, "{report}");
        assert!(report.comparison.is_none());
    }
}

#[test]
fn appends_are_compared_with_those_of_other_systems() {
    let options = Options { entries: 0, rounds: 1, ..tiny(Kind::Transfer) };
    let report = measure(&options, &|_| {}).unwrap();
    let comparison = report.comparison.as_ref().unwrap();
    for (system, switch, tool) in [
        (System::Jetstream, "SDPP_JETSTREAM", "tools/jetstream"),
        (System::Postgres, "SDPP_POSTGRES", "tools/postgres"),
    ] {
        let Some((_, why)) = comparison.absent.iter().find(|(one, _)| *one == system) else { continue };
        assert!(std::env::var_os(switch).is_none() && why.contains(tool), "{why}");
        assert!(report.to_string().contains(&format!("not there: {why}")), "{report}");
        eprintln!("not measured: {why}");
    }
    let there = System::ALL.len() - comparison.absent.len();
    assert_eq!(comparison.rows.len(), 2 * there, "{report}");
    for row in &comparison.rows {
        assert!(row.rates.median() > 0.0 && row.most_ms.median() >= row.half_ms.median(), "{report}");
        assert!(row.cpu_us.median() > 0.0, "{report}");
    }
}
